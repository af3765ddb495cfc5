"""Evaluate the models and the route bank on the held-out splits: answers.jsonl, results.json and a table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from realm.bank.draw import draw_evaluation_sets
from realm.bank.worth import MAJORITY, ONE, BankResult, evaluate_bank
from realm.config.root import Config
from realm.core.errors import DataError
from realm.core.jsonl import (
    append_jsonl,
    read_jsonl,
    read_problems,
    read_routes,
    write_json,
    write_jsonl,
)
from realm.core.progress import progress
from realm.core.records import Problem, Route, RouteSet
from realm.domains import Domain
from realm.evaluate.results import print_results
from realm.evaluate.stats import bootstrap_interval, paired_difference, wilson_interval
from realm.method.parse import parse_completion
from realm.method.prompt import render_prompt
from realm.verify.vote import majority

if TYPE_CHECKING:
    from realm.run import Run

__all__ = ["print_results", "run_evaluate"]

SCHEMA = "realm.results/1"
SPLITS = ("test", "test_rules")
EVERYTHING = "all"
"""The split that a run without a model evaluates: there is nothing to train, so that no problem need be kept back."""
COMPARISONS = (
    ("realm", "autonomous", "distilled", "autonomous"),
    ("distilled", "autonomous", "base", "autonomous"),
    ("realm", "autonomous", "base", "autonomous"),
    ("realm", "assisted", "distilled", "assisted"),
    ("realm", "assisted", MAJORITY, "routes"),
    ("realm", "assisted", "realm", "autonomous"),
)
"""(a, its mode, b, its mode); each is made where both were evaluated. The last one is the autonomy gap."""


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One method in one mode over one split."""

    method: str
    mode: str
    split: str
    decoding: str = "greedy"

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Pass:
        """Return the pass that a row of answers.jsonl belongs to."""
        return cls(
            method=row["method"], mode=row["mode"], split=row["split"], decoding=row["decoding"]
        )


@dataclass(frozen=True, kw_only=True)
class Exam:
    """What every method is asked: the problems of each split and the routes that an assisted prompt shows."""

    splits: dict[str, list[Problem]]
    shown: dict[str, RouteSet] | None
    """`None` where there is no model to show them to."""
    routes: dict[str, list[Route]]
    domain: Domain
    left_out: dict[str, int]
    """How many problems of a split have no route to show; no method is asked them."""


def run_evaluate(run: Run) -> None:
    """Answer every evaluation problem with every model there is, and write answers.jsonl and results.json.

    Answers are kept a batch at a time, so that what was interrupted continues where it stopped. Without a model the routes
    themselves are all there is to evaluate.
    """
    config = run.config
    exam = set_exam(run)
    answers = _answer_all(run, exam)
    bank = {
        split: evaluate_bank(problems, exam.shown, exam.routes, exam.domain.verifier.same_all)
        for split, problems in exam.splits.items()
    }
    write_jsonl(run.path("answers.jsonl"), (row for rows in answers.values() for row in rows))
    left_out = {"left_out": exam.left_out} if exam.left_out else {}
    write_json(run.path("results.json"), _results(answers, bank, seed=config.seed) | left_out)


def set_exam(run: Run) -> Exam:
    """Return the problems and the routes shown; `DataError` where there is no problem to ask, or no route to show."""
    problems, bank = (
        read_problems(run.path("problems.jsonl")),
        read_routes(run.path("routes.jsonl")),
    )
    routes = defaultdict(list)
    for route in bank:
        routes[route.problem_id].append(route)
    config, domain = run.config, run.domain
    if config.model is None:
        return Exam(
            splits={EVERYTHING: problems}, shown=None, routes=routes, domain=domain, left_out={}
        )
    splits = {}
    for split in SPLITS:
        if chosen := [problem for problem in problems if problem.split == split][
            : config.evaluate.limit.get(split)
        ]:
            splits[split] = chosen
    if "test" not in splits:
        found = ", ".join(
            f"{split} ({count})"
            for split, count in Counter(problem.split for problem in problems).items()
        )
        raise DataError(
            f"{run.path('problems.jsonl')}: the split test is empty, and evaluation reads it. Found: {found or 'no problems'}. "
            f"Give some problems the split test, by a split column or by the shares in domain.splits."
        )
    shown = draw_evaluation_sets(
        [problem.id for chosen in splits.values() for problem in chosen],
        bank,
        held_out=config.routes.held_out,
        count=config.evaluate.routes,
        seed=config.seed,
    )
    with_routes = {
        split: [problem for problem in chosen if shown[problem.id].routes]
        for split, chosen in splits.items()
    }
    if bare := [split for split, chosen in with_routes.items() if not chosen]:
        raise DataError(
            f"{run.path('routes.jsonl')}: no problem of the split {bare[0]} has a route of the held-out sources "
            f"({', '.join(config.routes.held_out) or 'any source'}), so that no assisted prompt can be shown. Add routes, or "
            "hold out a source that covers the split (routes.held_out)."
        )
    left_out = {
        split: count for split in splits if (count := len(splits[split]) - len(with_routes[split]))
    }
    return Exam(splits=with_routes, shown=shown, routes=routes, domain=domain, left_out=left_out)


def _models(run: Run) -> dict[str, str]:
    """Return the models to evaluate: the base, and what distillation and RL have written so far; none without a base."""
    config = run.config
    if config.model is None:
        return {}
    models = {"base": config.resolve_model()}
    if config.recipe == "r1" and run.path("distilled").is_dir():
        models["distilled"] = str(run.path("distilled"))
    if run.path("model").is_dir():
        models["realm"] = str(run.path("model"))
    return models


def _answer_all(run: Run, exam: Exam) -> dict[Pass, list[dict[str, Any]]]:
    """Return the answers of every pass, in the order of the problems; those from before an interruption are not asked again."""
    config = run.config
    path = run.work("eval") / "answers.jsonl"
    with append_jsonl(path) as append:  # opened first, because opening repairs a torn last line
        answers: dict[Pass, list[dict[str, Any]]] = defaultdict(list)
        for row in read_jsonl(path):
            answers[Pass.of(row)].append(row)
        for method, model in _models(run).items():
            policy = None
            for exam_pass in _passes(method, exam, config.evaluate.samples):
                answers[exam_pass] = _whole_problems(
                    answers[exam_pass], _num_samples(exam_pass, config)
                )
                done = {row["problem_id"] for row in answers[exam_pass]}
                problems = exam.splits[exam_pass.split]
                if len(done) < len(problems):
                    policy = policy or _load(model, config)
                    answers[exam_pass] += _answer_pass(
                        config, policy, exam_pass, exam, done, append
                    )
                place = {problem.id: number for number, problem in enumerate(problems)}
                answers[exam_pass].sort(
                    key=lambda row, place=place: (place[row["problem_id"]], row.get("sample", 0))
                )
    return dict(answers)


def _load(model: str, config: Config) -> Any:
    from realm.policy import Policy  # torch loads here, once there is something to answer

    return Policy(model, keep=[config.prompt.think_end] if config.prompt.think_end else [])


def _passes(method: str, exam: Exam, samples: int) -> list[Pass]:
    """Return the passes of one method, the long prompts first, so that a context too short shows at once.

    Sampling asks what RL moves first, the accuracy of the model by itself, so it is autonomous only.
    """
    passes = [
        Pass(method=method, mode=mode, split=split)
        for mode in ("assisted", "autonomous")
        for split in exam.splits
    ]
    if samples:
        passes += [
            Pass(method=method, mode="autonomous", split=split, decoding="sampled")
            for split in exam.splits
        ]
    return passes


def _num_samples(exam_pass: Pass, config: Config) -> int:
    return config.evaluate.samples if exam_pass.decoding == "sampled" else 1


def _whole_problems(rows: list[dict[str, Any]], num_samples: int) -> list[dict[str, Any]]:
    """Return the rows of the problems that have all their samples; a kill may have cut a problem in two."""
    counts = Counter(row["problem_id"] for row in rows)
    return [row for row in rows if counts[row["problem_id"]] == num_samples]


def _answer_pass(
    config: Config,
    policy: Any,
    exam_pass: Pass,
    exam: Exam,
    done: set[str],
    append: Callable[[dict[str, Any]], None],
) -> list[dict[str, Any]]:
    """Ask one model the problems of one pass that are not `done`; append each row as its batch ends, and return them."""
    problems, num_samples, settings = (
        exam.splits[exam_pass.split],
        _num_samples(exam_pass, config),
        config.prompt,
    )
    sets = [
        exam.shown[problem.id] if exam_pass.mode == "assisted" else RouteSet(problem_id=problem.id)
        for problem in problems
    ]
    templates = {"autonomous": settings.autonomous, "assisted": settings.assisted}
    prompts = [
        policy.render(render_prompt(problem.question, routes, **templates), settings.system)
        for problem, routes in zip(problems, sets, strict=True)
    ]
    rows: list[dict[str, Any]] = []
    how = ", sampled" if exam_pass.decoding == "sampled" else ""
    description = f"eval: {exam_pass.method} {exam_pass.mode}{how}, {exam_pass.split}"
    with progress(description, total=len(problems) - len(done)) as advance:

        def keep(indices: list[int], completions: Sequence[Any]) -> None:
            for number, completion in enumerate(completions):
                index, sample = indices[number // num_samples], number % num_samples
                row = asdict(exam_pass) | {
                    "problem_id": problems[index].id,
                    "prompt": prompts[index],
                }
                row |= {"sample": sample} if exam_pass.decoding == "sampled" else {}
                row |= judge(
                    completion, problems[index], sets[index], exam.domain, settings.think_end
                )
                if sets[index].routes:
                    bank = exam.routes[problems[index].id]
                    row["routes"] = [bank.index(route) for route in sets[index].routes]
                append(row)
                rows.append(row)
            advance(len(indices))

        policy.generate(
            prompts,
            max_new_tokens=config.evaluate.max_new_tokens,
            batch_tokens=config.evaluate.batch_tokens,
            seed=config.seed,
            temperature=1.0 if exam_pass.decoding == "sampled" else 0.0,
            num_samples=num_samples,
            skip={index for index, problem in enumerate(problems) if problem.id in done},
            on_done=keep,
        )
    return rows


def judge(
    completion: Any, problem: Problem, routes: RouteSet, domain: Domain, think_end: str | None
) -> dict[str, Any]:
    """Return what one completion said and whether it is right, as the fields of an answers.jsonl row."""
    judgement = parse_completion(completion.text, len(routes.routes), think_end=think_end)
    answer = None if judgement.answer is None else domain.verifier.extract(judgement.answer)
    row = {
        "completion": completion.text,
        "judgement": {
            "verdicts": list(judgement.verdicts),
            "answer": judgement.answer,
            "well_formed": judgement.well_formed,
        },
        "correct": answer is not None and bool(domain.verifier.same(answer, problem.answer)),
        "tokens": completion.num_tokens,
        "prompt_tokens": completion.prompt_tokens,
    }
    if routes.routes:
        voted = majority([route.answer for route in routes.routes], domain.verifier.same)
        row["labels"] = list(routes.labels())
        row["copied"] = (
            None
            if voted is None
            else answer is not None and bool(domain.verifier.same(answer, voted))
        )
        if any(route.process is not None for route in routes.routes):
            row["process_labels"] = list(routes.labels("process"))
    return row


def _results(
    answers: Mapping[Pass, list[dict[str, Any]]], bank: Mapping[str, list[BankResult]], *, seed: int
) -> dict[str, Any]:
    """Return the content of results.json."""
    outcomes = {exam_pass: _outcomes(rows) for exam_pass, rows in answers.items()}
    evaluations = [
        _evaluation(exam_pass, rows, outcomes[exam_pass], seed)
        for exam_pass, rows in answers.items()
    ]
    for split, results in bank.items():
        for result in results:
            evaluations.append(_bank_evaluation(split, result, seed))
            if result.source is None:
                outcomes[Pass(method=result.method, mode="routes", split=split)] = result.outcomes
    comparisons = []
    for a, a_mode, b, b_mode in COMPARISONS:
        for split in bank:
            for decoding in ("greedy", "sampled"):
                first = outcomes.get(Pass(method=a, mode=a_mode, split=split, decoding=decoding))
                second = outcomes.get(Pass(method=b, mode=b_mode, split=split, decoding=decoding))
                if first is None or second is None:
                    continue
                difference = paired_difference(
                    [first[id_] for id_ in second], list(second.values()), seed=seed
                )
                mode = a_mode if a_mode == b_mode else f"{a_mode} vs {b_mode}"
                comparisons.append(
                    {
                        "a": a,
                        "b": b,
                        "mode": mode,
                        "split": split,
                        "decoding": decoding,
                        **asdict(difference),
                    }
                )
    return {"schema": SCHEMA, "evaluations": evaluations, "comparisons": comparisons}


def _outcomes(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return problem id to the share of its samples that are right."""
    right = defaultdict(list)
    for row in rows:
        right[row["problem_id"]].append(row["correct"])
    return {problem_id: fmean(values) for problem_id, values in right.items()}


def _accuracy(outcomes: Mapping[str, float], seed: int, *, binary: bool) -> dict[str, Any]:
    """Return n, accuracy and its interval: Wilson for right/wrong, bootstrap over problems for means of several."""
    values = list(outcomes.values())
    interval = (
        wilson_interval(round(sum(values)), len(values))
        if binary
        else bootstrap_interval(values, seed=seed)
    )
    return {"n": len(values), "accuracy": fmean(values), "ci95": interval}


def _evaluation(
    exam_pass: Pass, rows: Sequence[dict[str, Any]], outcomes: Mapping[str, float], seed: int
) -> dict[str, Any]:
    sampled = exam_pass.decoding == "sampled"
    figures = asdict(exam_pass) | {"seed": seed} | _accuracy(outcomes, seed, binary=not sampled)
    figures["tokens_per_problem"] = fmean(row["tokens"] for row in rows)
    figures["prompt_tokens_per_problem"] = fmean(row["prompt_tokens"] for row in rows)
    figures["well_formed_rate"] = fmean(row["judgement"]["well_formed"] for row in rows)
    if sampled:
        figures["samples"] = len(rows) // len(outcomes)
    if exam_pass.mode == "assisted":
        figures |= verdict_figures(rows)
    return figures


def verdict_figures(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return how the verdicts agree with the labels, and what would show that they are a habit and no judgement.

    A verdict that was not given counts as wrong. A class of which no route was shown has no figure.
    """
    figures: dict[str, Any] = {"k": max(len(row["labels"]) for row in rows)}
    for labels, name in (
        ("labels", "verdict_accuracy"),
        ("process_labels", "process_verdict_accuracy"),
    ):
        pairs = [
            pair
            for row in rows
            for pair in zip(
                row["judgement"]["verdicts"], row.get(labels, row["labels"]), strict=True
            )
        ]
        if labels == "labels" or any(labels in row for row in rows):
            figures[name] = fmean(verdict is label for verdict, label in pairs)
            for truth, word in ((True, "sound"), (False, "flawed")):
                if of_class := [verdict is label for verdict, label in pairs if label is truth]:
                    figures[f"{name}_{word}"] = fmean(of_class)
    verdicts = [row["judgement"]["verdicts"] for row in rows]
    figures["always_sound_rate"] = fmean(
        all(verdict is True for verdict in said) for said in verdicts
    )
    figures["always_flawed_rate"] = fmean(
        all(verdict is False for verdict in said) for said in verdicts
    )
    if voted := [row["copied"] for row in rows if row["copied"] is not None]:
        figures["copy_rate"] = fmean(voted)
    figures["sound_rate_by_position"] = [
        fmean(said[place] is True for said in verdicts if place < len(said))
        for place in range(figures["k"])
    ]
    return figures


def _bank_evaluation(split: str, result: BankResult, seed: int) -> dict[str, Any]:
    figures = {"method": result.method, "mode": "routes", "split": split, "seed": seed}
    figures |= _accuracy(result.outcomes, seed, binary=result.method != ONE)
    figures |= {"tokens_per_problem": result.tokens_per_problem, "k": result.k}
    return figures | ({} if result.source is None else {"source": result.source})
