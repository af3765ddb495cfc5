"""What the charts of the page show. `plots.py` has their shapes, charts.html draws them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from realm.evaluate.report.plots import PERCENT, Axis, Curve, Interval, Intervals, Plot, make_plot
from realm.evaluate.report.tables import sort_evaluations
from realm.evaluate.report.words import PROBE_WORDS, label

if TYPE_CHECKING:
    from realm.evaluate.results import Results


def draw_accuracies(results: Results) -> Intervals:
    """Return accuracy on `test` with its interval, by method and mode; small points are the seeds.

    Without a model the routes are all there is: then by source and way to use them.
    """
    rows = [row for row in results.list_rows("test") if row.source is None]
    if not rows:
        lines = [
            _make_interval(f"{row.source}: {row.method}", "routes", row.accuracy, row.ci95)
            for row in results.evaluations
        ]
        return Intervals(title="Accuracy of the routes", rows=lines, axis=PERCENT)
    lines = []
    for row in sort_evaluations(rows):
        name = label(row) if row.mode in ("routes", "sampled") else f"{row.method}, {row.mode}"
        lines.append(_make_interval(name, row.mode, row.accuracy, row.ci95, row.per_seed))
    return Intervals(title="Accuracy on test", rows=lines, axis=_choose_axis(results))


def draw_probes(results: Results) -> Intervals:
    """Return how often each kind of route is called sound, by kind and model."""
    lines = [
        _make_interval(
            f"{word}, {row.method}",
            row.method,
            row.figures["called_sound"],
            row.figures["called_sound_ci95"],
        )
        for kind, word in PROBE_WORDS.items()
        for row in sort_evaluations([row for row in results.probes if row.source == kind])
    ]
    return Intervals(title="Share of routes called sound", rows=lines, axis=PERCENT)


def draw_ablations(results: Results) -> Intervals | None:
    """Return how far ReaLM is ahead of each ablation; `None` if there are none."""
    lines = [
        _make_interval(
            f"{row.b}, {row.family.partition(', ')[2]}", row.a_mode, row.difference, row.ci95
        )
        for row in results.comparisons
        if row.family.startswith("ablations")
    ]
    if not lines:
        return None
    axis = Axis.around(
        min(0.0, *(row.low for row in lines)), max(0.0, *(row.high for row in lines))
    )
    title = "ReaLM minus ablation, in points"
    return Intervals(title=title, rows=lines, axis=axis, unit="", has_zero=True)


def draw_verdicts(results: Results) -> Intervals:
    """Return verdict accuracy on sound and on flawed routes, per method, on `test`."""
    lines = []
    for row in results.list_rows("test"):
        name = row.method if row.mode == "assisted" else f"{row.method}, {row.mode}"
        for word in ("sound", "flawed"):
            share = row.figures.get(f"verdict_accuracy_{word}")
            if share is not None:
                lines.append(
                    _make_interval(f"{name}, {word}", f"{word} routes", share, (share, share))
                )
    return Intervals(title="Right verdicts", rows=lines, axis=PERCENT)


def draw_lengths(bank: Sequence[Mapping[str, Any]]) -> Intervals:
    """Return the length of each source's routes: half in the box, 80% on the line."""
    groups = list(dict.fromkeys(row["group"] for row in bank))
    lines = []
    for row in bank:
        words = row["words"]
        lines.append(
            Interval(
                name=f"{row['source']}, {row['group']}" if len(groups) > 1 else row["source"],
                series="routes",
                value=words["p50"],
                low=words["p10"],
                high=words["p90"],
                box=(words["p25"], words["p75"]),
            )
        )
    axis = Axis.around(0, max(row.high for row in lines))
    return Intervals(title="Words of a route", rows=lines, axis=axis, unit="")


def _choose_axis(results: Results) -> Axis:
    """Return the range of accuracies shown.

    A comparison leaves out the model before any training, which may lie far below all others.
    """
    if not results.methods:
        return PERCENT
    rows = results.list_rows("test")
    trained = [row for row in rows if row.method != "base"] or rows
    return Axis.around(
        100 * min(row.ci95[0] for row in trained), 100 * max(row.ci95[1] for row in rows)
    )


def _make_interval(
    name: str, series: str, value: float, ci95: Sequence[float], per_seed: Sequence[float] = ()
) -> Interval:
    """Return one line of an interval chart, in points. With one seed the point is that seed's."""
    seeds = [100 * one for one in per_seed] if len(per_seed) > 1 else []
    low, high = (100 * bound for bound in ci95)
    return Interval(name=name, series=series, value=100 * value, low=low, high=high, seeds=seeds)


def draw_tokens(results: Results) -> Plot | None:
    """Return accuracy on `test` against the tokens generated per problem; `None` without any.

    A dotted line joins the majorities of 1, 2, ... samples. The model before any training is left
    out: all others would be a cloud at the top.
    """
    rows = [row for row in results.list_rows("test") if row.tokens_per_problem]
    rows = [row for row in rows if row.method != "base"]
    if not rows:
        return None
    curves = []
    for row in rows:
        tokens, curve = row.tokens_per_problem or 0.0, row.figures.get("curve", [])
        points = [
            (tokens * number / len(curve), 100 * value) for number, value in enumerate(curve, 1)
        ]
        if points:
            curves.append(Curve(series="majority of n samples", points=points, label=row.method))
        text = f"{row.method}, {row.mode}: {100 * row.accuracy:.1f}%, {tokens:.0f} tokens"
        point = [(tokens, 100 * row.accuracy)]
        curves.append(Curve(series=row.mode, points=point, is_line=False, label=text))
    return make_plot(
        "accuracy on test",
        curves,
        x_title="generated tokens per problem",
        unit="%",
        size="large",
    )


def draw_fade(fade: Sequence[Mapping[str, Any]]) -> list[Plot]:
    """Return how guidance fades over training, the reward with and without routes, and the gap.

    Lines are moving means of the faint points. Under the gated fade guidance and gap are also those
    of each bucket of problems.
    """
    panels: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for panel, series, step, value in _list_fade_points(fade):
        if value is not None:
            panels.setdefault(panel, {}).setdefault(series, []).append((step, value))
    plots = []
    for number, (panel, found) in enumerate(panels.items(), 1):
        smooth_lines, faint = [], []
        for series, points in found.items():
            means = smooth([value for _, value in points])
            line = [(step, value) for (step, _), value in zip(points, means, strict=True)]
            smooth_lines.append(Curve(series=series, points=line))
            faint.append(Curve(series=series, points=points, is_line=False))
        x_title = "step" if number == len(panels) else ""
        plots.append(make_plot(panel, smooth_lines, x_title=x_title, faint=faint))
    return plots


def _list_fade_points(
    fade: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[str, str, float, float | None]]:
    """Yield (panel, series, step, value) of every value of fade.jsonl that is drawn."""

    def subtract(assisted: float | None, autonomous: float | None) -> float | None:
        if assisted is None or autonomous is None:
            return None
        return 100 * (assisted - autonomous)

    for row in fade:
        step = row["step"]
        yield "guidance", "share of guidance", step, row["share"]
        for bucket, share in enumerate(row.get("bucket_share") or [], 1):
            yield "guidance", f"bucket {bucket} of {len(row['bucket_share'])}", step, share
    for row in fade:
        step = row["step"]
        yield "routes shown", "routes shown (mean)", step, row["routes_shown"]
        for mode in ("assisted", "autonomous"):
            yield "reward", f"{mode} reward", step, row.get(f"{mode}_reward")
        gap = subtract(row.get("assisted_answer"), row.get("autonomous_answer"))
        yield "gap, points", "autonomy gap", step, gap
        count = len(row.get("bucket_share") or [])
        for bucket in range(count):
            gap = subtract(row["bucket_assisted"][bucket], row["bucket_autonomous"][bucket])
            yield "gap, points", f"bucket {bucket + 1} of {count}", step, gap


def smooth(values: Sequence[float]) -> list[float]:
    """Return the moving mean of `values` over the last twentieth of them.

    >>> smooth([1.0, 3.0])
    [1.0, 3.0]
    """
    window = max(1, len(values) // 20)
    return [fmean(values[max(0, place - window + 1) : place + 1]) for place in range(len(values))]
