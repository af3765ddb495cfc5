"""The ways to ask a model. One task of asking may give the outcomes of several modes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from realm.bank.eligible import select_evaluation_routes
from realm.baselines.prompting import add_rules, pick_chosen, pick_soundest
from realm.core.jsonl import read_jsonl, write_json, write_jsonl
from realm.core.ranks import is_main_process
from realm.core.records import RouteSet, to_row
from realm.evaluate.eval_set import EvalSet, load_eval_set
from realm.evaluate.measure import Pick, cut_to_budget, measure_mode
from realm.evaluate.probe import draw_probes
from realm.method.prompt import render_prompt
from realm.sampling import (
    Answer,
    EvalPrompt,
    LazyPolicy,
    Sampling,
    make_own_route,
    make_prompt,
    sample_and_judge,
)
from realm.verify.verifier import majority

if TYPE_CHECKING:
    from pathlib import Path

    from realm.evaluate.records import Measurement
    from realm.run import Run


@dataclass(frozen=True, kw_only=True)
class EvalTask:
    """One way to ask a model all problems, and the modes that its answers measure.

    Example: the task "samples" draws several answers to each question. Their mean accuracy is the
    mode "sampled"; the accuracy of their majority is the mode "self_consistency".
    """

    name: str
    make_prompts: Callable[[Run, EvalSet], list[EvalPrompt]]
    modes: Mapping[str, Pick | None]
    """What each mode takes; `None` takes the answers as they are."""
    is_sampled: bool = False
    seed_offset: int = 0
    """See `Sampling.seed_offset`."""
    needs: tuple[str, ...] = ()
    """Tasks that come first, because this one uses their answers."""
    spends: Mapping[str, str] = field(default_factory=dict)
    """Modes that vote on as many of the model's samples as cost the tokens of another task."""
    settings: tuple[str, ...] = ()
    """Settings that the prompts need beyond those of every task."""
    inputs: tuple[str, ...] = ()


def ask_task(
    task: EvalTask,
    run: Run,
    eval_set: EvalSet,
    policy: LazyPolicy,
    path: Path,
    *,
    num_samples: int,
) -> tuple[list[Answer], list[Measurement]]:
    """Ask a model all prompts of a task; return the answers and what they come to.

    `path` keeps finished answers. `num_samples` is the number of answers per prompt of a task
    that samples; the others decode greedily. Several processes share the prompts, and only the main
    one measures.
    """
    prompts = task.make_prompts(run, eval_set)
    sampling = Sampling()
    if task.is_sampled:
        sampling = Sampling(num_samples, temperature=1.0, seed_offset=task.seed_offset)
    groups = sample_and_judge(run, policy, prompts, path, mode=task.name, sampling=sampling)
    measurements: list[Measurement] = []
    if not is_main_process():
        return [], measurements
    # One call asks both splits and all kinds, in larger batches; they are measured apart.
    parts = [(prompt.problem.split, prompt.kind) for prompt in prompts]
    for split, kind in dict.fromkeys(parts):
        places = [i for i, part in enumerate(parts) if part == (split, kind)]
        here, answered = [prompts[i] for i in places], [groups[i] for i in places]
        for mode, pick in task.modes.items():
            one = measure_mode(mode, run, here, answered, pick)
            measurements.append(replace(one, method=policy.method, split=split, source=kind))
    return [answer for group in groups for answer in group], measurements


def run_task(task: EvalTask, run: Run) -> None:
    """Ask the model of a cell, and write answers/TASK.jsonl and outcomes/TASK.json."""
    eval_set, model = load_eval_set(run), find_model(run)
    # Of the models of a comparison only this one is the same for all seeds, and can be served.
    method = "base" if model == run.config.resolve_model() else ""
    answers, measurements = ask_task(
        task,
        run,
        eval_set,
        LazyPolicy(model, run.config, method),
        run.work(task.name) / "answers.jsonl",
        num_samples=run.config.evaluate.routes,
    )
    if not is_main_process():
        return
    measurements += _measure_at_equal_tokens(task, run, eval_set, answers)
    write_jsonl(run.path(f"answers/{task.name}.jsonl"), (answer.to_row() for answer in answers))
    write_json(run.path(f"outcomes/{task.name}.json"), [to_row(one) for one in measurements])


def _measure_at_equal_tokens(
    task: EvalTask, run: Run, eval_set: EvalSet, more: Sequence[Answer]
) -> list[Measurement]:
    """Return the accuracy of votes that cost as many tokens as another task, problem by problem.

    The votes are the samples of the task "samples", then those of this task, `more`.
    """
    measurements: list[Measurement] = []
    if not task.spends:
        return measurements
    own, others = _read_answers(run, "samples"), _group_answers(more)
    for mode, name in task.spends.items():
        answered = _read_answers(run, name)
        shows_samples = "samples" in TASKS[name].needs
        for split, problems in eval_set.splits.items():
            prompts, groups = [make_prompt(problem, run.config) for problem in problems], []
            for problem in problems:
                shown = own[problem.id] if shows_samples else []
                counted = [*shown, *answered[problem.id]]
                budget = sum(answer.judged.num_tokens for answer in counted)
                groups.append(cut_to_budget([*own[problem.id], *others[problem.id]], budget))
            measurements.append(
                replace(measure_mode(mode, run, prompts, groups, _vote), split=split)
            )
    return measurements


def _read_answers(run: Run, task: str) -> dict[str, list[Answer]]:
    return _group_answers(map(Answer.from_row, read_jsonl(run.path(f"answers/{task}.jsonl"))))


def _group_answers(answers: Iterable[Answer]) -> dict[str, list[Answer]]:
    """Return the answers by problem."""
    groups: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        groups[answer.problem_id].append(answer)
    return groups


def find_model(run: Run) -> str:
    """Return the model of a cell: the one it trained, the one it started from, or the config's."""
    # A cell that trains writes model/; one that only starts others links or writes distilled/.
    made = [run.path(name) for name in ("model", "distilled") if run.path(name).is_dir()]
    return str(made[0]) if made else run.config.resolve_model()


# How a mode picks its answer


def _vote(run: Run, prompt: EvalPrompt, group: Sequence[Answer]) -> Any:
    """Self-consistency (Wang et al., arXiv 2203.11171): the majority of the samples."""
    return majority([answer.judged.answer for answer in group], run.domain.verifier.same)


def _pick_soundest(run: Run, prompt: EvalPrompt, group: Sequence[Answer]) -> Any:
    answers = [route.answer for route in prompt.routes.routes]
    return pick_soundest(answers, group[0].judged.verdicts, run.domain.verifier.same)


def _pick_chosen(run: Run, prompt: EvalPrompt, group: Sequence[Answer]) -> Any:
    answers = [route.answer for route in prompt.routes.routes]
    think_end = run.config.prompt.think_end
    return pick_chosen(answers, group[0].judged.text, think_end=think_end)


# What is asked


def _ask_alone(run: Run, eval_set: EvalSet) -> list[EvalPrompt]:
    return [make_prompt(problem, run.config) for problem in eval_set.problems]


def _ask_assisted(run: Run, eval_set: EvalSet) -> list[EvalPrompt]:
    assert eval_set.shown is not None
    prompts = []
    for problem in eval_set.problems:
        shown, bank = eval_set.shown[problem.id], eval_set.routes[problem.id]
        numbers = tuple(bank.index(route) for route in shown.routes)
        prompts.append(make_prompt(problem, run.config, shown, route_numbers=numbers))
    return prompts


def _ask_probe(run: Run, eval_set: EvalSet) -> list[EvalPrompt]:
    """Return prompts that show one route each, of every kind that the bank allows."""
    config, problems = run.config, eval_set.splits["test"]
    bank = select_evaluation_routes(
        (route for routes in eval_set.routes.values() for route in routes),
        config.routes.held_out,
        {problem.id for problem in problems},
    )
    probes = draw_probes(problems, bank, count=config.evaluate.probe, seed=config.seed)
    return [make_prompt(one.problem, config, one.routes, kind=one.kind) for one in probes]


def _ask_with_rules(run: Run, eval_set: EvalSet) -> list[EvalPrompt]:
    rules, template = run.domain.rules, run.config.compare.prompts.rules
    assert rules is not None  # `choose_methods` drops this mode where there is no rule book
    return [
        make_prompt(problem, run.config, question=add_rules(problem.question, rules, template))
        for problem in eval_set.problems
    ]


def _ask_with_own_samples(run: Run, eval_set: EvalSet) -> list[EvalPrompt]:
    samples = _read_answers(run, "samples")
    verifier, prompts = run.domain.verifier, []
    for problem in eval_set.problems:
        group = samples[problem.id]
        routes = tuple(make_own_route(problem, answer.judged, verifier) for answer in group)
        shown = RouteSet(problem_id=problem.id, routes=routes)
        # What the samples cost counts as the cost of the answer that needs them.
        written = sum(answer.judged.num_tokens for answer in group)
        read = sum(answer.prompt_tokens for answer in group)
        prompts.append(
            make_prompt(problem, run.config, shown, num_tokens=written, prompt_tokens=read)
        )
    return prompts


def _ask_to_choose(
    run: Run, eval_set: EvalSet, *, candidates: Callable[[Run, EvalSet], list[EvalPrompt]]
) -> list[EvalPrompt]:
    """Return prompts that show the same candidates and ask for the number of one of them.

    So asks universal self-consistency (Chen et al., arXiv 2311.17311).
    """
    template, prompts = run.config.compare.prompts.choose, []
    for prompt in candidates(run, eval_set):
        text = render_prompt(prompt.problem.question, prompt.routes, assisted=template)
        # The answer is a number, without verdicts to judge.
        prompts.append(replace(prompt, text=text, asks_verdicts=False))
    return prompts


TASKS: dict[str, EvalTask] = {
    task.name: task
    for task in (
        EvalTask(name="autonomous", make_prompts=_ask_alone, modes={"autonomous": None}),
        EvalTask(name="assisted", make_prompts=_ask_assisted,
                 modes={"assisted": None, "best_of_routes": _pick_soundest}),
        EvalTask(name="probe", make_prompts=_ask_probe, modes={"probe": None}),
        EvalTask(name="rules", make_prompts=_ask_with_rules, modes={"rules": None},
                 settings=("compare.prompts.rules",), inputs=("rules.md",)),
        EvalTask(name="samples", make_prompts=_ask_alone, is_sampled=True,
                 modes={"sampled": None, "self_consistency": _vote}),
        EvalTask(name="self_routes", make_prompts=_ask_with_own_samples, needs=("samples",),
                 modes={"self_routes": None, "best_of_n": _pick_soundest}),
        EvalTask(name="votes", make_prompts=_ask_alone, is_sampled=True, seed_offset=1, modes={},
                 needs=("samples", "assisted", "self_routes"),
                 spends={"votes_at_self_routes": "self_routes", "votes_at_assisted": "assisted"}),
        EvalTask(name="universal", needs=("samples",), modes={"universal": _pick_chosen},
                 make_prompts=partial(_ask_to_choose, candidates=_ask_with_own_samples),
                 settings=("compare.prompts.choose",)),
        EvalTask(name="universal_routes", modes={"universal_routes": _pick_chosen},
                 make_prompts=partial(_ask_to_choose, candidates=_ask_assisted),
                 settings=("compare.prompts.choose",)),
    )
}  # fmt: skip

TASK_OF_MODE: dict[str, EvalTask] = {
    mode: task for task in TASKS.values() for mode in (*task.modes, *task.spends)
}
