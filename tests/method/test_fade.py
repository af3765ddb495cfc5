import pytest

from realm.method.fade import (
    Fade,
    expected_share,
    guidance_share,
    plan_num_routes,
    split_share,
)

FADING = ["linear", "cosine", "exponential", "step"]
STEPS = [step / 200 for step in range(201)]


@pytest.mark.parametrize("kind", FADING)
def test_guidance_only_ever_fades_and_ends_at_exactly_zero(kind):
    fade = Fade(kind=kind, routes=4, start=0.1, end=0.8)
    shares = [guidance_share(t, fade) for t in STEPS]
    assert shares == sorted(shares, reverse=True)
    assert all(value == 1.0 for t, value in zip(STEPS, shares, strict=True) if t < 0.1)
    assert all(value == 0.0 for t, value in zip(STEPS, shares, strict=True) if t >= 0.8)
    assert all(0 <= value <= 1 for value in shares)


@pytest.mark.parametrize("kind", FADING)
@pytest.mark.parametrize("mode", ["routes", "chance", "both"])
def test_no_prompt_of_the_last_phase_shows_a_route(kind, mode):
    fade = Fade(kind=kind, mode=mode, dropout=0.0, end=0.8)
    assert {
        plan_num_routes(7, f"p{i}", step, step / 100, fade)
        for i in range(50)
        for step in range(80, 101)
    } == {0}


def test_a_fade_may_last_to_the_very_end():
    assert guidance_share(1.0, Fade(end=1.0)) == 0.0 and guidance_share(0.999, Fade(end=1.0)) > 0


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("linear", 0.5),
        ("cosine", 0.5),
        ("exponential", 2**-2.5),
        ("step", 0.5),
        ("constant", 1.0),
        ("none", 0.0),
    ],
)
def test_share_half_way_through_the_fade(kind, expected):
    assert guidance_share(0.4, Fade(kind=kind, routes=4, start=0.0, end=0.8)) == pytest.approx(
        expected
    )


def test_step_takes_one_route_at_a_time():
    fade = Fade(kind="step", routes=4, start=0.0, end=0.8)
    assert [guidance_share(t, fade) for t in (0.0, 0.19, 0.21, 0.41, 0.61, 0.79, 0.8)] == [
        1.0,
        1.0,
        0.75,
        0.5,
        0.25,
        0.25,
        0.0,
    ]


def test_constant_never_fades_and_none_never_guides():
    assert {guidance_share(t, Fade(kind="constant")) for t in STEPS} == {1.0}
    assert {guidance_share(t, Fade(kind="none")) for t in STEPS} == {0.0}


@pytest.mark.parametrize("mode", ["routes", "chance", "both"])
@pytest.mark.parametrize("kind", [*FADING, "constant", "none"])
def test_chance_and_number_multiply_to_the_share(kind, mode):
    fade = Fade(kind=kind, mode=mode, routes=5)
    for t in STEPS:
        chance, routes = split_share(t, fade)
        assert 0 <= chance <= 1 and chance * routes == pytest.approx(5 * guidance_share(t, fade))


@pytest.mark.parametrize("mode", ["routes", "chance", "both"])
@pytest.mark.parametrize("progress", [0.0, 0.3, 0.45, 0.7])
def test_rows_show_the_expected_share_on_average(mode, progress):
    fade = Fade(routes=4, mode=mode, dropout=0.2)
    shown = [plan_num_routes(7, f"problem-{i}", 3, progress, fade) for i in range(6000)]
    assert sum(shown) / len(shown) / 4 == pytest.approx(expected_share(progress, fade), abs=0.03)
    assert max(shown) <= 4


def test_hint_dropout_leaves_a_share_of_prompts_alone_from_the_first_step():
    fade = Fade(routes=4, dropout=0.25, mode="chance")
    alone = sum(plan_num_routes(7, f"problem-{i}", 0, 0.0, fade) == 0 for i in range(4000)) / 4000
    assert alone == pytest.approx(0.25, abs=0.03)


def test_a_plan_is_a_pure_function_of_seed_row_and_step():
    fade = Fade()
    plan = [plan_num_routes(7, f"p{i}", i % 5, 0.4, fade) for i in range(200)]
    assert plan == [plan_num_routes(7, f"p{i}", i % 5, 0.4, fade) for i in range(200)]
    assert plan != [plan_num_routes(8, f"p{i}", i % 5, 0.4, fade) for i in range(200)]
    assert plan != [plan_num_routes(7, f"p{i}", i % 5 + 1, 0.4, fade) for i in range(200)]


def test_the_plan_of_a_seed_is_the_same_everywhere():
    assert [plan_num_routes(7, f"p{i}", 10, 0.4, Fade()) for i in range(12)] == GOLDEN_PLAN


GOLDEN_PLAN = [3, 0, 0, 3, 0, 3, 3, 0, 0, 0, 3, 3]


def test_what_the_gate_leaves_counts_for_the_gated_fade_alone_and_is_gone_in_time():
    gated = Fade(kind="gated", start=0.1, end=0.8)
    assert gated.mode == "chance"
    assert [guidance_share(t, gated, 0.4) for t in (0.0, 0.1, 0.5, 0.8, 1.0)] == [
        1.0,
        0.4,
        0.4,
        0.0,
        0.0,
    ]
    assert guidance_share(0.7999, gated, 1.0) < 0.001
    assert guidance_share(0.45, Fade(), 0.1) == guidance_share(0.45, Fade())


def test_the_gated_fade_keeps_the_number_of_routes_and_measures_both_modes():
    with pytest.raises(
        ValueError, match="mode = both: with kind: gated the number of routes must not fade"
    ):
        Fade(kind="gated", mode="both")
    with pytest.raises(
        ValueError, match="dropout = 0: kind: gated must measure accuracy without routes"
    ):
        Fade(kind="gated", dropout=0.0)
    with pytest.raises(ValueError, match=r"need lower_below < raise_above"):
        Fade(kind="gated", gate={"lower_below": 0.2, "raise_above": 0.1})


def test_a_gated_row_shows_routes_as_often_as_the_gate_leaves():
    fade = Fade(kind="gated", routes=4, dropout=0.2)
    shown = [plan_num_routes(7, f"problem-{i}", 3, 0.3, fade, gate_share=0.3) for i in range(6000)]
    assert set(shown) == {0, 4} and sum(shown) / 6000 / 4 == pytest.approx(0.8 * 0.3, abs=0.02)


def test_in_group_guides_the_first_copies_and_as_many_as_the_share_says_on_average():
    fade = Fade(routes=4, mode="in_group", dropout=0.2, start=0.0, end=0.8)
    groups = [
        [plan_num_routes(7, f"p{i}", 0, 0.5, fade, copy=copy, num_copies=8) for copy in range(8)]
        for i in range(3000)
    ]
    assert all(group == sorted(group, reverse=True) and set(group) <= {0, 4} for group in groups)
    counts = {sum(map(bool, group)) for group in groups}
    assert counts == {0, 3}, "none where hint dropout says so, else 3/8, which is what is left"
    drawn = [
        sum(
            plan_num_routes(7, f"p{i}", 0, 0.3, fade, copy=copy, num_copies=4) > 0
            for copy in range(4)
        )
        for i in range(4000)
    ]
    assert set(drawn) == {0, 2, 3} and sum(drawn) / 4000 / 4 == pytest.approx(
        expected_share(0.3, fade), abs=0.01
    )
