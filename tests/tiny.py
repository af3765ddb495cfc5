"""Tiny random checkpoints of four architectures, with byte-level tokenizers and templates."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    PreTrainedTokenizerFast,
)

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


def add_merge(folder: Path) -> None:
    """Add a merge to a tiny tokenizer: a GGUF file cannot hold an empty list of merges."""
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    # No text has the byte 255, so that its token can be a merge.
    vocab = tokenizer["model"]["vocab"]
    vocab["zq"] = vocab.pop("ÿ")
    tokenizer["model"]["merges"] = [["z", "q"]]
    path.write_text(json.dumps(tokenizer))


def make_tiny_vision(folder: Path) -> Path:
    """Write a random Qwen2-VL, which also reads images, to `folder`, and return `folder`."""
    tokenizer = make_tokenizer("qwen2")
    names = ("vision_start", "vision_end", "image_pad", "video_pad")
    tokens = [f"<|{name}|>" for name in names]
    tokenizer.add_special_tokens({"extra_special_tokens": tokens})
    start, end, image, video = tokenizer.convert_tokens_to_ids(tokens)
    text = {key: value for key, value in _SHAPE.items() if key != "head_dim"} | {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 4096,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]},
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = AutoConfig.for_model(
        "qwen2_vl",
        text_config=text,
        vision_config={"depth": 1, "embed_dim": 16, "hidden_size": 32, "num_heads": 2},
        vision_start_token_id=start,
        vision_end_token_id=end,
        image_token_id=image,
        video_token_id=video,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModelForImageTextToText.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text('{"patch_size": 14}')
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
