"""Ask one model in every mode of the comparison. Each asking is a stage of its cell; one asking may tell of several modes.

A stage writes what was said to answers/NAME.jsonl and what it comes to, by mode and split, to outcomes/NAME.json.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from realm.baselines.best_of_n import pick_soundest
from realm.baselines.rules_in_prompt import with_rules
from realm.baselines.self_consistency import vote
from realm.baselines.universal import choice_prompt, chosen
from realm.config.root import Config
from realm.core.errors import DataError
from realm.core.jsonl import read_jsonl, write_json, write_jsonl
from realm.core.records import Problem, RouteSet
from realm.domains import Domain
from realm.evaluate.ask import Asked, ask_about, ask_all, own_route
from realm.evaluate.exam import Exam, set_exam, verdict_figures
from realm.method.prompt import render_prompt
from realm.verify.vote import majority

if TYPE_CHECKING:
    from realm.run import Run

Outcome = tuple[bool | float, int, int]
"""Of one problem: right, or the share of samples that are; tokens that were generated for it; tokens that were read."""


def ask_autonomous(run: Run) -> None:
    """Ask every problem by itself."""
    config = run.config
    exam = set_exam(run)
    rows, problems = _ask(
        run, exam, "autonomous", [ask_about(problem, config) for problem in _problems(exam)]
    )
    _write(
        run,
        "autonomous",
        problems,
        {"autonomous": [_outcome(row) for row in rows]},
        _formed({"autonomous": rows}),
    )


def ask_assisted(run: Run) -> None:
    """Ask every problem with routes of the held-out sources; their verdicts alone make the mode best_of_routes."""
    config = run.config
    exam = set_exam(run)
    asked = [ask_about(problem, config, exam.shown[problem.id]) for problem in _problems(exam)]
    rows, problems = _ask(run, exam, "assisted", asked)
    picked = [
        (
            _right(_soundest(row, one.routes, exam.domain), one.problem, exam.domain),
            row["tokens"],
            row["prompt_tokens"],
        )
        for row, one in zip(rows, asked, strict=True)
    ]
    outcomes = {"assisted": [_outcome(row) for row in rows], "best_of_routes": picked}
    figures = _formed({"assisted": rows})
    if any(verdict is not None for row in rows for verdict in row["judgement"]["verdicts"]):
        for split in exam.splits:
            figures["assisted", split] |= verdict_figures(
                [row for row in rows if row["split"] == split]
            )
    _write(run, "assisted", problems, outcomes, figures)


def ask_with_rules(run: Run) -> None:
    """Ask every problem with the rule book before it."""
    config = run.config
    exam = set_exam(run)
    if exam.domain.rules is None:
        raise DataError(
            f"{config.source}: the mode rules needs a rule book, and this domain has none. Leave it out."
        )

    def asked(problem: Problem) -> Asked:
        question = with_rules(problem.question, exam.domain.rules, config.compare.prompts.rules)
        nothing = RouteSet(problem_id=problem.id)
        prompt = render_prompt(question, nothing, autonomous=config.prompt.autonomous)
        return Asked(problem=problem, prompt=prompt, routes=nothing)

    rows, problems = _ask(run, exam, "rules", [asked(problem) for problem in _problems(exam)])
    _write(
        run, "rules", problems, {"rules": [_outcome(row) for row in rows]}, _formed({"rules": rows})
    )


def ask_samples(run: Run) -> None:
    """Sample every problem as often as an assisted prompt shows routes: accuracy of one sample, and of their majority."""
    config = run.config
    exam, count = set_exam(run), config.evaluate.routes
    asked = [ask_about(problem, config) for problem in _problems(exam)]
    rows, problems = _ask(run, exam, "samples", asked, num_samples=count, temperature=1.0)
    groups = _by_problem(rows, count)
    one = [(fmean(row["correct"] for row in group), *_mean_tokens(group)) for group in groups]
    domain = exam.domain

    def majority_right(n: int) -> list[bool]:
        voted = [vote(group[:n], domain.verifier.extract, domain.verifier.same) for group in groups]
        return [
            _right(answer, problem, domain) for answer, problem in zip(voted, problems, strict=True)
        ]

    first = {n: majority_right(n) for n in range(1, count + 1)}
    voted = [
        (right, *_sum_tokens(group)) for right, group in zip(first[count], groups, strict=True)
    ]
    figures: dict[tuple[str, str], dict[str, Any]] = {}
    for split in exam.splits:
        here = [place for place, problem in enumerate(problems) if problem.split == split]
        curve = [fmean(first[n][place] for place in here) for n in first]
        figures |= {
            ("sampled", split): {"samples": count},
            ("self_consistency", split): {"samples": count, "curve": curve},
        }
    _write(run, "samples", problems, {"sampled": one, "self_consistency": voted}, figures)


def ask_self_routes(run: Run) -> None:
    """Show the policy its own samples as routes: its final answer, and the answer of the sample that it calls soundest."""
    exam = set_exam(run)
    asked, groups = _own_candidates(run, exam)
    rows, problems = _ask(run, exam, "self_routes", asked)
    answered, picked = [], []
    for row, one, group in zip(rows, asked, groups, strict=True):
        tokens, read = _sum_tokens([row, *group])
        answered.append((row["correct"], tokens, read))
        picked.append(
            (
                _right(_soundest(row, one.routes, exam.domain), one.problem, exam.domain),
                tokens,
                read,
            )
        )
    _write(
        run,
        "self_routes",
        problems,
        {"self_routes": answered, "best_of_n": picked},
        _formed({"self_routes": rows}),
    )


def ask_universal(run: Run) -> None:
    """Show the policy its own samples and let it pick one by its number."""
    config = run.config
    exam = set_exam(run)
    candidates, groups = _own_candidates(run, exam)
    rows, problems = _ask(run, exam, "universal", _choices(candidates, config))
    outcomes = [
        (_chosen_right(row, one, exam.domain, config), *_sum_tokens([row, *group]))
        for row, one, group in zip(rows, candidates, groups, strict=True)
    ]
    _write(run, "universal", problems, {"universal": outcomes}, {})


def ask_universal_routes(run: Run) -> None:
    """Show the policy the routes of an assisted prompt and let it pick one by its number."""
    config = run.config
    exam = set_exam(run)
    candidates = [ask_about(problem, config, exam.shown[problem.id]) for problem in _problems(exam)]
    rows, problems = _ask(run, exam, "universal_routes", _choices(candidates, config))
    outcomes = [
        (_chosen_right(row, one, exam.domain, config), row["tokens"], row["prompt_tokens"])
        for row, one in zip(rows, candidates, strict=True)
    ]
    _write(run, "universal_routes", problems, {"universal_routes": outcomes}, {})


def majority_of_routes(run: Run) -> list[dict[str, Any]]:
    """Return the outcome of the majority of the routes that assisted prompts show; no model is asked."""
    exam = set_exam(run)
    problems = _problems(exam)

    def right(problem: Problem) -> bool:
        voted = majority(
            [route.answer for route in exam.shown[problem.id].routes], exam.domain.verifier.same
        )
        return _right(voted, problem, exam.domain)

    return _outcomes(problems, {"routes": [(right(problem), 0, 0) for problem in problems]}, {})


def model_of(run: Run) -> str:
    """Return the model of a cell: what it trained, where it started, or the config's own."""
    made = [run.path(name) for name in ("model", "distilled") if run.path(name).is_dir()]
    return str(made[0]) if made else run.config.resolve_model()


def problem_key(problem: Problem) -> str:
    """Return a name for a problem that is the same in another seed only where the problem is."""
    return (
        f"{problem.id}:{hashlib.sha256(problem.question.encode(errors='replace')).hexdigest()[:12]}"
    )


def _problems(exam: Exam) -> list[Problem]:
    return [problem for problems in exam.splits.values() for problem in problems]


def _ask(
    run: Run,
    exam: Exam,
    stage: str,
    asked: Sequence[Asked],
    *,
    num_samples: int = 1,
    temperature: float = 0.0,
) -> tuple[list[dict[str, Any]], list[Problem]]:
    """Return the rows and the problems asked, and write answers/STAGE.jsonl."""
    config = run.config
    rows = ask_all(
        model_of(run),
        asked,
        run.work(stage) / "answers.jsonl",
        config=config,
        domain=exam.domain,
        description=f"{run.folder.name}: {stage}",
        num_samples=num_samples,
        temperature=temperature,
    )
    write_jsonl(run.path(f"answers/{stage}.jsonl"), rows)
    return rows, [one.problem for one in asked]


def _own_candidates(run: Run, exam: Exam) -> tuple[list[Asked], list[list[dict[str, Any]]]]:
    """Return, for each problem, the assisted prompt that shows its samples as routes, and the samples."""
    config = run.config
    groups = _by_problem(read_jsonl(run.path("answers/samples.jsonl")), config.evaluate.routes)
    asked = []
    for problem, group in zip(_problems(exam), groups, strict=True):
        own = tuple(
            own_route(problem, row["completion"], exam.domain, config.prompt.think_end)
            for row in group
        )
        asked.append(ask_about(problem, config, RouteSet(problem_id=problem.id, routes=own)))
    return asked, groups


def _choices(candidates: Sequence[Asked], config: Config) -> list[Asked]:
    template = config.compare.prompts.choose
    return [
        Asked(
            problem=one.problem,
            prompt=choice_prompt(one.problem.question, one.routes, template),
            routes=RouteSet(problem_id=one.problem.id),
        )
        for one in candidates
    ]


def _chosen_right(
    row: Mapping[str, Any], candidates: Asked, domain: Domain, config: Config
) -> bool:
    answers = [route.answer for route in candidates.routes.routes]
    return _right(
        chosen(answers, row["completion"], think_end=config.prompt.think_end),
        candidates.problem,
        domain,
    )


def _soundest(row: Mapping[str, Any], routes: RouteSet, domain: Domain) -> Any | None:
    return pick_soundest(
        [route.answer for route in routes.routes],
        row["judgement"]["verdicts"],
        domain.verifier.same,
    )


def _right(answer: Any | None, problem: Problem, domain: Domain) -> bool:
    return answer is not None and bool(domain.verifier.same(answer, problem.answer))


def _by_problem(rows: Sequence[dict[str, Any]], count: int) -> list[list[dict[str, Any]]]:
    return [list(rows[start : start + count]) for start in range(0, len(rows), count)]


def _outcome(row: Mapping[str, Any]) -> Outcome:
    return row["correct"], row["tokens"], row["prompt_tokens"]


def _sum_tokens(rows: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    return sum(row["tokens"] for row in rows), sum(row["prompt_tokens"] for row in rows)


def _mean_tokens(rows: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    tokens, read = _sum_tokens(rows)
    return tokens / len(rows), read / len(rows)


def _formed(
    rows_by_mode: Mapping[str, Sequence[Mapping[str, Any]]],
) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the share of well-formed completions, by mode and split."""
    figures: dict[tuple[str, str], dict[str, Any]] = {}
    for mode, rows in rows_by_mode.items():
        for split in dict.fromkeys(row["split"] for row in rows):
            formed = [row["judgement"]["well_formed"] for row in rows if row["split"] == split]
            figures[mode, split] = {"well_formed_rate": fmean(formed)}
    return figures


def _outcomes(
    problems: Sequence[Problem],
    by_mode: Mapping[str, Sequence[Outcome]],
    figures: Mapping[tuple[str, str], Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Return one entry per mode and split: the outcome of each problem, and the mean tokens."""
    entries = []
    for mode, outcomes in by_mode.items():
        for split in dict.fromkeys(problem.split for problem in problems):
            here = [
                (problem, outcome)
                for problem, outcome in zip(problems, outcomes, strict=True)
                if problem.split == split
            ]
            entries.append(
                {
                    "mode": mode,
                    "split": split,
                    "outcomes": {
                        problem_key(problem): float(right) for problem, (right, _, _) in here
                    },
                    "tokens_per_problem": fmean(tokens for _, (_, tokens, _) in here),
                    "prompt_tokens_per_problem": fmean(read for _, (_, _, read) in here),
                    **figures.get((mode, split), {}),
                }
            )
    return entries


def _write(
    run: Run,
    stage: str,
    problems: Sequence[Problem],
    by_mode: Mapping[str, Sequence[Outcome]],
    figures: Mapping[tuple[str, str], Mapping[str, Any]],
) -> None:
    write_json(run.path(f"outcomes/{stage}.json"), _outcomes(problems, by_mode, figures))
