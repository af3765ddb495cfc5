"""The packed row: the tokens of a batch in one row, each prompt once and without padding.

    [prompt 1 | prompt 2 | ... | completions of prompt 1 | completions of prompt 2 | ...]

All layers but attention compute each token by itself. So one row of P + G C tokens per prompt
gives them the same results as G rows of P + C tokens (Prefix Grouper, arXiv 2506.05433).

Shape legend:
    P  tokens of a prompt
    C  tokens of a completion
    G  completions per prompt
    N  tokens of the packed row; the last token of a completion predicts nothing and stays out
    M  completion tokens whose log-probability is read, those of all completions together
    S  segments of a bucket; a segment is one prompt or one completion
    W  tokens of the longest segment of a bucket
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

_SMALLEST_WIDTH = 16
"""Shorter segments share a bucket: a kernel call costs more than padding of this size."""


@dataclass(frozen=True)
class Group:
    """The places of one prompt and of all its completions in the packed row."""

    prompt: slice
    completions: slice

    @property
    def prompt_length(self) -> int:
        return self.prompt.stop - self.prompt.start


@dataclass(frozen=True)
class Bucket:
    """Segments of similar length, which attend to themselves as one padded batch.

    Attributes:
        tokens: (S * W,) place in the packed row of the token in each slot. A padding slot holds
            the first token of its segment: it comes after all real tokens, which are causal and
            never look at it.
        is_real: (S, W) whether a slot is no padding.
    """

    tokens: Tensor
    is_real: Tensor

    @property
    def width(self) -> int:
        return self.is_real.shape[1]

    @cached_property
    def _real_slots(self) -> Tensor:
        return self.is_real.flatten().nonzero().flatten()

    def take(self, packed: Tensor) -> Tensor:
        """Return (N, heads, ...) of the packed row as the batch (S, heads, W, ...)."""
        return packed.index_select(0, self.tokens).unflatten(0, self.is_real.shape).transpose(1, 2)

    def take_gradients(self, packed: Tensor) -> Tensor:
        """Return (N, heads, D) as (S, heads, W, D), zero in padding: those outputs are unused."""
        return self.take(packed).masked_fill(~self.is_real[:, None, :, None], 0)

    def put(self, packed: Tensor, batch: Tensor) -> None:
        """Write the real slots of a batch (S, heads, W, ...) to the packed row (N, heads, ...)."""
        slots = batch.transpose(1, 2).flatten(0, 1)
        places = self.tokens.index_select(0, self._real_slots)
        packed.index_copy_(0, places, slots.index_select(0, self._real_slots))


@dataclass(frozen=True)
class Layout:
    """A packed row and which of its tokens belong together.

    For the prompts [7, 8, 9] and [5, 6] with the completions [1, 2], [3] and [4, 4, 4], [2]:

        input_ids     7 8 9 | 5 6 | 1 | 4 4
        position_ids  0 1 2 | 0 1 | 3 | 2 3
        labels        1 2 3 4 4 4 2              the completions, one after the other
        reads         2 5 2 4 6 7 4              the place whose output predicts each label

    Attributes:
        input_ids: (1, N)
        position_ids: (1, N) places in a sequence of prompt and completion.
        reads: (M,)
        labels: (M,)
        lengths: tokens of each completion.
    """

    input_ids: Tensor
    position_ids: Tensor
    groups: tuple[Group, ...]
    buckets: tuple[Bucket, ...]
    reads: Tensor
    labels: Tensor
    lengths: tuple[int, ...]

    @cached_property
    def max_distance(self) -> int:
        """Return the largest distance between tokens that may see each other, plus one."""
        return int(self.position_ids.max()) + 1

    def pad_completions(self, values: Tensor, width: int) -> Tensor:
        """Return (M,) values as (completions, width), zero after the end of a completion."""
        # A row of each completion, all as long as the longest, then as wide as asked for.
        rows = pad_sequence(values.split(self.lengths), batch_first=True)
        return pad(rows, (0, width - rows.shape[1]))


def pack_groups(
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[Sequence[int]]],
    device: torch.device | str,
) -> Layout:
    """Return the packed row of prompts, each of at least one token, and their completions."""
    ids: list[int] = []
    positions: list[int] = []
    segments: list[range] = []

    def append_segment(tokens: Sequence[int], first_position: int) -> range:
        segments.append(range(len(ids), len(ids) + len(tokens)))
        ids.extend(tokens)
        positions.extend(range(first_position, first_position + len(tokens)))
        return segments[-1]

    places = [append_segment(prompt, 0) for prompt in prompts]
    groups: list[Group] = []
    reads: list[int] = []
    labels: list[int] = []
    for prompt, answers in zip(places, completions, strict=True):
        start = len(ids)
        for answer in answers:
            fed = append_segment(answer[:-1], len(prompt))
            labels += answer
            # The first token is predicted by the prompt's last one, each other by the one before.
            reads += [prompt[-1], *fed][: len(answer)]
        groups.append(Group(slice(prompt.start, prompt.stop), slice(start, len(ids))))
    return Layout(
        input_ids=torch.tensor([ids], device=device),
        position_ids=torch.tensor([positions], device=device),
        groups=tuple(groups),
        buckets=tuple(_make_buckets(segments, device)),
        reads=torch.tensor(reads, dtype=torch.long, device=device),
        labels=torch.tensor(labels, dtype=torch.long, device=device),
        lengths=tuple(len(answer) for answers in completions for answer in answers),
    )


def _make_buckets(segments: Sequence[range], device: torch.device | str) -> Iterable[Bucket]:
    """Yield the buckets of segments, sorted by length so that at most a quarter is padding."""
    members: dict[int, list[range]] = {}
    # A completion of one token feeds nothing, so its segment is empty.
    for segment in filter(len, segments):
        # Lengths from 2^k to 2^(k+1) make up to four buckets.
        step = max(_SMALLEST_WIDTH, (1 << (len(segment).bit_length() - 1)) // 4)
        members.setdefault(math.ceil(len(segment) / step) * step, []).append(segment)
    for bucket in members.values():
        starts = torch.tensor([segment.start for segment in bucket])[:, None]
        lengths = torch.tensor([len(segment) for segment in bucket])[:, None]
        offsets = torch.arange(int(lengths.max()))
        is_real = offsets < lengths
        tokens = starts + offsets * is_real  # offset 0 in padding: the segment's first token
        yield Bucket(tokens.flatten().to(device), is_real.to(device))
