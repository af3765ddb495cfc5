import pytest

from realm.evaluate.records import Comparison, Evaluation
from realm.evaluate.report.charts import draw_ablations, draw_accuracies, draw_fade, draw_tokens
from realm.evaluate.report.plots import Axis, Curve, make_plot, name_colour
from realm.evaluate.results import Results


def row(method, mode, accuracy, **more):
    return Evaluation(
        method=method,
        mode=mode,
        split="test",
        seed=None,
        n=20,
        accuracy=accuracy,
        ci95=(accuracy - 0.1, accuracy + 0.1),
        tokens_per_problem=9.0,
        seeds=(7, 8),
        per_seed=(accuracy, accuracy),
        **more,
    )


def test_no_two_modes_of_a_method_are_drawn_over_each_other():
    rows = [
        row("realm", "autonomous", 0.8),
        row("realm", "assisted", 0.8),
        row("grpo", "autonomous", 0.7),
    ]
    chart = draw_accuracies(Results(evaluations=rows, comparisons=[]))
    assert [(line.name, line.series, round(line.value)) for line in chart.rows] == [
        ("realm, autonomous", "autonomous", 80),
        ("grpo, autonomous", "autonomous", 70),
        ("realm, assisted", "assisted", 80),
    ]
    assert chart.rows[0].low == pytest.approx(70) and chart.rows[0].high == pytest.approx(90)
    assert chart.series == ["autonomous", "assisted"]


def test_a_comparison_leaves_the_untrained_model_at_the_edge():
    rows = [row("realm", "autonomous", 0.8), row("base", "autonomous", 0.1)]
    methods = {"realm": {"summary": ""}}
    chart = draw_accuracies(Results(evaluations=rows, comparisons=[], methods=methods))
    assert chart.axis.start >= 60 and chart.axis.place(10.0) == 0


def test_ablations_are_differences_around_zero():
    comparison = Comparison(
        family="ablations, autonomous", a="realm", a_mode="autonomous", b="no_mrpv",
        b_mode="autonomous", split="test", n=20, difference=0.05, ci95=(0.01, 0.09),
        smallest_detectable=None,
    )  # fmt: skip
    chart = draw_ablations(Results(evaluations=[], comparisons=[comparison]))
    assert chart.has_zero and chart.axis.start <= 0 < chart.axis.end
    assert [line.name for line in chart.rows] == ["no_mrpv, autonomous"]
    assert draw_ablations(Results(evaluations=[], comparisons=[])) is None


def test_majorities_of_more_and_more_samples_are_a_line_to_the_full_cost():
    rows = [row("realm", "self_consistency", 0.9, figures={"curve": [0.5, 0.7, 0.9]})]
    rows.append(row("base", "autonomous", 0.1))
    line, point = draw_tokens(Results(evaluations=rows, comparisons=[])).curves
    assert line.is_line and [x for x, _ in line.points] == [3.0, 6.0, 9.0]
    assert not point.is_line and point.points == [(9.0, 90.0)]
    assert draw_tokens(Results(evaluations=rows[1:], comparisons=[])) is None


def test_a_value_that_was_not_measured_is_no_point():
    rows = [
        {"step": step, "share": 1.0, "routes_shown": 4, "assisted_reward": None if step else 0.5,
         "autonomous_reward": 0.4}
        for step in range(3)
    ]  # fmt: skip
    plots = {plot.title: plot for plot in draw_fade(rows)}
    assert list(plots) == ["guidance", "routes shown", "reward"]
    lengths = {curve.series: len(curve.points) for curve in plots["reward"].curves}
    assert lengths == {"assisted reward": 1, "autonomous reward": 3}


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        (-3.2, 4.1, (-4.0, -2.0, 0.0, 2.0, 4.0, 6.0)),
        (5.0, 5.0, (4.0, 4.5, 5.0, 5.5, 6.0)),
    ],
)
def test_an_axis_has_round_marks_around_its_values(low, high, ticks):
    assert Axis.around(low, high).ticks == ticks


def test_a_path_stays_inside_its_frame():
    plot = make_plot("p", [Curve(series="a", points=[(1, 0.0), (2, 10.0)])])
    assert plot.path(plot.curves[0]) == "M0.0 100.0L100.0 0.0"
    dots = Curve(series="a", points=[(1, 10.0)], is_line=False)
    assert plot.path(dots) == "M0.0 0.0h0"


def test_a_mode_and_its_reward_have_the_same_colour():
    assert name_colour("assisted") == name_colour("assisted reward") == "c-assisted"
