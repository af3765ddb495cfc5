"""Attention of one decoding step: each prompt's keys and values are stored once for its rows.

The new token of each row sees its prompt and its own completion so far. The prompt's part is one
product for all rows of a prompt (Hydragen, arXiv 2402.05099), as in `attention`. Rows stand prompt
by prompt; where prompts have unequal numbers of rows, empty slots fill up the smaller groups.

Shape legend:
    B  rows, that is, completions that are still running
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

    def __init__(self, prompts: PromptCache, counts: Tensor) -> None:
        """Start `counts[g]` completions of each prompt g."""
        self.prompts = prompts
        self._num_before = 0
        self._own: dict[nn.Module, tuple[Tensor, Tensor]] = {}
        self.positions = prompts.lengths.repeat_interleave(counts)[:, None]
        self._assign_slots(counts)

    def advance(self) -> None:
        """Go on to the next token."""
        self._num_before += 1
        self.positions += 1

    def keep_rows(self, rows: Tensor) -> None:
        """Drop all rows but the given ones, and the prompts that have none left."""
        counts = torch.bincount(self._prompt_of_row[rows], minlength=len(self.prompts.lengths))
        left = counts.nonzero().flatten()
        if len(left) < len(counts):
            self.prompts.keep_prompts(left)
        self.positions = self.positions[rows]
        self._own = {
            module: (keys[rows], values[rows]) for module, (keys, values) in self._own.items()
        }
        self._assign_slots(counts[left])

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

    def _assign_slots(self, counts: Tensor) -> None:
        """Give each row a slot of a (G, M) table, prompt by prompt."""
        self._shape = (len(counts), int(counts.max()))
        rows = torch.arange(int(counts.sum()), device=counts.device)
        prompts = torch.arange(len(counts), device=counts.device)
        self._prompt_of_row = prompts.repeat_interleave(counts)
        # cumsum - counts is the number of each prompt's first row.
        rank_in_group = rows - (counts.cumsum(0) - counts)[self._prompt_of_row]
        self._slot_of_row = self._prompt_of_row * self._shape[1] + rank_in_group
        # Empty slots hold row 0. Nobody reads what they give.
        num_slots = self._shape[0] * self._shape[1]
        self._row_of_slot = rows.new_zeros(num_slots).index_copy_(0, self._slot_of_row, rows)
        self._padding = self.prompts.find_padding()

    def _append(self, module: nn.Module, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new keys and values of a layer, and return its own ones (B, K, T, D)."""
        place = self._num_before
        room = self._own.get(module, (key[:, :, :0], value[:, :, :0]))
        if room[0].shape[2] == place:
            # `pad` counts from the last dimension: no column of D, but `more` tokens at the end.
            more = max(_FIRST_ROOM, place)
            room = pad(room[0], (0, 0, 0, more)), pad(room[1], (0, 0, 0, more))
            self._own[module] = room
        room[0][:, :, place] = key[:, :, 0]
        room[1][:, :, place] = value[:, :, 0]
        return room[0][:, :, : place + 1], room[1][:, :, : place + 1]

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
