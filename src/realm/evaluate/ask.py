"""Ask a model outside training: many prompts, each answer judged and kept, or one question."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realm.core.errors import DataError
from realm.core.jsonl import append_jsonl, read_jsonl
from realm.core.progress import progress
from realm.core.records import Judged, Judgement, Problem, Route, RouteSet
from realm.evaluate.records import Answer, EvalPrompt
from realm.method.parse import parse_completion
from realm.method.prompt import escape_tags, render_prompt
from realm.verify.judge import judge_all

if TYPE_CHECKING:
    from realm.config.root import Config, PromptConfig
    from realm.policy import Completion, Policy
    from realm.run import Run
    from realm.verify.verifier import Verifier


BATCH_TOKENS = 16384
"""Prompt and new tokens of a batch of `realm ask`: one question and its samples fit."""


@dataclass(frozen=True)
class Sampling:
    """How many answers each prompt gets, and at which temperature; 0 is greedy decoding."""

    num_samples: int = 1
    temperature: float = 0.0


class LazyPolicy:
    """A model that is loaded when it is first asked, and then kept."""

    def __init__(self, model: str | Path, config: Config, method: str = "") -> None:
        self.model = str(model)
        self.method = method
        # The tag that ends private thinking may be a special token, which decoding drops.
        self._keep = [config.prompt.think_end] if config.prompt.think_end else []

    @cached_property
    def policy(self) -> Policy:
        """The loaded model."""
        from realm.policy import Policy  # loads torch

        return Policy(self.model, keep=self._keep)


def make_prompt(
    problem: Problem,
    config: Config,
    routes: RouteSet | None = None,
    *,
    question: str | None = None,
    **more: Any,
) -> EvalPrompt:
    """Return the prompt of a problem: assisted if there are routes to show, else autonomous.

    Args:
        problem: The problem to ask.
        config: Gives the prompt templates.
        routes: The routes to show.
        question: Text in place of the problem's question.
        more: Further fields of `EvalPrompt`.
    """
    shown = routes or RouteSet(problem_id=problem.id)
    text = render_prompt(
        problem.question if question is None else question,
        shown,
        autonomous=config.prompt.autonomous,
        assisted=config.prompt.assisted,
    )
    return EvalPrompt(problem=problem, text=text, routes=shown, **more)


def sample_and_judge(
    run: Run,
    policy: LazyPolicy,
    prompts: Sequence[EvalPrompt],
    path: Path,
    *,
    mode: str,
    sampling: Sampling = Sampling(),
) -> list[list[Answer]]:
    """Return the judged answers to each prompt, in the order of the prompts.

    Each batch is appended to `path` as it ends, and what `path` holds is not asked again. So an
    interrupted call continues where it stopped. There is at most one prompt for each problem.
    `mode` only names how the model is asked in the rows.
    """
    config = run.config
    with append_jsonl(path) as append:  # opened first: opening repairs a torn last line
        groups = _read_finished(path, prompts, sampling.num_samples)
        done = {index for index, prompt in enumerate(prompts) if groups[prompt.problem.id]}
        title = f"{policy.method or run.folder.name}: {mode}"
        if len(done) < len(prompts):
            texts = [policy.policy.render(one.text, config.prompt.system) for one in prompts]
            with progress(title, total=len(prompts) - len(done)) as advance:
                # Called as each batch ends: a kill loses at most the batch that is running.
                def save_batch(indices: list[int], completions: Sequence[Completion]) -> None:
                    for answer in _judge_batch(run, prompts, texts, indices, completions):
                        named = replace(answer, method=policy.method, mode=mode)
                        append(named.to_row())
                        groups[named.problem_id].append(named)
                    advance(len(indices))

                policy.policy.generate(
                    texts,
                    max_new_tokens=config.evaluate.max_new_tokens,
                    batch_tokens=config.evaluate.batch_tokens,
                    seed=config.seed,
                    temperature=sampling.temperature,
                    num_samples=sampling.num_samples,
                    skip=done,
                    on_done=save_batch,
                )
    return [sorted(groups[one.problem.id], key=lambda answer: answer.sample) for one in prompts]


def _read_finished(
    path: Path, prompts: Sequence[EvalPrompt], num_samples: int
) -> dict[str, list[Answer]]:
    """Return the answers in a file by problem, without problems that lack a sample."""
    # Answers are found again by the problem's id, so that no problem may be asked twice.
    groups: dict[str, list[Answer]] = {prompt.problem.id: [] for prompt in prompts}
    assert len(groups) == len(prompts), "a problem is asked twice"
    for answer in map(Answer.from_row, read_jsonl(path)):
        if answer.problem_id in groups:
            groups[answer.problem_id].append(answer)
    for group in groups.values():
        if len(group) != num_samples:
            group.clear()  # a kill may have cut the samples of a problem in two
    return groups


def _judge_batch(
    run: Run,
    prompts: Sequence[EvalPrompt],
    texts: Sequence[str],
    indices: Sequence[int],
    completions: Sequence[Completion],
) -> list[Answer]:
    """Return the judged completions of the prompts with these indices, all judged at once."""
    # Completions come prompt by prompt, all samples of one prompt in a row.
    num_samples = len(completions) // len(indices)
    places = [(index, sample) for index in indices for sample in range(num_samples)]
    asked = [prompts[index] for index, _ in places]
    judged = judge_all(
        [completion.text for completion in completions],
        golds=[prompt.problem.answer for prompt in asked],
        verifier=run.domain.verifier,
        routes=[prompt.routes.routes if prompt.asks_verdicts else () for prompt in asked],
        think_end=run.config.prompt.think_end,
        num_tokens=[completion.num_tokens for completion in completions],
    )
    return [
        Answer(
            split=prompts[index].problem.split,
            problem_id=prompts[index].problem.id,
            sample=sample,
            prompt=texts[index],
            judged=one,
            prompt_tokens=completion.prompt_tokens,
            routes=prompts[index].route_numbers,
        )
        for (index, sample), one, completion in zip(places, judged, completions, strict=True)
    ]


def make_own_route(problem: Problem, judged: Judged, verifier: Verifier) -> Route:
    """Return one of the model's own completions as a route, with the verifier's label."""
    answer = None if judged.answer is None else verifier.render(judged.answer)
    return Route(
        problem_id=problem.id,
        source="self",
        text=write_own_text(judged.text, judged.reasoning, answer),
        answer=judged.answer,
        correct=judged.correct,
    )


def write_own_text(completion: str, reasoning: str | None, answer: str | None) -> str:
    """Return the text of a route: its answer, then its reasoning.

    If one of them is missing the whole completion is shown, with its tags made harmless.
    """
    if answer and reasoning:
        return f"{answer}\n{reasoning}"
    return escape_tags(completion).strip()


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a model said to one question, and what it took.

    Example: `ask_question("runs/demo", "Who pays?", self_routes=4).judgement.answer`.
    """

    completion: Completion
    judgement: Judgement
    own_answers: tuple[str | None, ...]
    """The answers of its own samples, in the order shown."""
    num_tokens: int
    """All tokens generated, those of the samples included."""

    def describe(self) -> str:
        """Return the completion, the answer, the verdicts on the model's own samples, the cost."""
        words = {True: "sound", False: "flawed", None: "no verdict"}
        lines = [self.completion.text.strip(), "", f"answer  {self.judgement.answer or '(none)'}"]
        judged = zip(self.own_answers, self.judgement.verdicts, strict=True)
        for number, (answer, verdict) in enumerate(judged, 1):
            lines.append(f"route {number} {answer or '(no answer)'}: {words[verdict]}")
        return "\n".join([*lines, f"tokens  {self.num_tokens}"])


def ask_question(
    model: str, question: str, *, self_routes: int = 0, max_new_tokens: int = 512, seed: int = 7
) -> Reply:
    """Return the reply of a model to one question.

    Args:
        model: A run folder, a model folder or a hub id. A run's own prompt templates are used.
        question: The question.
        self_routes: Number of own samples that the model judges before it answers.
        max_new_tokens: Limit of each completion.
        seed: Of the samples.
    """
    from realm.policy import Policy  # loads torch

    if not question.strip():
        raise DataError('The question is empty. Try: realm ask MODEL "your question".')
    folder, prompts = find_model_and_prompts(model)
    policy = Policy(folder, keep=[prompts.think_end] if prompts.think_end else [])

    def generate(shown: RouteSet, num_samples: int, temperature: float) -> list[Completion]:
        templates = {"autonomous": prompts.autonomous, "assisted": prompts.assisted}
        return policy.generate(
            [policy.render(render_prompt(question, shown, **templates), prompts.system)],
            max_new_tokens=max_new_tokens,
            batch_tokens=BATCH_TOKENS,
            seed=seed,
            num_samples=num_samples,
            temperature=temperature,
        )

    # First the model's own samples, then one greedy answer that sees them as routes.
    nothing = RouteSet(problem_id="")
    samples = generate(nothing, self_routes, 1.0) if self_routes else []
    routes = []
    for sample in samples:
        said = parse_completion(sample.text, 0, think_end=prompts.think_end)
        text = write_own_text(sample.text, said.reasoning, said.answer)
        routes.append(
            Route(problem_id="", source="self", text=text, answer=said.answer, correct=None)
        )
    [last] = generate(RouteSet(problem_id="", routes=tuple(routes)), 1, 0.0)
    return Reply(
        completion=last,
        judgement=parse_completion(last.text, len(routes), think_end=prompts.think_end),
        own_answers=tuple(route.answer for route in routes),
        num_tokens=last.num_tokens + sum(sample.num_tokens for sample in samples),
    )


def find_model_and_prompts(model: str) -> tuple[str, PromptConfig]:
    """Return the model's folder or hub id, and the prompts of the run that it is part of.

    A model that is part of no run gets the default prompts.
    """
    from realm.config.root import PromptConfig

    folder = Path(model)
    manifest = folder / "manifest.json"
    if manifest.exists():
        made = [name for name in ("model", "distilled") if (folder / name).is_dir()]
        if not made:
            raise DataError(
                f"{folder}: this run has no model yet. Run `realm train` first, or give a model "
                "folder or a hub id."
            )
        model = str(folder / made[0])
    else:
        manifest = folder.parent / "manifest.json"
    try:
        prompts = json.loads(manifest.read_text(encoding="utf-8"))["config"]["prompt"]
        return model, PromptConfig.model_validate(prompts)
    except (OSError, ValueError, KeyError, TypeError):  # not a run folder of this version
        return model, PromptConfig()
