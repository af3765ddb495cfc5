"""From assisted to autonomous: teach the prompt without routes what was solved with them.

The reasoning and the answer of a success with routes, without its verification, are taught as a
completion of the autonomous prompt, one per problem and generation (context distillation: Snell et
al. 2022, arXiv 2209.15189):

    loss = -weight * sum over credits of mean_t(log p(y_t)) / number of completions of an update

See docs/decisions/0019-transfer-by-imitation.md.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import chain, cycle
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import gather_object
from torch import Tensor

from realm.core.ranks import get_rank

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from realm.core.records import Judged
    from realm.train.grader import Graded

# Reasoning that leans on the routes ("as route 2 says", "Solution 1") makes no sense without them.
_MENTIONS_ROUTES = re.compile(r"\broutes?\b|\bsolutions? \d", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Credit:
    """One assisted success to be credited; texts are token ids.

    Example: `Credit(prompt=[5], completion=[8, 9])`.
    """

    prompt: list[int]
    """The autonomous prompt."""
    completion: list[int]
    """The reasoning and the answer."""


_NOTHING = Credit(prompt=[0], completion=[0])
"""What a micro-batch without credits passes through the model, at weight 0."""


def can_be_credited(graded: Graded) -> bool:
    """Return whether a completion is an assisted success whose reasoning stands without routes."""
    judged = graded.judged
    return bool(judged.labels) and judged.correct is True and stands_without_routes(judged)


def stands_without_routes(judged: Judged) -> bool:
    """Return whether a completion is well formed and its reasoning names no route."""
    return judged.well_formed and not _MENTIONS_ROUTES.search(judged.reasoning or "")


def find_reasoning_start(ids: Sequence[int], read: Callable[[list[int]], str]) -> int | None:
    """Return where in `ids` the reasoning block begins, or `None` if no token begins with it.

    >>> letters = [ord(letter) for letter in "</verify>\\n<reason>r</reason>"]
    >>> find_reasoning_start(letters, lambda ids: "".join(map(chr, ids)))
    10
    """
    text = read(list(ids))
    # The last block counts, as when the completion is read.
    length = len(text) - text.rfind("<reason>")
    # The text of ids[place:] gets shorter as `place` grows, so its start is found by bisection.
    start = (
        bisect_right(range(len(ids)), -length, key=lambda place: -len(read(list(ids[place:])))) - 1
    )
    return start if start >= 0 and read(list(ids[start:])).startswith("<reason>") else None


def measure_token_logps(model: Any, batch: Sequence[Credit], device: Any) -> tuple[Tensor, Tensor]:
    """Return the log-probabilities of the completions after their prompts, and a mask over them.

    Both are `(batch, longest completion)` and padded on the left, so that all completions end in
    the last column and one slice of the logits serves all rows.
    """
    width = max(len(credit.prompt) + len(credit.completion) for credit in batch)
    longest = max(len(credit.completion) for credit in batch)

    def pad(rows: Iterable[list[int]], size: int) -> Tensor:
        return torch.tensor([[0] * (size - len(row)) + row for row in rows], device=device)

    # Any id does as padding, since the mask hides it.
    ids = pad((credit.prompt + credit.completion for credit in batch), width)
    mask = pad(([1] * len(credit.prompt + credit.completion) for credit in batch), width)
    said = pad(([1] * len(credit.completion) for credit in batch), longest).float()
    # The logits before position t predict token t: one more position is kept, the last is dropped.
    logits = model(
        input_ids=ids, attention_mask=mask, logits_to_keep=longest + 1, use_cache=False
    ).logits[:, :-1]
    # (batch, longest, vocabulary) -> (batch, vocabulary, longest), as cross_entropy takes it
    losses = torch.nn.functional.cross_entropy(
        logits.float().transpose(1, 2), ids[:, -longest:], reduction="none"
    )
    return -losses * said, said


def transfer_loss(logps: Tensor, said: Tensor, num_completions: int) -> Tensor:
    """Return the loss of a batch of credits.

    Args:
        logps: Log-probabilities after the autonomous prompt, `(batch, seq)`.
        said: 1 for a token, 0 for padding, `(batch, seq)`.
        num_completions: Completions of the update, credited or not.
    """
    # The mean over tokens, so that a long completion weighs no more than a short one.
    return -((logps * said).sum(1) / said.sum(1)).sum() / num_completions


class Transfer:
    """The credits of one generation, split over its micro-batches; each adds its loss to one.

    Every process makes the same number of forward passes, with or without credits, since sharded
    models need that.
    """

    def __init__(
        self,
        weight: float,
        *,
        read: Callable[[list[int]], str],
        encode: Callable[[str], list[int]],
        num_parts: int,
        num_completions: int,
    ) -> None:
        """Set up the loss.

        Args:
            weight: Weight of the loss beside TRL's.
            read: Turns token ids into text.
            encode: Returns the token ids of a problem's autonomous prompt.
            num_parts: Micro-batches of one generation.
            num_completions: Completions of one update, of this process.
        """
        self.weight = weight
        self.read, self.encode = read, encode
        self.num_parts, self.num_completions = num_parts, num_completions
        self.credits: list[Credit] = []
        self._batches: Iterator[list[Credit]] = iter(())

    def collect(self, rollouts: Sequence[tuple[str, Graded, list[int]]]) -> dict[str, float]:
        """Find the credits of one generation, at most one a problem; return figures to log.

        All processes call it, each with its own rollouts, and return the same figures.

        Args:
            rollouts: (problem id, graded completion, its token ids).
        """
        found: dict[str, Credit] = {}
        for problem_id, graded, completion in rollouts:
            # One credit a problem: several would weigh an easy problem more than a hard one.
            if problem_id not in found and can_be_credited(graded):
                credit = self._make_credit(problem_id, completion)
                if credit is not None:
                    found[problem_id] = credit
        # A list in a list per process, since the lists of the processes are joined.
        found_by_process = gather_object([list(found)])
        num_rollouts = sum(gather_object([len(rollouts)]))
        # What a process before this one credits too is left to that one.
        for problem_id in chain.from_iterable(found_by_process[: get_rank()]):
            found.pop(problem_id, None)
        self.credits = list(found.values())
        # Dealt out in turn, so that no micro-batch has more than one above another.
        batches = [self.credits[part :: self.num_parts] for part in range(self.num_parts)]
        # With several updates per generation each micro-batch comes round again.
        self._batches = cycle(batches)
        num_credits = len(set(chain.from_iterable(found_by_process)))
        return {"transfer_share": num_credits / num_rollouts}

    def next_loss(self, model: Any, device: Any) -> Tensor:
        """Return the weighted loss of the next micro-batch."""
        batch = next(self._batches)
        logps, said = measure_token_logps(model, batch or [_NOTHING], device)
        weight = self.weight if batch else 0.0
        return weight * transfer_loss(logps, said, self.num_completions)

    def _make_credit(self, problem_id: str, completion: list[int]) -> Credit | None:
        """Return the credit of one success; `None` if no token begins with its reasoning."""
        start = find_reasoning_start(completion, self.read)
        if start is None:
            return None
        return Credit(prompt=self.encode(problem_id), completion=completion[start:])
