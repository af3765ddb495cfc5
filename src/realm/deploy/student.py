"""A finished model that answers questions, by itself or with its own samples as routes."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from realm.core.errors import DataError
from realm.core.jsonl import read_json
from realm.core.records import Judgement, Route, RouteSet
from realm.method.parse import parse_completion
from realm.method.prompt import render_prompt
from realm.sampling import OWN_SOURCE, write_own_text

if TYPE_CHECKING:
    from realm.config.training import PromptConfig
    from realm.policy import Completion, Policy

MAX_NEW_TOKENS = 512
PROMPTS_FILE = "realm_prompts.json"
"""The prompts of the run, in a folder that `realm export` wrote."""
BATCH_TOKENS = 16384
"""Prompt and new tokens of a batch: one question and its samples fit."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a model said to one question, and what it took.

    Example: `Student("runs/demo").ask("Who pays?", self_routes=4).judgement.answer`.
    """

    completion: Completion
    judgement: Judgement
    own_answers: tuple[str | None, ...]
    """The answers of its own samples, in the order shown."""
    num_tokens: int
    """All tokens generated, those of the samples included."""
    is_cut: bool = False
    """Whether the completion reached its limit, so that it may lack an answer."""

    @property
    def verdicts(self) -> list[str]:
        """Return what the model says of each of its own samples, in a line each."""
        words = {True: "sound", False: "flawed", None: "no verdict"}
        judged = zip(self.own_answers, self.judgement.verdicts, strict=True)
        return [
            f"route {number} {' '.join((answer or '(no answer)').split())}: {words[verdict]}"
            for number, (answer, verdict) in enumerate(judged, 1)
        ]

    def describe(self) -> str:
        """Return the completion, the answer, the verdicts on the model's own samples, the cost."""
        answer = self.judgement.answer or "(none)"
        lines = [self.completion.text.strip(), "", f"answer  {answer}", *self.verdicts]
        return "\n".join([*lines, f"tokens  {self.num_tokens}"])


class Student:
    """A finished model with the prompts that it was trained with: loaded once, asked often."""

    def __init__(self, model: str, upstream: str | None = None) -> None:
        """Load a model.

        Args:
            model: A run folder, a model folder, a GGUF file, a hub id or base-1m, the bundled
                model. The prompts are those of the run or the export that it is part of, else the
                default ones.
            upstream: Address of a server that holds the weights, such as `vllm serve`; then none
                are loaded here.

        Raises:
            ModelError: It is not a complete model.
            RealmError: The server does not answer, or serves several models.
        """
        folder, self.prompts = find_model_and_prompts(model)
        keep = [self.prompts.think_end] if self.prompts.think_end else []
        self.has_upstream = upstream is not None
        self.policy: Policy
        if upstream:
            from realm.endpoint import EndpointPolicy, find_served_model

            endpoint = find_served_model(upstream, "--upstream")
            self.policy = EndpointPolicy(folder, endpoint, "--upstream", keep=keep)
        else:
            from realm.policy import Policy  # loads torch

            self.policy = Policy(folder, keep=keep)

    def ask(
        self,
        question: str,
        *,
        self_routes: int = 0,
        max_new_tokens: int = MAX_NEW_TOKENS,
        temperature: float = 0.0,
        seed: int = 7,
    ) -> Reply:
        """Return the reply to one question.

        Args:
            question: The question.
            self_routes: Number of own samples that the model judges before it answers.
            max_new_tokens: Limit of each completion.
            temperature: Of the answer; own samples are drawn at temperature 1.
            seed: Of the samples.

        Raises:
            DataError: The question is empty.
            ModelError: The question does not fit into the model's context.
        """
        require_question(question)

        # A copy: the connections of a server belong to one question.
        policy = copy.copy(self.policy) if self.has_upstream else self.policy

        def generate(shown: RouteSet, num_samples: int, heat: float) -> list[Completion]:
            templates = {
                "autonomous": self.prompts.autonomous,
                "assisted": self.prompts.assisted,
            }
            prompt = render_prompt(question, shown, **templates)
            return policy.generate(
                [policy.render(prompt, self.prompts.system)],
                max_new_tokens=max_new_tokens,
                batch_tokens=BATCH_TOKENS,
                seed=seed,
                num_samples=num_samples,
                temperature=heat,
            )

        # First the model's own samples, then one answer that sees them as routes. An empty set of
        # routes gives the autonomous prompt; a question has no problem id.
        samples = generate(RouteSet(problem_id=""), self_routes, 1.0) if self_routes else []
        routes = tuple(map(self._make_route, samples))
        [last] = generate(RouteSet(problem_id="", routes=routes), 1, temperature)
        return Reply(
            completion=last,
            judgement=parse_completion(last.text, len(routes), think_end=self.prompts.think_end),
            own_answers=tuple(route.answer for route in routes),
            num_tokens=last.num_tokens + sum(sample.num_tokens for sample in samples),
            is_cut=last.num_tokens >= max_new_tokens,
        )

    def _make_route(self, sample: Completion) -> Route:
        said = parse_completion(sample.text, 0, think_end=self.prompts.think_end)
        # As training writes the policy's own routes, so that the model reads what it was taught to
        # judge.
        text = write_own_text(sample.text, said.reasoning, said.answer)
        # Nobody knows the right answer, so no sample has a label.
        return Route(problem_id="", source=OWN_SOURCE, text=text, answer=said.answer, correct=None)


def require_question(question: str) -> None:
    """Raise `DataError` for an empty question."""
    if not question.strip():
        raise DataError('The question is empty. Try: realm ask MODEL "your question".')


def find_model_and_prompts(model: str) -> tuple[str, PromptConfig]:
    """Return the model's folder or hub id, and the prompts that it was trained with.

    A model that is part of no run and no export gets the default prompts.
    """
    from realm.config.root import BUNDLED_MODEL
    from realm.config.training import PromptConfig

    place = Path(model)
    if model == BUNDLED_MODEL.name and not place.exists():
        return str(BUNDLED_MODEL), PromptConfig()
    folder = place if place.is_dir() else place.parent
    if (folder / PROMPTS_FILE).exists() and place.exists():
        return model, PromptConfig.model_validate(read_json(folder / PROMPTS_FILE))
    manifest = folder / "manifest.json"
    if manifest.exists():
        # The furthest trained model: RL writes model/, distillation before it distilled/.
        made = [name for name in ("model", "distilled") if (folder / name).is_dir()]
        if not made:
            raise DataError(f"{folder}: this run has no model yet. Run `realm train` first.")
        model = str(folder / made[0])
    else:
        # MODEL may be RUN/model or RUN/distilled itself, whose prompts stand in the run's manifest.
        manifest = folder.parent / "manifest.json"
    try:
        prompts = json.loads(manifest.read_text(encoding="utf-8"))["config"]["prompt"]
        return model, PromptConfig.model_validate(prompts)
    except (OSError, ValueError, KeyError, TypeError):  # not a run folder of this version
        return model, PromptConfig()
