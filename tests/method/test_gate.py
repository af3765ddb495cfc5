import json
from itertools import pairwise

import pytest

from realm.core.records import Route
from realm.method.fade import Fade, guidance_share
from realm.method.gate import Bucket, GuidanceGate, Outcome, Rate, assign_buckets

FADE = Fade(kind="gated", start=0.1, end=0.8)
STEPS = 100


def bucket(gap, share=0.5):
    return Bucket(share, assisted=Rate(50 * (0.4 + gap), 50), autonomous=Rate(20, 50))


def outcomes(problem_id, *, assisted, autonomous, count=20):
    return [
        Outcome(problem_id=problem_id, guided=guided, correct=place < rate * count)
        for guided, rate in ((True, assisted), (False, autonomous))
        for place in range(count)
    ]


def run_gate(accuracies, *, fade=FADE, problem_id="p"):
    """Return the share after each step, given (assisted, autonomous) accuracies per step."""
    gate, shares = GuidanceGate(fade, {problem_id: 0}), []
    for step, (assisted, autonomous) in enumerate(accuracies):
        shares.append(guidance_share(step / len(accuracies), fade, gate.find_share(problem_id)))
        gate.observe(outcomes(problem_id, assisted=assisted, autonomous=autonomous))
        gate.advance(step + 1, len(accuracies))
    return shares


def test_guidance_stays_while_routes_help_and_falls_once_they_do_not():
    learning = [(0.8, 0.3)] * 35 + [(0.8, 0.8)] * 65
    shares = run_gate(learning)
    assert shares[:30] == [1.0] * 30 and min(shares[:50]) > 0.5
    assert shares[75] < 0.25


@pytest.mark.parametrize("accuracy", [0.0, 0.1])
def test_guidance_stays_while_both_modes_fail_although_there_is_no_gap(accuracy):
    shares = run_gate([(accuracy, accuracy)] * STEPS)
    assert set(shares[:55]) == {1.0}, "from then on the end of the fade takes the routes away"
    assert FADE.gate.min_autonomous > 0.1


def test_guidance_falls_as_accuracy_alone_rises_and_never_as_accuracy_with_routes_falls():
    def share_after(assisted, autonomous):
        state = Bucket(0.5, assisted=Rate(assisted, 50), autonomous=Rate(autonomous, 50))
        return state.move(FADE.gate, 0.1).share

    rising = [share_after(40, autonomous) for autonomous in range(41)]
    assert all(after <= before for before, after in pairwise(rising))
    assert rising[0] == pytest.approx(0.6) and rising[-1] == pytest.approx(0.4)
    assert min(share_after(assisted, 0) for assisted in range(41)) == 0.5


def test_the_floor_decides_at_which_accuracy_guidance_may_fall():
    at_floor = Bucket(assisted=Rate(10, 50), autonomous=Rate(10, 50))
    assert at_floor.move(FADE.gate, 0.1).share == pytest.approx(0.9)
    for floor, moves in ((0.21, False), (0.2, True), (0.0, True)):
        gate = FADE.gate.model_copy(update={"min_autonomous": floor})
        assert (at_floor.move(gate, 0.1) != at_floor) is moves
    below = Bucket(0.5, assisted=Rate(30, 50), autonomous=Rate(2, 50))
    assert below.move(FADE.gate, 0.1).share == pytest.approx(0.6), "the floor stops no rise"


def test_guidance_does_not_fall_by_the_clock_alone_before_the_last_stretch():
    shares = run_gate([(0.8, 0.3)] * STEPS)
    assert set(shares[:55]) == {1.0}


@pytest.mark.parametrize(
    "accuracies", [[(0.8, 0.3)] * STEPS, [(0.5, 0.5)] * STEPS, [(0.8, 0.3), (0.3, 0.8)] * 50]
)
def test_nothing_is_left_in_the_last_phase_and_no_step_moves_much(accuracies):
    shares = run_gate(accuracies)
    assert shares[80:] == [0.0] * 20
    most = 1 / (STEPS * 0.7 / 3)
    assert all(abs(after - before) <= most + 1e-9 for before, after in pairwise(shares))


def test_guidance_returns_when_accuracy_alone_breaks_down():
    shares = run_gate([(0.8, 0.8)] * 25 + [(0.8, 0.1)] * 75)
    assert shares[25] < 0.6 and max(shares[26:60]) > shares[25] + 0.2


def test_between_near_and_far_guidance_stands():
    assert bucket(0.1).move(FADE.gate, 0.05) == bucket(0.1)
    assert bucket(0.05).move(FADE.gate, 0.05).share == pytest.approx(0.45)
    assert bucket(0.2).move(FADE.gate, 0.05).share == pytest.approx(0.55)
    assert bucket(0.2, share=1.0).move(FADE.gate, 0.05).share == 1.0


def test_a_gap_that_swings_inside_the_band_moves_nothing():
    gaps = [0.06, 0.14] * 20
    state = bucket(0.1)
    for gap in gaps:
        state = bucket(gap, state.share).move(FADE.gate, 0.05)
    assert state.share == 0.5


def test_a_little_guidance_is_kept_so_that_assisted_accuracy_stays_measured():
    state = bucket(0.0)
    for _ in range(50):
        state = state.move(FADE.gate, 0.05)
    assert state.share == 0.05


def test_guidance_stands_until_both_modes_are_measured():
    assert Bucket(assisted=Rate(9, 90)).move(FADE.gate, 0.1) == Bucket(assisted=Rate(9, 90))
    assert Bucket(assisted=Rate(9, 90), autonomous=Rate(1, 3)).gap is None


def test_each_bucket_goes_its_own_way():
    gate = GuidanceGate(FADE, {"hard": 0, "easy": 2})
    for step in range(20, 40):
        gate.observe(
            outcomes("hard", assisted=0.8, autonomous=0.1)
            + outcomes("easy", assisted=0.9, autonomous=0.9)
        )
        gate.advance(step, STEPS)
    assert gate.find_share("hard") == 1.0 and gate.find_share("easy") < 0.3
    assert gate.find_share("a problem without routes") == 1.0
    accuracies = [bucket.assisted.value for bucket in gate.buckets]
    assert accuracies == [pytest.approx(0.8), None, pytest.approx(0.9)]


def test_an_undecided_completion_tells_the_gate_nothing():
    gate = GuidanceGate(FADE, {"p": 0})
    gate.observe([Outcome(problem_id="p", guided=True, correct=None)] * 20)
    assert gate.buckets == [Bucket()] * 3


def test_problems_without_routes_tell_the_gate_nothing():
    gate = GuidanceGate(FADE, {"p": 0})
    gate.observe(outcomes("other", assisted=1.0, autonomous=0.0))
    assert gate.buckets == [Bucket()] * 3


def test_earlier_completions_count_half_after_the_memory():
    rate = Rate().update([True] * 100, 512).update([False] * 512, 512)
    assert rate.right == pytest.approx(50) and rate.seen == pytest.approx(562)


def test_the_state_survives_json_and_goes_on_as_before():
    gate, other = GuidanceGate(FADE, {"p": 1}), GuidanceGate(FADE, {"p": 1})
    for step in range(10, 30):
        gate.observe(outcomes("p", assisted=0.7, autonomous=0.69, count=13))
        gate.advance(step, STEPS)
    other.load(json.loads(json.dumps(gate.state())))
    for each in (gate, other):
        each.observe(outcomes("p", assisted=0.7, autonomous=0.2, count=7))
        each.advance(31, STEPS)
    assert other.state() == gate.state() and other.buckets == gate.buckets


def test_the_order_of_the_completions_does_not_matter():
    gate, other = GuidanceGate(FADE, {"p": 0, "q": 1}), GuidanceGate(FADE, {"p": 0, "q": 1})
    told = outcomes("p", assisted=0.5, autonomous=0.25) + outcomes(
        "q", assisted=0.1, autonomous=0.9
    )
    gate.observe(told)
    other.observe(told[::-1])
    assert gate.state() == other.state()


def bank(shares):
    return {
        name: [
            Route(problem_id=name, source="s", text=str(i), answer="1", correct=i < right)
            for i in range(8)
        ]
        for name, right in shares.items()
    }


def test_buckets_are_quantiles_of_the_share_of_right_routes_the_hardest_first():
    found = assign_buckets(bank({f"p{i}": i for i in range(9)}), 3)
    assert [found[f"p{i}"] for i in range(9)] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_problems_of_like_difficulty_share_a_bucket():
    found = assign_buckets(bank({"a": 1, "b": 4, "c": 4, "d": 4, "e": 7}), 2)
    assert found["b"] == found["c"] == found["d"] and found["a"] == 0 and found["e"] == 1
    assert assign_buckets({}, 3) == {}
