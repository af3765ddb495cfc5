from dataclasses import replace
from random import Random
from typing import get_args

import pytest

from realm.core.records import Route
from realm.method.perturb import (
    Perturbation,
    perturb_route,
    share_mistakes,
    transplant_steps,
)
from realm.method.steps import split_steps

KINDS = get_args(Perturbation)
STEPS = ("fee 42 allows 42", "copay 6 leaves 36", "top 40 leaves 36", "pay 36")
SOUND = Route(
    problem_id="p", source="s", text="\n".join(STEPS), answer="pay 36", correct=True, process=True
)
OTHERS = [
    Route(
        problem_id=f"q{number}",
        source="s",
        text=f"fee {number} allows {number}\ncopay 3 leaves {number - 3}\npay {number - 3}",
        answer=f"pay {number - 3}",
        correct=True,
        process=True,
    )
    for number in range(50, 60)
]


def perturb(kind, route=SOUND, *, seed, others=OTHERS):
    return perturb_route(route, kind, others, Random(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_exactly_the_step_that_the_label_names_is_broken(kind):
    seen = set()
    for seed in range(60):
        broken = perturb(kind, seed=seed)
        steps, at = split_steps(broken), broken.flaw - 1
        assert broken.process is False and broken.is_sound() is False
        assert broken.fix == STEPS[at]
        assert steps[:at] == STEPS[:at] and steps[at] != STEPS[at]
        assert steps[at + 1 :] == STEPS[at + 1 + (kind == "missing") :] or kind == "missing"
        seen.add(broken.flaw)
    # Every step that may break does, so that none can be named without reading.
    assert seen == ({4} if kind == "answer" else {1, 2, 3})


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "answer"])
def test_the_answer_stays_right_so_that_it_gives_nothing_away(kind):
    for seed in range(30):
        broken = perturb(kind, seed=seed)
        assert (broken.answer, broken.correct) == ("pay 36", True)
        assert split_steps(broken)[-1] == "pay 36"


def test_a_changed_answer_is_that_of_another_problem_and_the_steps_stay():
    for seed in range(30):
        broken = perturb("answer", seed=seed)
        assert broken.correct is False and broken.answer in {one.answer for one in OTHERS}
        assert split_steps(broken) == (*STEPS[:-1], broken.answer)


def test_a_left_out_step_is_missed_where_the_next_one_stands():
    broken = perturb("missing", seed=1)
    at = broken.flaw - 1
    assert split_steps(broken) == STEPS[:at] + STEPS[at + 1 :]


def test_a_changed_number_is_never_the_same_number():
    for seed in range(60):
        broken = perturb("number", seed=seed)
        new, old = split_steps(broken)[broken.flaw - 1].split(), broken.fix.split()
        assert sum(a != b for a, b in zip(new, old, strict=True)) == 1


@pytest.mark.parametrize("step", ["2. It is late, by {} days", "Step 2: {} left", "2) {} is late"])
def test_the_number_that_the_author_gave_a_step_is_never_changed(step):
    route = replace(SOUND, text="\n".join([step.format(30), "pay 36"]))
    changed = [split_steps(perturb("number", route, seed=seed))[0] for seed in range(20)]
    start = step.partition("{}")[0]
    assert all(one.startswith(start) and one != step.format(30) for one in changed)
    numbered = replace(SOUND, text="1. It is late.\n2. So it is denied.\npay 36")
    assert perturb("number", numbered, seed=1) is None


def test_a_foreign_step_is_of_the_same_kind_where_there_is_one():
    for seed in range(30):
        broken = perturb("foreign", seed=seed)
        new = split_steps(broken)[broken.flaw - 1]
        assert new not in STEPS and any(new in split_steps(one) for one in OTHERS)
        if broken.flaw < 3:
            assert new.split()[0] == broken.fix.split()[0]


def test_a_kind_that_does_not_apply_gives_nothing():
    words = Route(problem_id="p", source="s", text="it is late\ndeny", answer="deny", correct=True)
    assert perturb("number", words, seed=1) is None
    assert perturb("missing", words, seed=1) is None
    assert perturb("foreign", words, seed=1, others=[]) is None
    assert perturb("answer", words, seed=1, others=[]) is None
    prose = Route(
        problem_id="p", source="s", text="2 + 2 = 4\nso 4 apples", answer="4", correct=True
    )
    assert perturb("answer", prose, seed=1) is None
    # Where the answer is part of a longer step that step is left alone.
    assert {perturb("number", prose, seed=seed).flaw for seed in range(20)} == {1}


LATE = replace(SOUND, text="fee 42 allows 40\ncopay 6 leaves 34\npay 34", answer="pay 34",
               correct=False, process=False, flaw=1, fix=STEPS[0])  # fmt: skip


def test_numbers_change_to_the_same_ones_in_all_routes_and_the_labels_say_where_they_begin():
    first_flaws = set()
    for seed in range(200):
        changed, copy, other = share_mistakes([SOUND, SOUND, LATE], SOUND, Random(seed))
        assert changed == copy
        steps = split_steps(changed)
        at = next(i for i, step in enumerate(steps) if step != STEPS[i])
        assert (changed.process, changed.flaw, changed.fix) == (False, at + 1, STEPS[at])
        assert changed.answer == steps[-1] and changed.correct is (changed.answer == "pay 36")
        # One mistake, the same in every step: words stay, and equal numbers stay equal.
        pairs = {
            (old, new)
            for before, after in zip(STEPS, steps, strict=True)
            for old, new in zip(before.split(), after.split(), strict=True)
        }
        assert len(pairs) == len({old for old, _ in pairs})
        assert all(old == new for old, new in pairs if not old.isdigit())
        # What was wrong before is still wrong, and its first flaw stays the first.
        assert (other.process, other.flaw, other.fix) == (False, 1, STEPS[0])
        first_flaws.add(changed.flaw)
    assert first_flaws == {1, 2, 3}


def test_shared_mistakes_need_numbers_and_an_answer_of_text():
    words = replace(SOUND, text="it is late\ndeny", answer="deny")
    assert share_mistakes([words], words, Random(1)) == (words,)
    listed = replace(SOUND, answer=["36"])
    assert share_mistakes([listed], SOUND, Random(1)) == (listed,)


def test_a_mistake_after_an_unknown_flaw_leaves_the_first_flaw_unknown():
    unknown = replace(SOUND, correct=False, process=None)
    (changed,) = share_mistakes([unknown], SOUND, Random(1))
    assert (changed.correct, changed.process, changed.flaw) == (False, False, None)


def test_a_transplant_has_the_steps_of_another_problem_and_the_right_answer():
    mixed = transplant_steps(SOUND, OTHERS[0])
    assert split_steps(mixed) == ("fee 50 allows 50", "copay 3 leaves 47", "pay 36")
    assert (mixed.correct, mixed.process, mixed.flaw, mixed.fix) == (True, False, 1, STEPS[0])
    assert transplant_steps(SOUND, SOUND) is None


def test_what_a_route_cost_is_not_counted_again():
    paid = Route(**{**vars(SOUND), "cost_usd": 0.5, "usage": {"completion": 9}})
    assert perturb("number", paid, seed=1).cost_usd is None
