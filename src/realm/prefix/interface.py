"""How a model gets to shared attention: through the attention interface of Transformers.

`install_shared_attention` registers one attention function per implementation (sdpa, eager, ...)
and gives its name to the model's config. A call of the model with a `shared_prefix` keyword goes
to the object under that keyword, all others to the implementation that the model had. The function
stays for good, since a layer under gradient checkpointing runs again in the backward pass.

Shape legend: N tokens of a row, D size of the hidden states.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from realm.prefix.kernels import Rules
from realm.prefix.support import PrefixSharingError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from realm.prefix.attention import SharedAttention

_NAME = "shared_prefix_"
# Arguments that models pass on to attention and that do not change what it computes.
_HARMLESS = {
    "position_ids", "use_cache", "output_attentions", "output_hidden_states",
    "output_router_logits", "return_dict",
}  # fmt: skip


def install_shared_attention(model: PreTrainedModel) -> None:
    """Let the model take calls with a `shared_prefix` keyword. Does nothing the second time."""
    before = model.config._attn_implementation
    if before.startswith(_NAME):
        return
    if _NAME + before not in ALL_ATTENTION_FUNCTIONS:
        AttentionInterface.register(_NAME + before, partial(_dispatch, before=before))
        # Else Transformers makes no mask for this name, and other calls would see padding.
        AttentionMaskInterface.register(_NAME + before, ALL_MASK_ATTENTION_FUNCTIONS[before])
    model.config._attn_implementation = _NAME + before


def run_backbone(
    model: PreTrainedModel, input_ids: Tensor, position_ids: Tensor, shared: SharedAttention
) -> Tensor:
    """Return the last hidden states (batch, N, D) with `shared` as the model's attention."""
    # Transformers passes a mask of four dimensions on as it is, so it builds none of its own.
    unused_mask = input_ids.new_zeros((1, 1, 1, 1))
    return model.base_model(
        input_ids=input_ids,
        position_ids=position_ids,
        attention_mask=unused_mask,
        use_cache=False,
        shared_prefix=shared,
    ).last_hidden_state


def _dispatch(  # noqa: PLR0913 (Transformers' signature)
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    before: str,
    shared_prefix: SharedAttention | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    if shared_prefix is None:
        # "eager" is no entry of the table but a function of each model's own module.
        eager: Any = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
        stock = ALL_ATTENTION_FUNCTIONS.get_interface(before, eager)
        kwargs |= {"scaling": scaling, "dropout": dropout}
        return stock(module, query, key, value, attention_mask, **kwargs)
    rules = Rules(
        scale=query.shape[-1] ** -0.5 if scaling is None else scaling,
        window=kwargs.pop("sliding_window", None),
        softcap=kwargs.pop("softcap", None),
    )
    if dropout:
        raise PrefixSharingError(f"its attention drops out {dropout:.0%} of the weights")
    if kwargs.pop("is_causal", True) is False:
        raise PrefixSharingError("its attention is not causal")
    # What a model passes beside the known may change the result, so it is refused and not dropped.
    given = {name for name, argument in kwargs.items() if argument is not None}
    if unknown := sorted(given - _HARMLESS):
        raise PrefixSharingError(f"sharing does not support the attention argument {unknown[0]}")
    # Under autocast rotary embeddings return float32; SDPA would round them back as well.
    query, key = query.to(value.dtype), key.to(value.dtype)
    # Sharing chooses its own precision: autocast would compute scores in half precision.
    with torch.autocast(query.device.type, enabled=False):
        return shared_prefix.attend(module, query, key, value, rules), None
