"""How a model gets to shared attention: through Transformers' attention interface.

`install` gives its config an implementation that hands calls with a `shared_prefix` keyword to the object under that keyword and
all others to the implementation that the model had; it stays, since a checkpointed layer runs again in the backward pass.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from realm.prefix.attention import Attention
from realm.prefix.kernels import Rules
from realm.prefix.last_layer import shorten_last_layer
from realm.prefix.support import Unshareable

_NAME = "shared_prefix_"
_HARMLESS = {
    "position_ids",
    "use_cache",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "return_dict",
}
"""What Transformers passes down to an attention function that does not change what attention computes."""


def install(model: PreTrainedModel) -> None:
    """Let the model serve calls with a `shared_prefix` keyword, and quickly; once is enough."""
    before = model.config._attn_implementation
    if before.startswith(_NAME):
        return
    if _NAME + before not in ALL_ATTENTION_FUNCTIONS:
        AttentionInterface.register(_NAME + before, partial(_dispatch, before=before))
        AttentionMaskInterface.register(_NAME + before, ALL_MASK_ATTENTION_FUNCTIONS[before])
    model.config._attn_implementation = _NAME + before
    shorten_last_layer(model)


def run_backbone(
    model: PreTrainedModel, input_ids: Tensor, position_ids: Tensor, shared: Attention
) -> Tensor:
    """Return the last hidden states of a causal language model whose attention is `shared`."""
    no_mask = input_ids.new_zeros(
        (1, 1, 1, 1)
    )  # a mask of four dimensions is passed on as it is, so none is built
    return model.base_model(
        input_ids=input_ids,
        position_ids=position_ids,
        attention_mask=no_mask,
        use_cache=False,
        shared_prefix=shared,
    ).last_hidden_state


def _dispatch(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    before: str,
    shared_prefix: Attention | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    if shared_prefix is None:
        stock: Callable[..., tuple[Tensor, Tensor | None]] = ALL_ATTENTION_FUNCTIONS.get_interface(
            before, getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
        )
        return stock(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs
        )
    rules = Rules(
        scale=query.shape[-1] ** -0.5 if scaling is None else scaling,
        window=kwargs.pop("sliding_window", None),
        softcap=kwargs.pop("softcap", None),
    )
    if dropout:
        raise Unshareable(f"its attention drops out {dropout:.0%} of the weights in training")
    if kwargs.pop("is_causal", True) is False:
        raise Unshareable("its attention is not causal")
    if unknown := sorted(
        name for name, given in kwargs.items() if given is not None and name not in _HARMLESS
    ):
        raise Unshareable(f"its attention takes {unknown[0]}, which sharing does not know")
    rounded = (
        x.to(value.dtype) for x in (query, key)
    )  # under autocast rotary embeddings widen them, which SDPA undoes too
    return shared_prefix.attend(module, *rounded, value, rules), None
