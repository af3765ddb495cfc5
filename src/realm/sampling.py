"""Ask a model many prompts outside training: each answer is judged, and kept as its batch ends.

Evaluation, the baselines and further rounds of training ask a model in this way only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from realm.core.jsonl import append_jsonl, explain_damage, read_jsonl, repair_torn_line
from realm.core.ranks import count_processes, gather_objects, get_rank, run_on_main
from realm.core.records import Judged, Problem, Route, RouteSet, to_row
from realm.core.terminal import progress
from realm.method.prompt import escape_tags, render_prompt
from realm.verify.judge import judge_all

if TYPE_CHECKING:
    from pathlib import Path

    from realm.config.root import Config
    from realm.policy import Completion, Policy
    from realm.run import Run
    from realm.verify.verifier import Verifier


@dataclass(frozen=True, kw_only=True)
class EvalPrompt:
    """One prompt, before the model's chat template is applied, and the routes that it shows.

    Example: `EvalPrompt(problem=problem, text="2 + 2?", routes=RouteSet(problem_id=problem.id))`.
    """

    problem: Problem
    text: str
    routes: RouteSet
    asks_verdicts: bool = True
    """False if the prompt shows routes without asking whether they are sound."""
    route_numbers: tuple[int, ...] = ()
    """Places of the routes among those of the problem in routes.jsonl, from 0."""
    num_tokens: int = 0
    """Tokens that the model generated for candidates of its own that the prompt shows."""
    prompt_tokens: int = 0
    """Tokens that the model read to write these candidates."""
    kind: str | None = None
    """Which kind of route a prompt of the probe shows, see `realm.evaluate.probe`."""

    @property
    def key(self) -> tuple[str, str | None]:
        """What tells the prompt from the others of its task."""
        return self.problem.id, self.kind


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One judged completion: a row of answers.jsonl.

    Example: `Answer(method="realm", mode="autonomous", split="test", problem_id="p1", prompt="...",
    judged=Judged(text="<answer>4</answer>", answer=4, correct=True), prompt_tokens=57)`.
    """

    method: str = ""
    mode: str = ""
    split: str
    problem_id: str
    sample: int = 0
    prompt: str
    """The whole text that the model completed, chat template included."""
    judged: Judged
    prompt_tokens: int
    routes: tuple[int, ...] = ()
    """Places of the routes shown, see `EvalPrompt.route_numbers`."""
    kind: str | None = None
    """See `EvalPrompt.kind`."""

    @property
    def key(self) -> tuple[str, str | None]:
        """The key of the prompt that it answers."""
        return self.problem_id, self.kind

    def to_row(self) -> dict[str, Any]:
        """Return the answer as a JSON-ready dict."""
        return to_row(self) | {"judged": to_row(self.judged)}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Answer:
        """Return the answer that a row of answers.jsonl holds."""
        said = {"answer": row["judged"].get("answer")}  # may itself be a list, such as a set
        judged = Judged(**lists_to_tuples(row["judged"]) | said)
        return cls(**lists_to_tuples(row) | {"judged": judged})


OWN_SOURCE = "self"
"""The source of routes that the model wrote itself."""


@dataclass(frozen=True)
class Sampling:
    """How many answers each prompt gets, and at which temperature; 0 is greedy decoding."""

    num_samples: int = 1
    temperature: float = 0.0
    seed_offset: int = 0
    """Added to the run's seed, for further samples of the same prompts."""


class LazyPolicy:
    """A model that is loaded when it is first asked, and then kept.

    Where `evaluate.endpoints` names a server for `method`, that answers in its place.
    """

    def __init__(self, model: str | Path, config: Config, method: str = "") -> None:
        self.model = str(model)
        self.method = method
        self._endpoint = config.evaluate.endpoints.get(method) if method else None
        # The tag that ends private thinking may be a special token, which decoding drops.
        self._keep = [config.prompt.think_end] if config.prompt.think_end else []

    @cached_property
    def policy(self) -> Policy:
        """The loaded model, or the server that answers for it."""
        if self._endpoint is not None:
            from realm.endpoint import EndpointPolicy

            where = f"evaluate.endpoints.{self.method}"
            return EndpointPolicy(self.model, self._endpoint, where, keep=self._keep)
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
    interrupted call continues where it stopped. No two prompts have the same `key`. `mode` only
    names how the model is asked in the rows. Several processes share the prompts: each appends to a
    file of its own beside `path`, and all return the answers that one process would.
    """
    config, written = run.config, list[Answer]()
    groups = run_on_main(partial(_read_finished, path, prompts, sampling.num_samples))
    done = {index for index, prompt in enumerate(prompts) if groups[prompt.key]}
    title = f"{policy.method or run.folder.name}: {mode}"
    # `policy.policy` loads the model, which takes long: only if there is something to ask.
    if len(done) < len(prompts):
        texts = [policy.policy.render(one.text, config.prompt.system) for one in prompts]
        with (
            append_jsonl(_find_own_file(path)) as append,
            progress(title, total=len(prompts) - len(done)) as advance,
        ):
            # Called as each batch ends: a kill loses at most the batch that is running.
            def save_batch(indices: list[int], completions: Sequence[Completion]) -> None:
                for answer in _judge_batch(run, prompts, texts, indices, completions):
                    named = replace(answer, method=policy.method, mode=mode)
                    append(named.to_row())
                    written.append(named)
                # The other processes are about as far as this one.
                advance(len(indices) * count_processes())

            policy.policy.generate(
                texts,
                max_new_tokens=config.evaluate.max_new_tokens,
                batch_tokens=config.evaluate.batch_tokens,
                seed=config.seed + sampling.seed_offset,
                temperature=sampling.temperature,
                num_samples=sampling.num_samples,
                skip=done,
                is_shared=True,
                on_done=save_batch,
            )
    for answer in chain.from_iterable(gather_objects(written)):
        groups[answer.key].append(answer)
    return [sorted(groups[one.key], key=lambda answer: answer.sample) for one in prompts]


def _find_own_file(path: Path) -> Path:
    """Return where this process writes of those that share the work of `path`."""
    return path.with_suffix(f".{get_rank()}{path.suffix}") if get_rank() else path


def _read_finished(
    path: Path, prompts: Sequence[EvalPrompt], num_samples: int
) -> dict[tuple[str, str | None], list[Answer]]:
    """Return the finished answers by the key of their prompt, without prompts that lack one.

    They are those in `path` and in the files of other processes, of an earlier call perhaps.
    """
    groups: dict[tuple[str, str | None], list[Answer]] = {prompt.key: [] for prompt in prompts}
    # Answers on disk find their prompt by its key alone.
    assert len(groups) == len(prompts), "a problem is asked twice"
    for file in sorted([path, *path.parent.glob(f"{path.stem}.[0-9]*{path.suffix}")]):
        repair_torn_line(file)
        with explain_damage(file):
            found = [Answer.from_row(row) for row in read_jsonl(file)] if file.exists() else []
        for answer in found:
            if answer.key in groups:
                groups[answer.key].append(answer)
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
            kind=prompts[index].kind,
        )
        for (index, sample), one, completion in zip(places, judged, completions, strict=True)
    ]


def make_own_route(problem: Problem, judged: Judged, verifier: Verifier) -> Route:
    """Return one of the model's own completions as a route, with the verifier's label."""
    answer = None if judged.answer is None else verifier.render(judged.answer)
    return Route(
        problem_id=problem.id,
        source=OWN_SOURCE,
        text=write_own_text(judged.text, judged.reasoning, answer),
        answer=judged.answer,
        correct=judged.correct,
    )


def write_own_text(completion: str, reasoning: str | None, answer: str | None) -> str:
    """Return the text of a route: its reasoning, then its answer.

    If one of them is missing the whole completion is shown, with its tags made harmless.
    """
    if answer and reasoning:
        return f"{reasoning}\n{answer}"
    return escape_tags(completion).strip()


def lists_to_tuples(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row read from JSON with tuples in place of lists, as records hold them."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
