"""The probe of process verification, and the hard problems of an evaluation."""

import random
from dataclasses import replace

import pytest

from realm.core.jsonl import read_jsonl
from realm.core.records import Problem, Route
from realm.evaluate import run_evaluate
from realm.evaluate.measure import select_hard
from realm.evaluate.probe import PROBE_KINDS, draw_probes
from realm.evaluate.records import HARD, Measurement
from realm.evaluate.report.tables import print_results, tabulate_hard, tabulate_probes
from realm.evaluate.results import build_results, read_results
from realm.evaluate.stats import wilson_interval
from scripted import script

FLAWED = PROBE_KINDS[1:]


def list_steps(number):
    return [f"fee {number} allows {30 + number}", f"copay 4 leaves {26 + number}", f"pay {number}"]


def write_bank(count=6):
    """Return a sound route of each problem, and one whose second step and answer are wrong."""
    routes = []
    for i in range(count):
        right, wrong = (
            list_steps(i),
            [list_steps(i)[0], f"copay 9 leaves {21 + i}", f"pay {60 + i}"],
        )
        one = {"problem_id": f"p{i}", "source": "outsider"}
        routes += [
            Route(**one, text="\n".join(right), answer=f"pay {i}", correct=True, process=True),
            Route(
                **one, text="\n".join(wrong), answer=f"pay {60 + i}", correct=False, process=False,
                flaw=2, fix=right[1],
            ),
        ]  # fmt: skip
    return [*routes, Route(problem_id="r0", source="outsider", text="pay 0", answer="pay 0",
                           correct=True, process=True)]  # fmt: skip


def read_prompt(prompt):
    """Return the number of the problem and the steps of the one route shown."""
    number = int(prompt.split("How much for ")[1].split("?")[0])
    fence = prompt.split("<route 1>\n")[1].split("\n</route>")[0]
    return number, [line.split("] ", 1)[1] for line in fence.splitlines()]


def reader(prompt):
    number, steps = read_prompt(prompt)
    right = list_steps(number)
    flaw = next((n for n, step in enumerate(steps) if right[n : n + 1] != [step]), None)
    return "every step holds: sound" if flaw is None else f"[{flaw + 1}] is wrong: flawed"


def comparer(prompt):
    """Solves the problem, and reads of the route its answer alone."""
    number, steps = read_prompt(prompt)
    is_right = steps[-1] == f"pay {number}"
    return "every step holds: sound" if is_right else f"[{len(steps)}] is wrong: flawed"


def play(monkeypatch, check):
    """Let models judge single routes by `check(prompt)`, and answer 'pay 0' in any case."""

    def answer(index, num_routes, model):
        prompt = asked[-1][1]
        is_probe = num_routes == 1 and "How much for" in prompt
        said = f"<verify>\nRoute 1: {check(prompt)}\n</verify>\n" if is_probe else ""
        return f"{said}<reason>so</reason>\n<answer>pay 0</answer>"

    asked = script(monkeypatch, answer)
    return asked


def measure_kinds(run):
    return {row.source: row.figures for row in read_results(run.folder).probes}


def test_each_kind_has_its_true_verdict_and_its_flaw(make_run, monkeypatch):
    run = make_run(routes=write_bank(), probe=4)
    play(monkeypatch, reader)
    run_evaluate(run)
    rows = [row for row in read_jsonl(run.path("answers.jsonl")) if row["mode"] == "probe"]
    assert [row["kind"] for row in rows] == [kind for kind in PROBE_KINDS for _ in range(4)]
    for kind in PROBE_KINDS:
        own = [row for row in rows if row["kind"] == kind]
        assert len({row["problem_id"] for row in own}) == 4 and {row["split"] for row in own} == {
            "test"
        }
        assert all(row["judged"]["labels"] == [kind == "sound"] for row in own)
        assert all((row["judged"]["flaws"] == [None]) == (kind == "sound") for row in own)


def test_who_reads_the_steps_judges_all_kinds_right_and_names_every_flaw(make_run, monkeypatch):
    run = make_run(routes=write_bank(), probe=4)
    play(monkeypatch, reader)
    run_evaluate(run)
    found = measure_kinds(run)
    assert {kind: one["called_sound"] for kind, one in found.items()} == {
        "sound": 1.0, "wrong": 0.0, "wrong_answer": 0.0, "flawed_step": 0.0, "other_problem": 0.0,
    }  # fmt: skip
    assert all(
        (found[kind]["first_flaw_named"], found[kind]["known_flaws"]) == (1.0, 4) for kind in FLAWED
    )
    assert "first_flaw_named" not in found["sound"]
    assert found["sound"]["called_sound_ci95"] == pytest.approx(wilson_interval(4, 4))
    assert found["wrong"]["first_flaw_named_ci95"] == pytest.approx(wilson_interval(4, 4))


def test_who_compares_answers_only_is_shown_as_such(make_run, monkeypatch, capsys):
    run = make_run(routes=write_bank(), probe=4)
    play(monkeypatch, comparer)
    run_evaluate(run)
    found = measure_kinds(run)
    assert {kind: one["called_sound"] for kind, one in found.items()} == {
        "sound": 1.0, "wrong": 0.0, "wrong_answer": 0.0, "flawed_step": 1.0, "other_problem": 1.0,
    }  # fmt: skip
    # Its wrong routes have their flaw in the second step, and the third states the answer.
    assert [found[kind]["first_flaw_named"] for kind in FLAWED] == [0.0, 1.0, 0.0, 0.0]
    results = read_results(run.folder)
    cells = {row[0]: row[1:] for row in tabulate_probes(results).rows}
    low, high = (f"{100 * bound:.1f}" for bound in wilson_interval(4, 4))
    assert cells["wrong step"][:3] == ["base", "4", f"100.0 [{low}, {high}]"]
    # The rows of the probe are no accuracies of the model, and no method is compared by them.
    assert all(row.mode != "probe" for row in results.list_rows("test"))
    print_results(results)
    printed = capsys.readouterr().out
    assert "foreign steps" in printed and "base, probe" not in printed


def test_a_missing_verdict_is_neither_sound_nor_flawed(make_run, monkeypatch):
    run = make_run(routes=write_bank(), probe=2)
    play(monkeypatch, lambda prompt: "who knows")
    run_evaluate(run)
    found = measure_kinds(run)
    assert all(one["called_sound"] == 0.0 for one in found.values())
    assert all(found[kind]["first_flaw_named"] == 0.0 for kind in FLAWED)


def test_a_killed_probe_continues_without_asking_again(make_run, monkeypatch):
    run = make_run(routes=write_bank(), probe=3)
    play(monkeypatch, reader)
    run_evaluate(run)
    whole, results = run.path("answers.jsonl").read_text(), run.path("results.json").read_text()
    work = run.work("eval") / "base-probe.jsonl"
    lines = work.read_text().splitlines(keepends=True)
    work.write_text("".join(lines[:7]) + lines[7][:30])
    asked = play(monkeypatch, reader)
    run_evaluate(run)
    assert (len(lines), len(asked)) == (15, 15 - 7)
    assert run.path("answers.jsonl").read_text() == whole
    assert run.path("results.json").read_text() == results


def test_without_process_labels_a_right_route_counts_as_sound(make_run, monkeypatch):
    bank = [replace(route, process=None, flaw=None, fix=None) for route in write_bank()]
    run = make_run(routes=bank, probe=4)
    play(monkeypatch, reader)
    run_evaluate(run)
    found = measure_kinds(run)
    assert found["sound"]["called_sound"] == 1.0
    # Nobody knows the first flaw of a wrong route; that of a perturbed one is known.
    assert "first_flaw_named" not in found["wrong"] and found["wrong"]["known_flaws"] == 0
    assert found["flawed_step"]["first_flaw_named"] == 1.0


def test_a_bank_without_sound_routes_leaves_kinds_out_and_says_so(make_run, monkeypatch, capsys):
    bank = [route for route in write_bank() if not route.correct or route.problem_id == "r0"]
    run = make_run(routes=bank, probe=4)
    play(monkeypatch, reader)
    run_evaluate(run)
    assert set(measure_kinds(run)) == {"wrong"}
    print_results(read_results(run.folder))
    printed = " ".join(capsys.readouterr().out.split())
    assert "The probe lacks sound route, wrong answer, wrong step, foreign steps:" in printed


def test_0_turns_probe_and_samples_off(make_run, monkeypatch):
    run = make_run(routes=write_bank(), probe=0, samples=0)
    play(monkeypatch, reader)
    run_evaluate(run)
    results = read_results(run.folder)
    assert results.probes == [] and {row.split for row in results.evaluations} == {
        "test",
        "test_rules",
    }
    assert tabulate_hard(results).rows == [] and tabulate_probes(results).rows == []


def test_a_real_model_is_probed_by_default(make_run):
    run = make_run(routes=write_bank(), probe=2, samples=2)
    run_evaluate(run)
    rows = read_jsonl(run.path("answers.jsonl"))
    assert sum(row["mode"] == "probe" for row in rows) == 2 * 5
    assert [row.n for row in read_results(run.folder).probes] == [2] * 5


def test_a_route_whose_labels_contradict_each_other_is_of_no_kind():
    problem = Problem(id="p0", split="test", question="?", answer="pay 0")
    steps_hold = replace(write_bank()[1], process=True, flaw=None)
    assert draw_probes([problem], {"p0": [steps_hold]}, count=1, seed=7) == []


def test_the_probe_is_drawn_by_the_seed():
    problems = [Problem(id=f"p{i}", split="test", question="?", answer="") for i in range(6)]
    bank = {f"p{i}": write_bank()[2 * i : 2 * i + 2] for i in range(6)}
    one, again, other = (draw_probes(problems, bank, count=3, seed=seed) for seed in (7, 7, 8))
    assert one == again != other
    random.seed(1)
    assert draw_probes(problems, bank, count=3, seed=7) == one


def measured(method, mode, outcomes, **more):
    settings = {"split": "test", "seed": 7, "tokens_per_problem": 9.0} | more
    return Measurement(method=method, mode=mode, outcomes=outcomes, **settings)


def test_a_problem_is_hard_if_less_than_half_of_the_samples_solve_it():
    shares = {"a": 0.0, "b": 0.25, "c": 0.5, "d": 1.0}
    right = {"a": 0.0, "b": 1.0, "c": 1.0, "d": 1.0}
    found = select_hard(
        [
            measured("distilled", "sampled", shares),
            measured("distilled", "assisted", right),
            measured("realm", "autonomous", right, figures={"k": 4, "undecided": 1}),
            measured("realm", "sampled", shares | {"b": 0.75}),
            measured("majority", "routes", right),
            measured("realm", "autonomous", right, split="test_rules"),
            measured("realm", "autonomous", right, seed=8),  # of another seed
        ]
    )
    rows = {(one.method, one.split): one.outcomes for one in found}
    on_hard = {"a": 0.0, "b": 1.0}
    assert rows == {
        ("distilled", "hard"): on_hard,
        ("realm", "hard"): on_hard,
        ("realm", "own_hard"): {"a": 0.0},
        ("majority", "hard"): on_hard,
    }
    [one] = [one for one in found if (one.method, one.split) == ("realm", "hard")]
    assert (one.tokens_per_problem, one.figures) == (None, {"k": 4})


def with_routes_right(number, num_routes, model):
    """The distilled model is right alone on even numbers, and with routes on all but the 7th."""
    is_right = model == "model" or (number % 2 == 0 if num_routes == 0 else number != 7)
    said = f"pay {number}" if model != "base" and is_right else "pay 99"
    return f"<reason>so</reason>\n<answer>{said}</answer>"


def test_accuracy_on_hard_problems_is_as_counted_by_hand(make_run, monkeypatch, capsys):
    run = make_run(count=8, samples=2, sampled_models="all")
    run.path("distilled").mkdir()
    run.path("model").mkdir()
    script(monkeypatch, with_routes_right)
    run_evaluate(run)
    results = read_results(run.folder)
    assert results.splits == ["test", "test_rules"] and HARD not in results.families
    hard = {
        (row.a, row.split): (row.n, row.difference, row.p_mcnemar)
        for row in results.comparisons
        if row.family == HARD
    }
    # Hard for the distilled model: 1, 3, 5 and 7. The base model solves nothing, ReaLM all.
    assert hard == {
        ("base", "hard"): (4, 0.0, 1.0),
        ("distilled", "hard"): (4, 0.75, 0.25),
        ("realm", "hard"): (4, 0.0, 1.0),
        ("base", "own_hard"): (8, 0.0, 1.0),
    }
    assert results.accuracy("realm", split="hard") == 1.0
    assert results.accuracy("distilled", "assisted", split="hard") == 0.75
    assert results.find("majority", "routes", "hard").n == 4
    table = tabulate_hard(results)
    assert ["distilled", "distilled", "4", "0.0", "75.0"] in [row[:5] for row in table.rows]
    assert "itself" in [row[0] for row in table.rows]
    print_results(results)
    assert "less than half of the model's own samples" in " ".join(capsys.readouterr().out.split())


def test_by_default_only_the_model_where_training_starts_is_sampled(make_run, monkeypatch):
    run = make_run(count=4, samples=2)
    run.path("distilled").mkdir()
    run.path("model").mkdir()
    script(monkeypatch, with_routes_right)
    run_evaluate(run)
    rows = read_jsonl(run.path("answers.jsonl"))
    assert {row["method"] for row in rows if row["mode"] == "samples"} == {"distilled"}
    splits = {row.split for row in read_results(run.folder).evaluations}
    assert splits == {"test", "test_rules", "hard"}


def test_probe_and_hard_problems_are_summed_over_seeds():
    def probed(seed, right):
        outcomes = {f"{seed}:{i}": 1.0 for i in range(4)}
        figures = {
            "called_sound": right / 4, "called_sound_ci95": list(wilson_interval(right, 4)),
            "known_flaws": 0,
        }  # fmt: skip
        return measured("realm", "probe", outcomes, seed=seed, source="wrong", figures=figures)

    found = [probed(7, 1), probed(8, 3), measured("realm", "sampled", {"7:0": 0.0, "7:1": 1.0})]
    found += [measured("distilled", "sampled", {"7:0": 0.0, "7:1": 1.0})]
    found += [measured("realm", mode, {"7:0": 0.0, "7:1": 1.0}) for mode in ("autonomous", "rules")]
    results = build_results(found, [], seed=7, is_nested=True)
    [row] = results.probes
    assert (row.n, row.seeds, row.figures["called_sound"]) == (8, (7, 8), 0.5)
    assert results.find("realm", "autonomous", "hard").n == 1
    assert results.find("realm", "rules", "hard") is None
