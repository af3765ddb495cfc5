"""Which models and generation settings can share a prefix, and the reason where they cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import PreTrainedModel

if TYPE_CHECKING:
    from torch import nn
    from transformers import GenerationConfig

_LAYER_TYPES = {"full_attention", "sliding_attention"}
_LOGIT_SCALES = ("logit_scale", "output_multiplier", "lm_head_multiplier", "logits_scaling")
"""Factors by which the heads of some architectures (Cohere, Falcon H1, Granite) scale logits."""
_KNOWN_SETTINGS = {
    # What the sampler applies.
    "max_new_tokens", "do_sample", "temperature", "top_k", "top_p", "min_p", "eos_token_id",
    # What does not change which tokens are drawn.
    "pad_token_id", "bos_token_id", "disable_compile", "use_cache", "transformers_version",
    "max_length", "_from_model_config",
}  # fmt: skip
_NEUTRAL_SETTINGS = {"repetition_penalty": 1.0, "num_beams": 1, "num_return_sequences": 1}


class PrefixSharingError(Exception):
    """The reason why the prompts of a model cannot be encoded once."""


def find_causal_lm(model: Any) -> PreTrainedModel:
    """Return the causal language model inside wrappers: adapters, processes, `torch.compile`."""
    while not isinstance(model, PreTrainedModel):
        # First, because a compiled module has the attributes of the one inside.
        inner = getattr(model, "_orig_mod", None) or getattr(model, "module", None)
        if inner is None and hasattr(model, "peft_config"):
            inner = model.get_base_model()
        if inner is None:
            raise PrefixSharingError(f"{type(model).__name__} is not a model of Transformers")
        model = inner
    return model


def require_shareable_model(model: nn.Module) -> PreTrainedModel:
    """Return the causal language model inside `model`.

    Raises:
        PrefixSharingError: its prompts cannot be shared.
    """
    for adapter in getattr(model, "peft_config", {}).values():
        if adapter.is_prompt_learning:
            raise PrefixSharingError(
                f"the adapter ({adapter.peft_type}) puts tokens of its own before the prompt"
            )
    inner = find_causal_lm(model)
    if reason := _find_obstacle(inner):
        raise PrefixSharingError(reason)
    return inner


def require_known_settings(settings: GenerationConfig) -> None:
    """Raise `PrefixSharingError` for settings beyond temperature, top-k, top-p and min-p."""
    # Only what differs from the defaults: so a setting of a later version is noticed as well.
    for name, value in sorted(settings.to_diff_dict().items()):
        is_neutral = value is None or value == _NEUTRAL_SETTINGS.get(name)
        if name not in _KNOWN_SETTINGS and not is_neutral:
            raise PrefixSharingError(
                f"shared rollouts do not support the generation setting {name} = {value!r}"
            )
    if settings.max_new_tokens is None:
        raise PrefixSharingError("the generation settings have no max_new_tokens")


def _find_obstacle(model: PreTrainedModel) -> str | None:
    config, name = model.config, model.config.model_type
    other_types = set(getattr(config, "layer_types", None) or []) - _LAYER_TYPES
    scales = [field for field in _LOGIT_SCALES if getattr(config, field, None) not in (None, 1.0)]
    parameters = {parameter.rsplit(".", 1)[-1] for parameter, _ in model.named_parameters()}
    obstacles = {
        f"{name} reads more than text": config is not config.get_text_config(),
        f"{name} encodes its prompt in another network": config.is_encoder_decoder,
        f"{name} has state-space or recurrent layers": model._is_stateful,
        f"{name} has unsupported layers ({', '.join(sorted(other_types))})": other_types,
        f"{name} does not use Transformers' attention interface": (
            not model._supports_attention_backend
        ),
        f"{name} has attention sinks": "sinks" in parameters,
        f"the attention of {name} is not causal": getattr(
            config, "use_bidirectional_attention", None
        ),
        f"{name} scales its logits ({', '.join(scales)})": scales,
    }
    return next((reason for reason, is_met in obstacles.items() if is_met), None)
