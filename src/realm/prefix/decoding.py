"""Attention of one decoding step: each prompt's keys and values are stored once for its rows.

The new token of each row sees its prompt and its own completion so far. The prompt's part is one
product for all rows of a prompt (Hydragen, arXiv 2402.05099), as in `attention`; where prompts have
unequal numbers of rows, empty slots fill up the smaller groups. Completions of a prompt are one row
for as long as they are the same.

Shape legend:
    B  rows, that is, different beginnings of completions that are still running
    G  prompts with running rows
    M  rows of the prompt that has most
    P  tokens of the longest prompt
    T  tokens of the completions so far, the new one included
    H  query heads
    K  key heads
    R  query heads per key head, H / K
    D  size of a head
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from realm.prefix.attention import PackedAttention
from realm.prefix.kernels import Rules, attend_visible, merge

if TYPE_CHECKING:
    from realm.prefix.layout import Layout

_FIRST_ROOM = 64
"""Tokens for which a completion's keys and values have room at first. Full room is doubled."""
_COMPACT_BELOW = 0.8
"""Rows that have ended leave the batch when at most this share of it goes on: leaving copies."""


class PromptCache(PackedAttention):
    """Keys and values (G, K, P, D) of each layer, stored while the prompts are encoded."""

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
        self.lengths = torch.tensor(lengths, device=device)
        self.max_length = max(lengths)
        self.layers: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def start_pass(self, first: int, layout: Layout) -> None:
        """Expect the packed row of the prompts from number `first` on."""
        self._first = first
        self.layout = layout

    def attend(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, rules: Rules
    ) -> Tensor:
        """Store keys and values, and return the attention of the prompts over themselves."""
        if module not in self.layers:
            shape = (len(self.lengths), key.shape[1], self.max_length)
            self.layers[module] = (
                key.new_zeros(*shape, key.shape[-1]),
                value.new_zeros(*shape, value.shape[-1]),
            )
        for number, group in enumerate(self.layout.groups, self._first):
            for store, new in zip(self.layers[module], (key, value), strict=True):
                store[number, :, : group.prompt_length] = new[0, :, group.prompt]
        return super().attend(module, query, key, value, rules)

    def find_padding(self) -> Tensor | None:
        """Return (G, 1, 1, P), true where a prompt has ended; `None` where all are as long."""
        places = torch.arange(self.max_length, device=self.lengths.device)
        padding = places >= self.lengths[:, None]
        return padding[:, None, None] if padding.any() else None

    def keep_prompts(self, numbers: Tensor) -> None:
        """Drop all prompts but the given ones."""
        self.lengths = self.lengths[numbers]
        self.layers = {
            module: (keys[numbers], values[numbers])
            for module, (keys, values) in self.layers.items()
        }


class DecodingAttention:
    """The running rows and the attention of their next token.

    Attributes:
        positions: (B, 1) of the next token in its sequence of prompt and completion.
    """

    def __init__(self, prompts: PromptCache, max_rows: int) -> None:
        """Start one row of each prompt; there will never be more than `max_rows`."""
        self.prompts = prompts
        self.max_rows = max_rows
        self.positions = prompts.lengths[:, None].clone()
        self._num_before = 0
        self._own: dict[nn.Module, tuple[Tensor, Tensor]] = {}
        self._prompt_of_row = torch.arange(len(prompts.lengths), device=prompts.lengths.device)
        self._assign_slots()

    def advance(self) -> None:
        """Go on to the next token."""
        self._num_before += 1
        self.positions += 1

    def branch_rows(self, sources: Tensor) -> Tensor:
        """Continue each row as often as `sources` (ascending row numbers) has it.

        The first continuation of a row stays in it. The others get copies of it, in the place of
        rows that do not go on or behind all rows.

        Returns:
            The row of each continuation.
        """
        places = sources.clone()
        is_copy = torch.zeros_like(sources, dtype=torch.bool)
        is_copy[1:] = sources[1:] == sources[:-1]
        if num_copies := int(is_copy.sum()):
            num_rows = len(self.positions)
            has_ended = torch.ones(num_rows, dtype=torch.bool, device=sources.device)
            has_ended[sources] = False
            behind = torch.arange(num_rows, num_rows + num_copies, device=sources.device)
            places[is_copy] = torch.cat([has_ended.nonzero().flatten(), behind])[:num_copies]
            self._copy_rows(sources[is_copy], places[is_copy])
        if len(places) > _COMPACT_BELOW * len(self.positions):
            return places
        self._keep_rows(places)
        return torch.arange(len(places), device=places.device)

    def _copy_rows(self, rows: Tensor, places: Tensor) -> None:
        num_rows, num_tokens = max(len(self.positions), int(places.max()) + 1), self._num_before
        self.positions = _put_copies(self.positions, rows, places, num_rows)
        self._prompt_of_row = _put_copies(self._prompt_of_row, rows, places, num_rows)
        for module, (keys, values) in self._own.items():
            room = len(keys)
            if num_rows > room:
                room = min(max(num_rows, 2 * room), self.max_rows)
            keys, values = _make_room(keys, room), _make_room(values, room)
            keys[places, :, :num_tokens] = keys[rows, :, :num_tokens]
            values[places, :, :num_tokens] = values[rows, :, :num_tokens]
            self._own[module] = keys, values
        self._assign_slots()

    def _keep_rows(self, rows: Tensor) -> None:
        """Drop all rows but the given ones, and the prompts that have none left."""
        left, self._prompt_of_row = self._prompt_of_row[rows].unique(return_inverse=True)
        if len(left) < len(self.prompts.lengths):
            self.prompts.keep_prompts(left)
        self.positions = self.positions[rows]
        self._own = {
            module: (keys[rows], values[rows]) for module, (keys, values) in self._own.items()
        }
        self._assign_slots()

    def attend(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, rules: Rules
    ) -> Tensor:
        """Return (B, 1, H, D) from query (B, H, 1, D), key and value (B, K, 1, D) of new tokens."""
        keys, values = self._append(module, key, value)
        own_query = query.squeeze(2).unflatten(1, (keys.shape[1], -1))  # (B, K, R, D)
        own = attend_visible(own_query, keys, values, rules, self._find_hidden_own(rules))
        prompt_keys, prompt_values = self.prompts.layers[module]
        hidden = self._find_hidden_prompt(rules)
        found = attend_visible(self._fold(own_query), prompt_keys, prompt_values, rules, hidden)
        output, _ = merge(*own, *(self._unfold(x, own_query.shape[2]) for x in found))
        return output.flatten(1, 2)[:, None]

    def _assign_slots(self) -> None:
        """Give each row a slot of a (G, M) table, prompt by prompt."""
        # A prompt may have no row: its last one has ended and was overwritten by a copy of another.
        counts = torch.bincount(self._prompt_of_row, minlength=len(self.prompts.lengths))
        self._shape = (len(counts), int(counts.max()))
        rows = torch.arange(len(self.positions), device=counts.device)
        by_prompt = self._prompt_of_row.argsort(stable=True)
        # cumsum - counts is the place of each prompt's first row in `by_prompt`.
        first = (counts.cumsum(0) - counts)[self._prompt_of_row[by_prompt]]
        rank_in_group = torch.empty_like(rows).index_copy_(0, by_prompt, rows - first)
        self._slot_of_row = self._prompt_of_row * self._shape[1] + rank_in_group
        # Empty slots hold row 0. Nobody reads what they give.
        num_slots = self._shape[0] * self._shape[1]
        self._row_of_slot = rows.new_zeros(num_slots).index_copy_(0, self._slot_of_row, rows)
        self._padding = self.prompts.find_padding()

    def _append(self, module: nn.Module, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new keys and values of a layer, and return its own ones (B, K, T, D)."""
        place, num_rows = self._num_before, len(key)
        room = self._own.get(module, (key[:, :, :0], value[:, :, :0]))
        if room[0].shape[2] == place:
            # `pad` counts from the last dimension: no column of D, but `more` tokens at the end.
            more = max(_FIRST_ROOM, place)
            room = pad(room[0], (0, 0, 0, more)), pad(room[1], (0, 0, 0, more))
            self._own[module] = room
        room[0][:num_rows, :, place] = key[:, :, 0]
        room[1][:num_rows, :, place] = value[:, :, 0]
        return room[0][:num_rows, :, : place + 1], room[1][:num_rows, :, : place + 1]

    def _fold(self, own_query: Tensor) -> Tensor:
        """Return (B, K, R, D) as (G, K, M * R, D): all queries of a prompt in one sequence."""
        slots = own_query.index_select(0, self._row_of_slot)
        return slots.unflatten(0, self._shape).transpose(1, 2).flatten(2, 3)

    def _unfold(self, folded: Tensor, repeats: int) -> Tensor:
        """Return (G, K, M * R, ...) as (B, K, R, ...)."""
        slots = folded.unflatten(2, (-1, repeats)).transpose(1, 2).flatten(0, 1)
        return slots.index_select(0, self._slot_of_row)

    def _find_hidden_prompt(self, rules: Rules) -> Tensor | None:
        """Return (G, 1, 1, P), true where a prompt has ended or is out of the window."""
        if rules.window is None or rules.window > self.prompts.max_length + self._num_before:
            return self._padding
        lengths = self.prompts.lengths[:, None, None, None]
        places = torch.arange(self.prompts.max_length, device=lengths.device)
        is_past = lengths + self._num_before - places >= rules.window
        return is_past if self._padding is None else is_past | self._padding

    def _find_hidden_own(self, rules: Rules) -> Tensor | None:
        """Return (T,), true where a completion's own token is out of the window."""
        if rules.window is None or self._num_before < rules.window:
            return None
        places = torch.arange(self._num_before + 1, device=self.positions.device)
        return self._num_before - places >= rules.window


def _make_room(values: Tensor, size: int) -> Tensor:
    """Return `values` with at least `size` rows; what the new ones hold means nothing."""
    more = size - len(values)
    return torch.cat([values, values.new_empty(more, *values.shape[1:])]) if more > 0 else values


def _put_copies(values: Tensor, rows: Tensor, places: Tensor, size: int) -> Tensor:
    """Return `values` with `size` rows, and copies of `rows` in the given places."""
    values = _make_room(values, size)
    return values.index_copy(0, places, values[rows])
