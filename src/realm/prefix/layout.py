"""Which tokens of a packed row are whose: the prefixes of all groups, then the completions of each, nothing twice, no padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Group:
    """Where one group lies in the packed row: its prefix, and the tokens of its completions one after the other."""

    prefix: slice
    own: slice

    @property
    def prefix_length(self) -> int:
        return self.prefix.stop - self.prefix.start


@dataclass(frozen=True)
class Bucket:
    """Completions of similar length, which attend to themselves in one batch of `rows` x `width` slots.

    `gather` holds the token that fills each slot and is `None` where the tokens from `start` on fill them in order;
    `kept` holds the slots that are no padding and `tokens` the token in each of those.
    """

    rows: int
    width: int
    start: int = 0
    gather: Tensor | None = None
    kept: Tensor | None = None
    tokens: Tensor | None = None

    def take(self, packed: Tensor) -> Tensor:
        """Return [heads, tokens, ...] of the packed row as [rows, heads, width, ...]."""
        if self.gather is None:
            slots = packed[:, self.start : self.start + self.rows * self.width]
        else:
            slots = packed.index_select(1, self.gather)
        return slots.unflatten(1, (self.rows, self.width)).transpose(0, 1)

    def moved(self, places: int) -> Bucket:
        """Return the bucket of a row in which its tokens stand so many places further left."""
        if not places or self.gather is None:
            return replace(self, start=self.start - places)
        return replace(self, gather=self.gather - places, tokens=self.tokens - places)

    def silence(self, values: Tensor) -> Tensor:
        """Return [rows, heads, width, ...] with zeros in the slots of padding."""
        if self.kept is None:
            return values
        real = torch.zeros(
            self.rows * self.width, dtype=torch.bool, device=values.device
        ).index_fill_(0, self.kept, True)
        return values.masked_fill(~real.view(self.rows, 1, self.width, 1), 0)

    def put(self, packed: Tensor, values: Tensor) -> None:
        """Write [rows, heads, width, ...] to where the tokens stand in the packed row [heads, tokens, ...]."""
        slots = values.transpose(0, 1)
        if self.tokens is None:
            packed[:, self.start : self.start + self.rows * self.width].unflatten(
                1, (self.rows, self.width)
            ).copy_(slots)
        else:
            packed.index_copy_(1, self.tokens, slots.flatten(1, 2).index_select(1, self.kept))


@dataclass(frozen=True)
class Layout:
    """The packed row of one pass: [prefix of every group | completions of group 1 | completions of group 2 | ...].

    A completion goes in without its last token, which predicts nothing. `reads[i]` is the position whose hidden state
    predicts completion token `labels[i]`; these run through the completions one after the other, `lengths` tokens each.
    """

    input_ids: Tensor
    position_ids: Tensor
    groups: tuple[Group, ...]
    buckets: tuple[Bucket, ...]
    reads: Tensor
    labels: Tensor
    lengths: tuple[int, ...]

    @property
    def own_start(self) -> int:
        """Return where the prefixes end and the completions begin."""
        return self.groups[-1].prefix.stop

    @cached_property
    def last(self) -> Tensor:
        """Return the tokens whose output in the last layer can be read: the last one of each prefix, then all completions."""
        ends = torch.tensor([group.prefix.stop - 1 for group in self.groups])
        return torch.cat([ends, torch.arange(self.own_start, self.input_ids.shape[1])]).to(
            self.input_ids.device
        )

    @cached_property
    def longest(self) -> int:
        """Return the largest distance between two tokens that may see each other, plus one."""
        return int(self.position_ids.max()) + 1

    def pad(self, values: Tensor, width: int) -> Tensor:
        """Return one value per completion token as [completions, width], zero where a completion has ended."""
        rows = torch.repeat_interleave(torch.arange(len(self.lengths)), torch.tensor(self.lengths))
        places = torch.cat([torch.arange(length) for length in self.lengths])
        slots = (rows * width + places).to(values.device)
        return (
            values.new_zeros(len(self.lengths) * width)
            .index_copy(0, slots, values)
            .view(len(self.lengths), width)
        )


def pack(
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[Sequence[int]]],
    device: torch.device | str,
) -> Layout:
    """Return the packed row of groups, each a prompt and its completions; a prompt has at least one token."""
    groups, ids, positions = [], [], []
    for prompt in prompts:
        groups.append(slice(len(ids), len(ids) + len(prompt)))
        ids += prompt
        positions += range(len(prompt))
    packed, reads, labels, owns = [], [], [], []
    for prefix, answers in zip(groups, completions, strict=True):
        begin, length = len(ids), prefix.stop - prefix.start
        for answer in answers:
            fed = max(0, len(answer) - 1)
            if answer:
                reads += [prefix.stop - 1, *range(len(ids), len(ids) + fed)]
            owns.append((len(ids), fed))
            labels += answer
            ids += answer[:fed]
            positions += range(length, length + fed)
        packed.append(Group(prefix=prefix, own=slice(begin, len(ids))))
    return Layout(
        input_ids=torch.tensor([ids], device=device),
        position_ids=torch.tensor([positions], device=device),
        groups=tuple(packed),
        buckets=_buckets([own for own in owns if own[1]], device),
        reads=torch.tensor(reads, dtype=torch.long, device=device),
        labels=torch.tensor(labels, dtype=torch.long, device=device),
        lengths=tuple(len(answer) for answers in completions for answer in answers),
    )


def _buckets(owns: list[tuple[int, int]], device: torch.device | str) -> tuple[Bucket, ...]:
    """Return the buckets of completions given as (start, length): all in one where they are equally long, else by doubling."""
    if not owns:
        return ()
    lengths = {length for _, length in owns}
    if len(lengths) == 1:
        return (Bucket(rows=len(owns), width=lengths.pop(), start=owns[0][0]),)
    found: dict[int, list[tuple[int, int]]] = {}
    for own in owns:
        found.setdefault(max(own[1] - 1, 15).bit_length(), []).append(own)
    return tuple(_bucket(members, device) for members in found.values())


def _bucket(members: list[tuple[int, int]], device: torch.device | str) -> Bucket:
    starts, lengths = torch.tensor(members).unbind(1)
    width = int(lengths.max())
    places = torch.arange(width).expand(len(members), -1)
    real = (places < lengths[:, None]).flatten()
    gather = torch.where(
        real, (starts[:, None] + places).flatten(), starts.repeat_interleave(width)
    )
    kept = real.nonzero().flatten()
    return Bucket(
        rows=len(members),
        width=width,
        gather=gather.to(device),
        kept=kept.to(device),
        tokens=gather[kept].to(device),
    )
