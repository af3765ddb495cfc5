"""Tiny random checkpoints of four architectures, with byte-level tokenizers and templates."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

_CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] "
    "}}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_LLAMA = (
    "<|begin_of_text|>{% for message in messages %}<|start_header_id|>{{ message['role'] "
    "}}<|end_header_id|>\n\n"
    "{{ message['content'] }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
_GEMMA = (
    "<bos>{% for message in messages %}"
    "<start_of_turn>{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n{{ "
    "message['content'] }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
_TEMPLATES = {"qwen2": _CHATML, "qwen3": _CHATML, "llama": _LLAMA, "gemma3": _GEMMA}
_SPECIAL = {
    "qwen2": {"bos": None, "eos": "<|im_end|>", "pad": "<|endoftext|>", "more": ["<|im_start|>"]},
    "qwen3": {"bos": None, "eos": "<|im_end|>", "pad": "<|endoftext|>", "more": ["<|im_start|>"]},
    "llama": {
        "bos": "<|begin_of_text|>",
        "eos": "<|eot_id|>",
        "pad": None,
        "more": ["<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>"],
    },
    "gemma3": {
        "bos": "<bos>",
        "eos": "<end_of_turn>",
        "pad": "<pad>",
        "more": ["<eos>", "<start_of_turn>"],
    },
}
_SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}


def make_tiny(
    folder: Path,
    architecture: str = "qwen2",
    *,
    context: int = 4096,
    chat: bool = True,
    seed: int = 0,
) -> Path:
    """Write a random checkpoint of about 30,000 parameters to `folder`, and return `folder`.

    `architecture` is qwen2, qwen3, llama (no pad token) or gemma3 (a BOS and two EOS ids). One byte
    is one token.
    With `chat=False` the tokenizer has no chat template.
    """
    tokenizer = make_tokenizer(architecture, chat=chat, context=context)
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    kind = "gemma3_text" if architecture == "gemma3" else architecture
    shape = {
        key: value for key, value in _SHAPE.items() if key != "head_dim" or architecture != "qwen2"
    }
    config = AutoConfig.for_model(
        kind,
        vocab_size=len(tokenizer),
        max_position_embeddings=context,
        tie_word_embeddings=True,
        **shape,
        **ids,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    if architecture == "gemma3":
        model.generation_config.eos_token_id = [
            tokenizer.eos_token_id,
            tokenizer.convert_tokens_to_ids("<eos>"),
        ]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Path(folder)


def make_tokenizer(
    architecture: str = "qwen2", *, chat: bool = True, context: int = 4096
) -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer with the special tokens of `architecture`."""
    special = _SPECIAL[architecture]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(
        models.BPE(vocab={byte: token_id for token_id, byte in enumerate(alphabet)}, merges=[])
    )
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=special["bos"],
        eos_token=special["eos"],
        pad_token=special["pad"],
        additional_special_tokens=special["more"],
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )
    if chat:
        tokenizer.chat_template = _TEMPLATES[architecture]
    return tokenizer
