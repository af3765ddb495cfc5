"""`realm ask`: one question to one model, by itself or with its own samples as routes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from realm.core.errors import DataError
from realm.core.records import Judgement, Route, RouteSet
from realm.method.parse import parse_completion
from realm.method.prompt import render_prompt
from realm.sampling import write_own_text

if TYPE_CHECKING:
    from realm.config.training import PromptConfig
    from realm.policy import Completion

BATCH_TOKENS = 16384
"""Prompt and new tokens of a batch: one question and its samples fit."""


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
        model: A run folder, a model folder, a GGUF file or a hub id. A run's own prompts are used.
        question: The question.
        self_routes: Number of own samples that the model judges before it answers.
        max_new_tokens: Limit of each completion.
        seed: Of the samples.
    """
    if not question.strip():
        raise DataError('The question is empty. Try: realm ask MODEL "your question".')
    from realm.policy import Policy  # loads torch

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
    # An empty set of routes gives the autonomous prompt; a question has no problem id.
    nothing = RouteSet(problem_id="")
    samples = generate(nothing, self_routes, 1.0) if self_routes else []
    routes = []
    for sample in samples:
        said = parse_completion(sample.text, 0, think_end=prompts.think_end)
        # As training writes the policy's own routes, so that the model reads what it was taught to
        # judge.
        text = write_own_text(sample.text, said.reasoning, said.answer)
        # Nobody knows the right answer, so no sample has a label.
        route = Route(problem_id="", source="self", text=text, answer=said.answer, correct=None)
        routes.append(route)
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
    from realm.config.training import PromptConfig

    folder = Path(model)
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
