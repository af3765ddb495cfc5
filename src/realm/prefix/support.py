"""Which models and generation settings can share a prefix, and the reason where they cannot."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import GenerationConfig, PreTrainedModel

_LAYERS = {"full_attention", "sliding_attention"}
_SCALED_LOGITS = ("logit_scale", "output_multiplier", "lm_head_multiplier", "logits_scaling")
_SETTINGS = {
    "max_new_tokens", "do_sample", "temperature", "top_k", "top_p", "min_p", "eos_token_id", "pad_token_id", "bos_token_id",
    "disable_compile", "use_cache", "transformers_version", "max_length", "_from_model_config",
}  # fmt: skip
"""Generation settings that the rollouts know, or that do not concern them."""
_NEUTRAL = {"repetition_penalty": 1.0, "num_beams": 1, "num_return_sequences": 1}


class Unshareable(Exception):
    """Says in its message why a model's prompts cannot be encoded once; "the model" is the sentence's subject or owner."""


def causal_lm(model: nn.Module) -> PreTrainedModel:
    """Return the causal language model inside wrappers for distribution and adapters."""
    while not isinstance(model, PreTrainedModel):
        inner = (
            model.get_base_model()
            if hasattr(model, "peft_config")
            else getattr(model, "module", None)
        )
        if inner is None:
            raise Unshareable(f"{type(model).__name__} is no model of Transformers")
        model = inner
    return model


def require_shareable(model: nn.Module) -> PreTrainedModel:
    """Return the causal language model inside `model`; `Unshareable` where its prompts cannot be shared."""
    for adapter in getattr(model, "peft_config", {}).values():
        if adapter.is_prompt_learning:
            raise Unshareable(
                f"the adapter ({adapter.peft_type}) puts tokens of its own before the prompt"
            )
    inner = causal_lm(model)
    if reason := _why_not(inner):
        raise Unshareable(reason)
    return inner


def require_known(settings: GenerationConfig) -> None:
    """Raise `Unshareable` where generation settings ask for more than sampling by temperature, top-k, top-p and min-p."""
    asked = {name: value for name, value in settings.to_diff_dict().items() if value is not None}
    for name, value in sorted(asked.items()):
        if name not in _SETTINGS and value != _NEUTRAL.get(name):
            raise Unshareable(
                f"the generation setting {name} = {value!r} is not known to shared rollouts"
            )
    if settings.max_new_tokens is None:
        raise Unshareable("the generation settings name no max_new_tokens")


def _why_not(model: PreTrainedModel) -> str | None:
    config, name = model.config, model.config.model_type
    if config is not config.get_text_config():
        return f"{name} reads more than text"
    if config.is_encoder_decoder:
        return f"{name} encodes its prompt in another network"
    if model._is_stateful:
        return f"{name} has state-space or recurrent layers, whose state cannot be read twice"
    if odd := sorted(set(getattr(config, "layer_types", None) or []) - _LAYERS):
        return f"{name} has layers of another kind ({odd[0]})"
    if not model._supports_attention_backend:
        return f"{name} does not go through Transformers' attention interface"
    if any(parameter.rsplit(".", 1)[-1] == "sinks" for parameter, _ in model.named_parameters()):
        return f"{name} has attention sinks"
    if getattr(config, "use_bidirectional_attention", None):
        return f"the attention of {name} is not causal"
    if scaled := [field for field in _SCALED_LOGITS if _scales(getattr(config, field, None))]:
        return f"{name} scales its logits ({scaled[0]})"
    return None


def _scales(value: Any) -> bool:
    return value is not None and value != 1.0
