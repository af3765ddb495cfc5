"""The last layer of a packed pass: there a prefix needs only its keys and values, and the output of its last token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from realm.prefix.attention import Attention, PackedAttention
from realm.prefix.kernels import Rules


def shorten_last_layer(model: PreTrainedModel) -> None:
    """Let the last layer pass over what nobody reads, where the model's layers are one list; else it does all the work."""
    stacks = [part for part in model.base_model.children() if isinstance(part, nn.ModuleList)]
    if len(stacks) == 1 and len(stacks[0]) == model.config.num_hidden_layers:
        stacks[0][-1].register_forward_pre_hook(_shorten, with_kwargs=True)
        stacks[0][-1].register_forward_hook(_widen, with_kwargs=True)


class _Enough(Exception):
    """Ends a layer when its keys and values are there."""


class _KeysOnly:
    def attend(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, rules: Rules
    ) -> Tensor:
        self.found = key, value
        raise _Enough


class _Shortened:
    """Attention of the tokens that are read, over all: the prefixes' keys and values were computed before."""

    def __init__(self, shared: PackedAttention, prefix: tuple[Tensor, Tensor]) -> None:
        self.shared, self.prefix = shared, prefix

    def attend(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, rules: Rules
    ) -> Tensor:
        """Return [1, tokens that are read, heads, dim]."""
        ends = len(self.shared.layout.groups)
        keys, values = (
            torch.cat([old, new[:, :, ends:]], 2)
            for old, new in zip(self.prefix, (key, value), strict=True)
        )
        return self.shared.attend(module, query, keys, values, rules)


def _shorten(
    layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Compute the prefixes' keys and values, and let the layer itself run on the tokens that are read.

    Arguments of a shape that is not known here leave the layer as it is.
    """
    shared: Attention | None = kwargs.get("shared_prefix")
    if not isinstance(shared, PackedAttention):
        return None
    layout, keys = shared.layout, _KeysOnly()
    tokens = layout.input_ids.shape[1]
    if not all(_known(given, tokens) for given in (*args, *kwargs.values())):
        return None

    def narrowed(
        take: Callable[[Tensor], Tensor], attention: Attention
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        some = {name: _narrow(given, tokens, take) for name, given in kwargs.items()}
        return tuple(_narrow(given, tokens, take) for given in args), some | {
            "shared_prefix": attention
        }

    first_args, first_kwargs = narrowed(lambda x: x[:, : layout.own_start], keys)
    try:
        layer.forward(*first_args, **first_kwargs)
    except _Enough:
        return narrowed(lambda x: x.index_select(1, layout.last), _Shortened(shared, keys.found))
    raise AssertionError("a layer without attention")


def _widen(
    layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor
) -> Tensor | None:
    """Return the layer's output with zeros for the tokens that nobody reads."""
    shared = kwargs.get("shared_prefix")
    if not isinstance(shared, _Shortened):
        return None
    layout = shared.shared.layout
    return output.new_zeros(1, layout.input_ids.shape[1], output.shape[-1]).index_copy(
        1, layout.last, output
    )


def _known(given: Any, tokens: int) -> bool:
    if isinstance(given, tuple):
        return all(_known(part, tokens) for part in given)
    return not isinstance(given, Tensor) or given.numel() == 1 or given.shape[:2] == (1, tokens)


def _narrow(given: Any, tokens: int, take: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(given, tuple):
        return tuple(_narrow(part, tokens, take) for part in given)
    return take(given) if isinstance(given, Tensor) and given.shape[:2] == (1, tokens) else given
