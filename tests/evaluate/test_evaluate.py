import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from realm.bank.worth import evaluate_bank
from realm.core.errors import DataError, ModelError, RunError
from realm.core.jsonl import read_jsonl
from realm.core.records import Problem, RouteSet
from realm.evaluate import run_evaluate
from realm.evaluate.records import NO_EVIDENCE
from realm.evaluate.report.tables import print_results
from realm.evaluate.report.words import UNSOLVED
from realm.evaluate.results import SCHEMA, read_results
from realm.policy import Policy
from realm.verify.verifier import Verifier
from scripted import LABEL, chain, route, script


def expert(number, num_routes, model):
    checks = "".join(f"Route {place}: sound\n" for place in range(1, num_routes + 1))
    said = "pay 99" if model == "base" or (model == "distilled" and number % 2) else f"pay {number}"
    return (
        f"<verify>\n{checks}</verify>\n" if num_routes else ""
    ) + f"<reason>so</reason>\n<answer>{said}</answer>"


def row_of(results, method, mode, split="test", **more):
    wanted = {"method": method, "mode": mode, "split": split} | more
    [row] = [
        row
        for row in results["evaluations"]
        if wanted.items() <= row.items() and ("source" in more) == ("source" in row)
    ]
    return row


def test_a_tiny_model_is_evaluated_in_both_modes_on_both_splits(make_run):
    run = make_run()
    run_evaluate(run)
    rows = read_jsonl(run.path("answers.jsonl"))
    assert len(rows) == 2 * 7
    assisted = [row for row in rows if row["mode"] == "assisted" and row["split"] == "test"]
    judged = [row["judged"] for row in assisted]
    assert all(len(one["labels"]) == len(one["verdicts"]) == 3 for one in judged)
    assert all(
        row["judged"]["num_tokens"] <= 8 and "<|im_start|>assistant" in row["prompt"]
        for row in rows
    )
    results = json.loads(run.path("results.json").read_text())
    assert results["schema"] == SCHEMA
    assert {(row["method"], row["mode"]) for row in results["evaluations"]} == {
        ("base", "autonomous"),
        ("base", "assisted"),
        ("one route", "routes"),
        ("majority", "routes"),
        ("any of K", "routes"),
    }


def test_figures_and_comparisons_of_three_models_are_as_counted_by_hand(make_run, monkeypatch):
    run = make_run(count=8)
    run.path("distilled").mkdir()
    run.path("model").mkdir()
    script(monkeypatch, expert)
    run_evaluate(run)
    results = json.loads(run.path("results.json").read_text())
    accuracy = {
        method: row_of(results, method, "autonomous")["accuracy"]
        for method in ("base", "distilled", "realm")
    }
    assert accuracy == {"base": 0.0, "distilled": 0.5, "realm": 1.0}
    assisted = row_of(results, "realm", "assisted")
    figures = assisted["figures"]
    assert (assisted["tokens_per_problem"], assisted["prompt_tokens_per_problem"]) == (5, 50)
    assert (figures["verdict_accuracy_sound"], figures["verdict_accuracy_flawed"]) == (1.0, 0.0)
    assert figures["verdict_accuracy"] == pytest.approx(1 / 3) and figures["k"] == 3
    assert figures["outcome_verdict_accuracy"] == pytest.approx(1 / 3)
    assert (figures["always_sound_rate"], figures["always_flawed_rate"]) == (1.0, 0.0)
    assert figures["sound_rate_by_position"] == [1.0, 1.0, 1.0]
    assert figures["copy_rate"] == 1.0
    found = {
        (row["a"], row["a_mode"], row["b"], row["b_mode"], row["split"]): row
        for row in results["comparisons"]
    }
    assert ("realm", "assisted", "majority", "routes", "test") in found
    assert found["realm", "assisted", "realm", "autonomous", "test"]["difference"] == 0
    against = found["realm", "autonomous", "distilled", "autonomous", "test"]
    assert (against["n"], against["difference"], against["p_mcnemar"]) == (8, 0.5, 0.125)


def test_results_answer_by_method_and_mode(make_run, monkeypatch):
    run = make_run(count=8)
    run.path("distilled").mkdir()
    run.path("model").mkdir()
    script(monkeypatch, expert)
    run_evaluate(run)
    results = read_results(run.folder)
    assert results.accuracy("realm") == 1.0 and results.accuracy("distilled", "assisted") == 0.5
    found = results.difference("realm", "distilled", mode="autonomous")
    assert (found.difference, found.p_mcnemar, found.p_holm) == (0.5, 0.125, None)
    assert str(found).startswith("realm - distilled, autonomous: +50.0 [")
    # the exact test cannot go below 0.125 here: four problems on which the two models differ
    assert str(found).endswith("] points, no evidence of a difference")
    ahead = results.difference("realm", "base", mode="autonomous")
    assert ahead.p_mcnemar < 0.05 and str(ahead).endswith("] points, realm is better")
    with pytest.raises(
        RunError, match=r"relm autonomous was not measured on test\. Measured: base"
    ):
        results.accuracy("relm")
    with pytest.raises(RunError, match="base - distilled, assisted, was not compared on test"):
        results.difference("base", "distilled", mode="assisted")


def test_an_undecided_answer_is_kept_counted_and_not_right(make_run, monkeypatch, capsys):
    run = make_run()

    class Undecided(Verifier):
        def same_all(self, pairs):
            return [None if one == "pay 0" else same for one, same in zip(
                (answer for answer, _ in pairs), super().same_all(pairs), strict=True
            )]  # fmt: skip

    monkeypatch.setattr(
        "realm.domains.load_domain", lambda config: SimpleNamespace(verifier=Undecided("label"))
    )
    script(monkeypatch, lambda number, num_routes, model: expert(number, num_routes, "realm"))
    run_evaluate(run)
    rows = read_jsonl(run.path("answers.jsonl"))
    of_p0 = [row for row in rows if row["problem_id"] == "p0" and row["mode"] == "autonomous"]
    assert [row["judged"]["correct"] for row in of_p0] == [None]
    row = read_results(run.folder).find("base", "autonomous")
    assert (row.accuracy, row.figures["undecided"]) == (pytest.approx(5 / 6), 1)
    print_results(read_results(run.folder))
    assert "The verifier could not decide" in capsys.readouterr().out


def test_sampling_adds_a_mean_over_samples_and_a_paired_comparison(make_run, monkeypatch):
    run = make_run(samples=3, sampled_models="all")
    run.path("distilled").mkdir()
    run.path("model").mkdir()
    script(monkeypatch, expert)
    run_evaluate(run)
    results = json.loads(run.path("results.json").read_text())
    row = row_of(results, "distilled", "sampled")
    assert (row["figures"]["samples"], row["accuracy"], row["n"]) == (3, 0.5, 6)
    voted = row_of(results, "distilled", "self_consistency")
    assert (voted["accuracy"], voted["figures"]["curve"], voted["tokens_per_problem"]) == (
        0.5,
        [0.5] * 3,
        15,
    )
    wanted = {"a": "realm", "b": "distilled", "a_mode": "sampled", "split": "test"}
    [paired] = [row for row in results["comparisons"] if wanted.items() <= row.items()]
    assert paired["difference"] == 0.5


def test_a_killed_evaluation_continues_without_asking_again(make_run, monkeypatch):
    run = make_run()
    script(monkeypatch, expert)
    run_evaluate(run)
    whole, results = run.path("answers.jsonl").read_text(), run.path("results.json").read_text()
    work = run.work("eval")
    lines = (work / "base-assisted.jsonl").read_text().splitlines(keepends=True)
    (work / "base-assisted.jsonl").write_text("".join(lines[:4]) + lines[4][:30])
    (work / "base-autonomous.jsonl").unlink()
    asked = script(monkeypatch, expert)
    run_evaluate(run)
    assert len(lines) == 7 and len(asked) == 7 - 4 + 7
    assert (run.path("answers.jsonl").read_text(), run.path("results.json").read_text()) == (
        whole,
        results,
    )


def test_a_problem_with_half_of_its_samples_is_asked_again(make_run, monkeypatch):
    run = make_run(samples=2)
    script(monkeypatch, expert)
    run_evaluate(run)
    whole, work = run.path("answers.jsonl").read_text(), run.work("eval") / "base-samples.jsonl"
    work.write_text("".join(work.read_text().splitlines(keepends=True)[:-1]))
    asked = script(monkeypatch, expert)
    run_evaluate(run)
    assert len(asked) == 1 and run.path("answers.jsonl").read_text() == whole


def test_a_real_model_killed_and_continued_gives_the_same_answers(make_run):
    run = make_run(samples=2, batch_tokens=700)
    run_evaluate(run)
    whole = run.path("answers.jsonl").read_text()
    for work in run.work("eval").glob("*.jsonl"):
        lines = work.read_text().splitlines(keepends=True)
        work.write_text("".join(lines[: len(lines) // 2]))
    run_evaluate(run)
    assert run.path("answers.jsonl").read_text() == whole


def test_a_finished_evaluation_loads_no_model(make_run, monkeypatch):
    run = make_run()
    run_evaluate(run)
    answers = run.path("answers.jsonl").read_text()
    monkeypatch.setattr(Policy, "__init__", lambda *_, **__: pytest.fail("a model was loaded"))
    run_evaluate(run)
    assert run.path("answers.jsonl").read_text() == answers


def test_the_limit_takes_the_first_problems_of_a_split(make_run, monkeypatch):
    run = make_run(limit={"test": 2, "test_rules": None})
    script(monkeypatch, expert)
    run_evaluate(run)
    rows = read_jsonl(run.path("answers.jsonl"))
    assert {row["problem_id"] for row in rows} == {"p0", "p1", "r0"}


def test_with_0_routes_models_are_asked_alone_and_routes_are_measured(make_run, monkeypatch):
    run = make_run(probe=5)
    run.config = run.config.with_settings({"evaluate.routes": 0})
    script(monkeypatch, expert)
    run_evaluate(run)
    assert {row["mode"] for row in read_jsonl(run.path("answers.jsonl"))} == {"autonomous"}
    results = json.loads(run.path("results.json").read_text())
    assert row_of(results, "base", "autonomous")["n"] == 6
    modes = {(row["method"], row["mode"]) for row in results["evaluations"]}
    assert ("majority", "routes") in modes and not any(mode == "assisted" for _, mode in modes)


def test_an_empty_test_split_is_refused(make_run):
    run = make_run(problems=[Problem(id="a", split="train", question="?", answer="x")], routes=[])
    with pytest.raises(DataError, match=r"the split test is empty.*Found: train \(1\)"):
        run_evaluate(run)


def test_a_problem_without_routes_of_a_held_out_source_is_asked_of_nobody_and_counted(
    make_run, monkeypatch, capsys
):
    routes = [one for i in (0, 2, 3, 4, 5) for one in chain(i)]
    routes += [
        route("p1", "x", False, source="hasty"),
        replace(route("r0", "pay 0", True), correct=None),
    ]
    run = make_run(routes=[*routes, route("r0", "pay 0", True)])
    script(monkeypatch, expert)
    run_evaluate(run)
    assert {row["problem_id"] for row in read_jsonl(run.path("answers.jsonl"))} == {
        "p0",
        "p2",
        "p3",
        "p4",
        "p5",
        "r0",
    }
    results = json.loads(run.path("results.json").read_text())
    assert results["left_out"] == {"test": 1}
    assert {
        row["n"] for row in results["evaluations"] if row["split"] == "test" and "source" not in row
    } == {5}
    print_results(read_results(run.folder))
    assert "Problems without a route to show are left out: 1 of test." in capsys.readouterr().out


def test_a_split_none_of_whose_problems_has_a_route_to_show_is_refused(make_run):
    run = make_run(
        routes=[one for i in range(6) for one in chain(i)]
        + [route("r0", "x", False, source="hasty")]
    )
    with pytest.raises(
        DataError,
        match=r"no problem of the split test_rules has a route of the held-out .* \(outsider\)",
    ):
        run_evaluate(run)
    assert not run.path("results.json").exists()


def test_without_a_model_the_routes_of_all_problems_are_evaluated(make_run, monkeypatch):
    problems = [
        Problem(id=f"p{i}", split=split, question="?", answer=f"pay {i}")
        for i, split in enumerate(["train", "test"])
    ]
    routes = [*chain(0), *chain(1), replace(route("p1", "odd", False), correct=None)]
    run = make_run(problems=problems, routes=routes)
    run.config = run.config.model_copy(update={"model": None})
    monkeypatch.setattr(Policy, "__init__", lambda *_, **__: pytest.fail("a model was loaded"))
    run_evaluate(run)
    assert run.path("answers.jsonl").read_text() == ""
    results = json.loads(run.path("results.json").read_text())
    assert {row["split"] for row in results["evaluations"]} == {"all"} and results[
        "comparisons"
    ] == []
    figures = {
        (row["method"], row["source"]): (row["n"], row["accuracy"])
        for row in results["evaluations"]
    }
    assert figures["one route", "outsider"] == (2, pytest.approx((1 / 3 + 1 / 4) / 2)), (
        "what has no label is not right"
    )
    assert figures["one route", "hasty"] == (2, 1.0) and figures["majority", "all"] == (2, 1.0)


def test_a_context_too_short_for_the_prompts_is_refused_and_nothing_is_written(make_run):
    run = make_run(max_new_tokens=4096)
    with pytest.raises(
        ModelError,
        match=r"reads at most 4096 tokens, and 7 of 7 prompts do not fit.*evaluate\.max_new_tokens",
    ):
        run_evaluate(run)
    assert not run.path("results.json").exists() and not run.path("answers.jsonl").exists()


@pytest.mark.parametrize(
    ("answers", "right"),
    [
        pytest.param(["x", "pay 1", "pay 1"], 1.0, id="most votes"),
        pytest.param(["x", "pay 1"], 0.0, id="a tie goes to the first shown, here wrong"),
        pytest.param(["pay 1", "x"], 1.0, id="a tie goes to the first shown, here right"),
        pytest.param([None, None, "pay 1"], 1.0, id="no answer is no vote"),
        pytest.param([None, None], 0.0, id="nobody says anything"),
        pytest.param(
            ["Pay 1.", "x", "pay 1"], 1.0, id="answers are compared as the domain compares them"
        ),
    ],
)
def test_the_majority_is_a_plurality_of_extracted_answers(answers, right):
    problem = Problem(id="p", split="test", question="?", answer="pay 1")
    routes = [route("p", answer, LABEL.same(answer, "pay 1")) for answer in answers]
    figures = evaluate_bank(
        [problem],
        {"p": RouteSet(problem_id="p", routes=tuple(routes))},
        {"p": routes},
        LABEL.same_all,
    )
    [shown] = [
        figure for figure in figures if figure.method == "majority" and figure.source is None
    ]
    assert shown.outcomes == {"p": right}


def test_the_bank_reports_what_is_shown_each_source_and_all_together():
    problems = [
        Problem(id=f"p{i}", split="test", question="?", answer=f"pay {i}") for i in range(4)
    ]
    routes = {f"p{i}": chain(i) for i in range(4)}
    shown = {id_: RouteSet(problem_id=id_, routes=tuple(bank[:3])) for id_, bank in routes.items()}
    figures = {
        (one.method, one.source): one
        for one in evaluate_bank(problems, shown, routes, LABEL.same_all)
    }
    assert {source for _, source in figures} == {None, "outsider", "hasty", "all"}
    one = figures["one route", None]
    assert sum(one.outcomes.values()) / 4 == pytest.approx(1 / 3) and one.tokens_per_problem == 10
    assert figures["any of K", None].tokens_per_problem == 30 and figures["any of K", None].k == 3
    assert figures["one route", "hasty"].outcomes == {f"p{i}": 1.0 for i in range(4)}
    assert ("majority", "hasty") not in figures, "the majority of one route is that route"
    assert figures["one route", "all"].tokens_per_problem is None


def test_the_table_names_the_methods_and_says_when_there_is_no_evidence(
    make_run, monkeypatch, capsys
):
    run = make_run()
    run.path("distilled").mkdir()
    run.path("model").mkdir()
    script(monkeypatch, expert)
    run_evaluate(run)
    print_results(read_results(run.folder))
    printed = capsys.readouterr().out
    assert "majority of 3 " in printed and "any of 3 (outsider)" in printed
    assert "realm assisted - majority" in printed and NO_EVIDENCE in printed
    assert UNSOLVED not in printed


def test_the_table_fits_into_a_narrow_terminal(make_run, monkeypatch, capsys):
    run = make_run()
    run.path("distilled").mkdir()
    run.path("model").mkdir()
    script(monkeypatch, expert)
    run_evaluate(run)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    print_results(read_results(run.folder))
    printed = capsys.readouterr().out
    assert (
        "…" not in printed and "majority of 3 (outsider)" in printed and "detectable" not in printed
    )


def test_a_model_that_solves_nothing_is_called_that(make_run, monkeypatch, capsys):
    run = make_run()
    script(monkeypatch, lambda *_: "junk <answer>")
    run_evaluate(run)
    print_results(read_results(run.folder))
    assert UNSOLVED in capsys.readouterr().out
