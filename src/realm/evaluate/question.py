"""`realm ask`: one question to one model, by itself or with its own samples as the routes of an assisted prompt."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from realm.config.root import PromptConfig
from realm.core.errors import DataError
from realm.core.records import Judgement, Route, RouteSet
from realm.evaluate.ask import own_text
from realm.method.parse import parse_completion
from realm.method.prompt import render_prompt
from realm.policy import Completion, Policy

SAMPLES_TOKENS = 16384
"""Prompt and new tokens of one generation batch together."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the model said in the end, and what it took."""

    completion: Completion
    judgement: Judgement
    own: tuple[str | None, ...]
    """The answers of its own samples, in the order shown."""
    tokens: int
    """All tokens generated, the samples' included."""

    def describe(self) -> str:
        """Return the completion and, below it, the answer, the verdicts on its own samples, and the cost."""
        words = {True: "sound", False: "flawed", None: "no verdict"}
        lines = [self.completion.text.strip(), "", f"answer  {self.judgement.answer or '(none)'}"]
        for number, (answer, verdict) in enumerate(
            zip(self.own, self.judgement.verdicts, strict=True), 1
        ):
            lines.append(f"route {number} {answer or '(no answer)'}: {words[verdict]}")
        return "\n".join([*lines, f"tokens  {self.tokens}"])


def ask(model: str, question: str, *, self_routes: int, max_new_tokens: int, seed: int) -> Reply:
    """Return the reply of a model; a run folder stands for its model/, and its prompts are those it was trained with."""
    if not question.strip():
        raise DataError('The question is empty. Try: realm ask MODEL "your question".')
    folder, prompts = locate(model)
    policy = Policy(folder, keep=[prompts.think_end] if prompts.think_end else [])
    settings = {"max_new_tokens": max_new_tokens, "batch_tokens": SAMPLES_TOKENS, "seed": seed}

    def say(shown: RouteSet, num_samples: int = 1, temperature: float = 0.0) -> list[Completion]:
        text = render_prompt(
            question, shown, autonomous=prompts.autonomous, assisted=prompts.assisted
        )
        return policy.generate(
            [policy.render(text, prompts.system)],
            num_samples=num_samples,
            temperature=temperature,
            **settings,
        )

    samples = say(RouteSet(problem_id=""), self_routes, 1.0) if self_routes else []
    judged = [parse_completion(sample.text, 0, think_end=prompts.think_end) for sample in samples]
    own = tuple(
        Route(
            problem_id="",
            source="self",
            text=own_text(sample.text, said.reasoning, said.answer),
            answer=said.answer,
            correct=None,
        )
        for sample, said in zip(samples, judged, strict=True)
    )
    (last,) = say(RouteSet(problem_id="", routes=own))
    return Reply(
        completion=last,
        judgement=parse_completion(last.text, len(own), think_end=prompts.think_end),
        own=tuple(route.answer for route in own),
        tokens=last.num_tokens + sum(sample.num_tokens for sample in samples),
    )


def locate(model: str) -> tuple[str, PromptConfig]:
    """Return the model's folder or hub id, and the prompts of the run that it is part of; ours where it is part of none."""
    folder = Path(model)
    if (folder / "manifest.json").exists():
        made = [name for name in ("model", "distilled") if (folder / name).is_dir()]
        if not made:
            raise DataError(
                f"{folder}: this run has no model yet. Run `realm train` first, or give a model folder or a hub id."
            )
        model, manifest = str(folder / made[0]), folder / "manifest.json"
    else:
        manifest = folder.parent / "manifest.json"
    try:
        return model, PromptConfig.model_validate(
            json.loads(manifest.read_text(encoding="utf-8"))["config"]["prompt"]
        )
    except (OSError, ValueError, KeyError, TypeError, ValidationError):  # part of no run of ours
        return model, PromptConfig()
