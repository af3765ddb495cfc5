"""Attention of a decoding step: the keys and values of each prompt, stored once, and those of each completion so far."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from realm.prefix.attention import PackedAttention
from realm.prefix.kernels import Rules, attend_all, go_on
from realm.prefix.layout import Layout

_FIRST_ROOM = 64
"""Tokens that a completion's buffer holds at first; it doubles when full."""


class Prefixes(PackedAttention):
    """Keys and values of all prompts by layer, [groups, heads, longest, dim], filled while the prompts are encoded."""

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
        self.lengths = torch.tensor(lengths, device=device)
        self.longest, self.even = max(lengths), len(set(lengths)) == 1
        self.layers: dict[torch.nn.Module, tuple[Tensor, Tensor]] = {}

    def expect(self, first: int, layout: Layout) -> None:
        """Take the next pass for the packed row of the prompts from number `first` on."""
        self._first, self.layout = first, layout

    def attend(
        self, module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, rules: Rules
    ) -> Tensor:
        """Store keys and values, and return the attention of the prompts over themselves."""
        if module not in self.layers:
            self.layers[module] = tuple(
                x.new_zeros(len(self.lengths), x.shape[1], self.longest, x.shape[-1])
                for x in (key, value)
            )
        for number, group in enumerate(self.layout.groups, self._first):
            for store, new in zip(self.layers[module], (key, value), strict=True):
                store[number, :, : group.prefix_length] = new[0, :, group.prefix]
        return super().attend(module, query, key, value, rules)

    def keep(self, groups: Tensor) -> None:
        """Drop the groups that are not named."""
        self.lengths = self.lengths[groups]
        self.layers = {
            module: (keys[groups], values[groups]) for module, (keys, values) in self.layers.items()
        }


class Decoding:
    """The rows that still run, group after group, and the attention of their next token."""

    def __init__(self, prefixes: Prefixes, counts: Tensor) -> None:
        self.prefixes, self.step, self._room = prefixes, 0, _FIRST_ROOM
        self._own: dict[torch.nn.Module, tuple[Tensor, Tensor]] = {}
        self._group(counts)
        self.positions = prefixes.lengths.repeat_interleave(counts)[:, None]

    def advance(self) -> None:
        """Go on to the next token."""
        self.step += 1
        self.positions += 1
        self._biases = {window: bias for window, bias in self._biases.items() if window is None}

    def keep(self, rows: Tensor) -> None:
        """Drop the rows that are not named, and the prompts of groups that have none left."""
        counts = torch.bincount(self._group_of[rows], minlength=len(self.prefixes.lengths))
        if len(left := counts.nonzero().flatten()) < len(counts):
            self.prefixes.keep(left)
            counts = counts[left]
        self.positions = self.positions[rows]
        self._own = {
            module: (keys[rows], values[rows]) for module, (keys, values) in self._own.items()
        }
        self._group(counts)

    def attend(
        self, module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, rules: Rules
    ) -> Tensor:
        """Return [rows, 1, heads, dim] for one new token of each row."""
        keys, values = self._write(module, key, value)
        repeats = query.shape[1] // key.shape[1]
        own = query.squeeze(2).unflatten(1, (-1, repeats))
        prefix_keys, prefix_values = self.prefixes.layers[module]
        found, sums = attend_all(
            self._fold(own),
            prefix_keys,
            prefix_values,
            rules,
            self._prefix_bias(rules, prefix_keys),
        )
        found, sums = self._unfold(found, repeats), self._unfold(sums, repeats)
        out = go_on(own, keys, values, rules, self._own_bias(rules, keys), found, sums)
        return out.flatten(1, 2)[:, None]

    def _group(self, counts: Tensor) -> None:
        """Note which group each row is of, and where rows stand when each group is filled up to the largest."""
        self._biases: dict[int | None, Tensor | None] = {}
        most = int(counts.max())
        self._shape = (len(counts), most)
        self._group_of = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
        if bool((counts == most).all()):
            self._slots = None
            return
        firsts = counts.cumsum(0) - counts
        within = torch.arange(len(self._group_of), device=counts.device) - firsts[self._group_of]
        self._slots = self._group_of * most + within
        self._fill = torch.zeros(len(counts) * most, dtype=torch.long, device=counts.device)
        self._fill[self._slots] = torch.arange(len(self._group_of), device=counts.device)

    def _write(self, module: torch.nn.Module, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Append the new keys and values of a layer, and return all of its own ones."""
        held = self._own.get(module)
        if held is None or held[0].shape[2] == self.step:
            room = max(_FIRST_ROOM, 2 * self.step)
            grown = tuple(
                x.new_empty(x.shape[0], x.shape[1], room, x.shape[-1]) for x in (key, value)
            )
            for new, old in zip(grown, held or (), strict=False):
                new[:, :, : self.step] = old
            self._own[module] = held = grown
        for store, new in zip(held, (key, value), strict=True):
            store[:, :, self.step] = new[:, :, 0]
        return tuple(store[:, :, : self.step + 1] for store in held)

    def _fold(self, own: Tensor) -> Tensor:
        """Return [rows, key heads, repeats, dim] as [groups, key heads, rows of a group x repeats, dim]."""
        filled = own if self._slots is None else own.index_select(0, self._fill)
        return filled.unflatten(0, self._shape).transpose(1, 2).flatten(2, 3)

    def _unfold(self, found: Tensor, repeats: int) -> Tensor:
        rows = found.unflatten(2, (self._shape[1], repeats)).transpose(1, 2).flatten(0, 1)
        return rows if self._slots is None else rows.index_select(0, self._slots)

    def _prefix_bias(self, rules: Rules, keys: Tensor) -> Tensor | None:
        """Return minus infinity for the tokens of the padded prompts that the new token does not see, [groups, 1, 1, longest]."""
        if rules.window not in self._biases:
            places, lengths = (
                torch.arange(self.prefixes.longest, device=keys.device),
                self.prefixes.lengths[:, None],
            )
            hidden = None if self.prefixes.even else places >= lengths
            if rules.window is not None and rules.window <= self.prefixes.longest + self.step:
                past = lengths + self.step - places >= rules.window
                hidden = past if hidden is None else hidden | past
            self._biases[rules.window] = (
                None if hidden is None else _bias(hidden[:, None, None], keys)
            )
        return self._biases[rules.window]

    def _own_bias(self, rules: Rules, keys: Tensor) -> Tensor | None:
        if rules.window is None or self.step < rules.window:
            return None
        return _bias(
            torch.arange(self.step + 1, device=keys.device) <= self.step - rules.window, keys
        )


def _bias(hidden: Tensor, keys: Tensor) -> Tensor:
    return torch.zeros(hidden.shape, dtype=keys.dtype, device=keys.device).masked_fill_(
        hidden, -torch.inf
    )
