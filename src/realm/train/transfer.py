"""From assisted to autonomous: credit the policy's own assisted successes to the prompt without routes.

Where the policy solves a problem with routes and seldom without, its reasoning and answer, the verification left out, are
trained as a completion of the autonomous prompt. They were not sampled from that prompt, so every token is weighed by
min(1, its probability without routes / its probability when it was sampled): truncated importance sampling. See
docs/decisions/0007-transfer.md.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import torch
from torch import Tensor

from realm.core.records import Outcome
from realm.method.gate import Rate
from realm.train.grader import Graded

_PROBLEM_MEMORY, _MEMORY = 32, 512
"""Completions after which an earlier one counts half: of one problem, and of all."""
_PRIOR = 4
"""Completions that the accuracy on all problems counts for, in the estimate of one."""
_TALK = re.compile(r"\broutes?\b|\bsolutions? \d", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Credit:
    """One assisted success to be credited; everything in token ids."""

    sampled_after: list[int]
    """What the credited tokens followed when they were sampled: the assisted prompt and the verification."""
    prompt: list[int]
    """The autonomous prompt."""
    completion: list[int]
    """The reasoning and the answer."""
    weight: float
    """How seldom the policy solves the problem alone."""


class Alone:
    """How often each problem is solved without routes, as training goes."""

    def __init__(self) -> None:
        self._all, self._problems = Rate(), dict[str, Rate]()

    def observe(self, outcomes: Iterable[Outcome]) -> None:
        """Take in the completions of one generation, of all processes."""
        groups: dict[str, list[bool]] = {}
        for outcome in outcomes:
            if not outcome.guided:
                groups.setdefault(outcome.problem_id, []).append(outcome.right)
        for problem_id, right in groups.items():
            before = self._problems.get(problem_id, Rate())
            self._problems[problem_id] = before.after(sum(right), len(right), _PROBLEM_MEMORY)
            self._all = self._all.after(sum(right), len(right), _MEMORY)

    def estimate(self, problem_id: str) -> float:
        """Return the accuracy on one problem, drawn towards that on all; 1 while nothing is known: then nothing is credited."""
        if self._all.value is None:
            return 1.0
        seen = self._problems.get(problem_id, Rate())
        return (seen.right + _PRIOR * self._all.value) / (seen.seen + _PRIOR)

    def state(self) -> dict[str, Any]:
        """Return all there is to know, ready for JSON."""
        problems = {
            problem_id: [rate.right, rate.seen] for problem_id, rate in self._problems.items()
        }
        return {"all": [self._all.right, self._all.seen], "problems": problems}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up a state that `state` returned."""
        self._all = Rate(*state["all"])
        self._problems = {problem_id: Rate(*rate) for problem_id, rate in state["problems"].items()}


def can_be_credited(graded: Graded) -> bool:
    """Tell whether a completion is a success with routes whose reasoning stands without them."""
    reasoning = graded.judgement.reasoning or ""
    return (
        bool(graded.labels)
        and graded.score.answer == 1
        and graded.judgement.well_formed
        and not _TALK.search(reasoning)
    )


def reasoning_start(ids: Sequence[int], read: Callable[[list[int]], str]) -> int | None:
    """Return where in `ids` the reasoning block begins; `None` where no token begins with it.

    >>> reasoning_start([ord(letter) for letter in "</verify>\\n<reason>r</reason>"], lambda ids: "".join(map(chr, ids)))
    10
    """
    text = read(list(ids))
    length = len(text) - text.rfind("<reason>")
    start = (
        bisect_right(range(len(ids)), -length, key=lambda place: -len(read(list(ids[place:])))) - 1
    )
    return start if start >= 0 and read(list(ids[start:])).startswith("<reason>") else None


def token_logps(
    model: Any, rows: Sequence[tuple[list[int], list[int]]], *, temperature: float, device: Any
) -> tuple[Tensor, Tensor]:
    """Return the log-probabilities of the completions in (context, completion) rows, and a mask over them; padded on the left."""
    longest, most = max(len(c) + len(y) for c, y in rows), max(len(y) for _, y in rows)
    ids = torch.tensor([[0] * (longest - len(c) - len(y)) + c + y for c, y in rows], device=device)
    mask = torch.tensor(
        [[0] * (longest - len(c) - len(y)) + [1] * len(c + y) for c, y in rows], device=device
    )
    said = torch.tensor([[0.0] * (most - len(y)) + [1.0] * len(y) for _, y in rows], device=device)
    logits = model(
        input_ids=ids, attention_mask=mask, logits_to_keep=most + 1, use_cache=False
    ).logits[:, :-1]
    losses = torch.nn.functional.cross_entropy(
        logits.float().transpose(1, 2) / temperature, ids[:, -most:], reduction="none"
    )
    return -losses * said, said


def importance(logps: Tensor, sampled: Tensor) -> Tensor:
    """Return the weight of each token, in [0, 1] and without a gradient: its probability now over that when it was sampled."""
    return (logps.detach() - sampled).exp().clamp(max=1.0)


def transfer_loss(
    logps: Tensor, sampled: Tensor, said: Tensor, credits: Tensor, completions: int
) -> Tensor:
    """Return the loss of a batch: per credit the mean over tokens of weight x log-probability, over all `completions`."""
    per_credit = (importance(logps, sampled) * logps * said).sum(1) / said.sum(1)
    return -(credits * per_credit).sum() / completions


class Transfer:
    """The credits of one generation, in as many parts as the generation has micro-batches; each adds its loss to one of them.

    Every process makes the same number of forward passes, with or without credits, as sharded models need.
    """

    def __init__(
        self,
        weight: float,
        alone: Alone,
        *,
        read: Callable[[list[int]], str],
        encode: Callable[[str], list[int]],
        temperature: float,
        parts: int,
        completions: int,
    ) -> None:
        """`encode` gives the ids of a problem's autonomous prompt; a micro-batch holds `completions` completions."""
        self.weight, self.alone, self.temperature = weight, alone, temperature
        self.read, self.encode, self.parts, self.completions = read, encode, parts, completions
        self.credits: list[Credit] = []
        self._batches: Iterator[tuple[list[Credit], Tensor]] = iter(())

    def collect(
        self, model: Any, tried: Iterable[tuple[str, Graded, list[int], list[int]]], device: Any
    ) -> dict[str, float]:
        """Find the credits among (problem, completion, its prompt's and its own ids), one a problem; return figures to log."""
        found: dict[str, Credit] = {}
        number = 0
        for problem_id, graded, prompt, completion in tried:
            number += 1
            weight = 1 - self.alone.estimate(problem_id)
            if problem_id in found or weight <= 0 or not can_be_credited(graded):
                continue
            start = reasoning_start(completion, self.read)
            if start is not None:
                found[problem_id] = Credit(
                    sampled_after=prompt + completion[:start],
                    prompt=self.encode(problem_id),
                    completion=completion[start:],
                    weight=weight,
                )
        self.credits = list(found.values())
        nothing = Credit(sampled_after=[0], prompt=[0], completion=[0], weight=0.0)
        batches = []
        for part in range(self.parts):
            credits = self.credits[part :: self.parts] or [nothing]
            with torch.no_grad():
                sampled, _ = self._logps(
                    model, [(credit.sampled_after, credit.completion) for credit in credits], device
                )
            batches.append((credits, sampled))
        self._batches = cycle(batches)
        return {"transfer_share": len(self.credits) / number}

    def loss(self, model: Any, device: Any) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of the next micro-batch, weighed, and figures to log."""
        credits, sampled = next(self._batches)
        logps, said = self._logps(
            model, [(credit.prompt, credit.completion) for credit in credits], device
        )
        weights = torch.tensor([credit.weight for credit in credits], device=device)
        figures = {}
        if weights.any():
            figures = {
                "transfer_importance": float((importance(logps, sampled) * said).sum() / said.sum())
            }
        return self.weight * transfer_loss(logps, sampled, said, weights, self.completions), figures

    def _logps(
        self, model: Any, rows: Sequence[tuple[list[int], list[int]]], device: Any
    ) -> tuple[Tensor, Tensor]:
        return token_logps(model, rows, temperature=self.temperature, device=device)
