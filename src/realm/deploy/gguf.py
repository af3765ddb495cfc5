"""Write a model as a GGUF file, with llama.cpp's converter or by the package `gguf`."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from realm.config.gguf import SPLIT_PATTERNS
from realm.core.errors import ModelError

logger = logging.getLogger(__name__)

FILE_TYPES = {
    "f32": "ALL_F32",
    "f16": "MOSTLY_F16",
    "bf16": "MOSTLY_BF16",
    "q8_0": "MOSTLY_Q8_0",
    "q5_1": "MOSTLY_Q5_1",
    "q5_0": "MOSTLY_Q5_0",
    "q4_1": "MOSTLY_Q4_1",
    "q4_0": "MOSTLY_Q4_0",
}
"""The types that the package `gguf` writes, with their names in the header of the file."""
_CONVERTER_TYPES = ("f32", "f16", "bf16", "q8_0")
"""The types that llama.cpp's converter writes; `llama-quantize` makes all others."""
_ARCHITECTURES = ("llama", "qwen2", "qwen3")


def write_gguf(model: Path, file: Path, kind: str) -> None:
    """Write the checkpoint in the folder `model` as a GGUF file.

    llama.cpp's `convert_hf_to_gguf.py` does it where it is on the PATH or in the folder that
    LLAMA_CPP names; else the package `gguf`, for fewer architectures and types.

    Args:
        model: A folder with safetensors.
        file: The file to write.
        kind: The type of the weights, such as "q8_0".

    Raises:
        ModelError: Neither can write this model in this type.
    """
    converter = _find_program("convert_hf_to_gguf.py")
    if converter:
        _convert_by_llama_cpp(converter, model, file, kind)
    else:
        _convert_by_package(model, file, kind)
    logger.info("export   %s: %.1f MB", file.name, file.stat().st_size / 1e6)


def _find_program(name: str) -> str | None:
    folder = Path(os.environ.get("LLAMA_CPP", ""))
    places = [folder / name, folder / "build/bin" / name] if folder.name else []
    return next((str(path) for path in places if path.is_file()), shutil.which(name))


def _convert_by_llama_cpp(converter: str, model: Path, file: Path, kind: str) -> None:
    if kind in _CONVERTER_TYPES:
        _run([sys.executable, converter, str(model), "--outfile", str(file), "--outtype", kind])
        return
    quantize = _find_program("llama-quantize")
    if quantize is None:
        raise ModelError(
            f"--gguf {kind}: llama.cpp makes this type with llama-quantize, which is not on the "
            f"PATH. Allowed without it: {', '.join(_CONVERTER_TYPES)}."
        )
    with tempfile.TemporaryDirectory(dir=file.parent) as work:
        whole = Path(work) / "f32.gguf"
        _run([sys.executable, converter, str(model), "--outfile", str(whole), "--outtype", "f32"])
        _run([quantize, str(whole), str(file), kind])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"code {done.returncode}"]
        raise ModelError(
            f"--gguf: {Path(command[0]).name} {Path(command[1]).name} failed: {lines[-1]}. See "
            "that llama.cpp knows the model and the type."
        )


def _convert_by_package(model: Path, file: Path, kind: str) -> None:
    help_ = (
        "With llama.cpp all types and many more models can be written: put the folder of "
        "convert_hf_to_gguf.py into the environment variable LLAMA_CPP."
    )
    if importlib.util.find_spec("gguf") is None:
        raise ModelError(f'--gguf needs a package: pip install "realm-slm[gguf]". {help_}')
    if kind not in FILE_TYPES:
        raise ModelError(
            f"--gguf {kind}: the package gguf does not write this type. Allowed: "
            f"{', '.join(FILE_TYPES)}. {help_}"
        )
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    rope = config.get("rope_parameters") or {"rope_theta": config.get("rope_theta")}
    words = find_word_split(model)
    fault = None
    if config.get("model_type") not in _ARCHITECTURES:
        fault = f"the architecture {config.get('model_type')!r}"
    elif rope.get("rope_type", "default") != "default" or not rope.get("rope_theta"):
        fault = "scaled positions"
    elif words is None:
        fault = "the tokenizer"
    if fault or words is None:
        raise ModelError(
            f"{model}: the package gguf cannot write {fault}; it can write "
            f"{', '.join(_ARCHITECTURES)} with byte-level tokenizers. {help_}"
        )
    _write_file(model, file, kind, config, float(rope["rope_theta"]), words)


def find_word_split(model: Path) -> str | None:
    """Return llama.cpp's name for how a tokenizer splits text; None for one it has no name for."""
    try:
        tokenizer = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))
        splitter = tokenizer["pre_tokenizer"] or {}
        is_bpe = tokenizer["model"]["type"] == "BPE"
    except (OSError, ValueError, LookupError, TypeError):
        return None
    steps = splitter.get("pretokenizers", [splitter])
    if not is_bpe or steps[-1].get("type") != "ByteLevel":
        return None
    kinds = [step["type"] for step in steps]
    if kinds == ["ByteLevel"] and steps[0].get("use_regex", True):
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and steps[0]["individual_digits"]:
        return "smollm"
    known = {pattern: name for name, pattern in SPLIT_PATTERNS.items()}
    pattern = steps[0].get("pattern", {}).get("Regex") if len(steps) == 2 else None
    return known.get(pattern or "")


def _write_file(
    model: Path, file: Path, kind: str, config: dict[str, Any], theta: float, words: str
) -> None:
    import gguf

    writer = gguf.GGUFWriter(file, config["model_type"])
    num_heads = config["num_attention_heads"]
    num_kv_heads = config.get("num_key_value_heads") or num_heads
    head_size = config.get("head_dim") or config["hidden_size"] // num_heads
    writer.add_name(file.stem)
    writer.add_file_type(gguf.LlamaFileType[FILE_TYPES[kind]])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(num_heads)
    writer.add_head_count_kv(num_kv_heads)
    writer.add_key_length(head_size)
    writer.add_value_length(head_size)
    writer.add_rope_dimension_count(head_size)
    writer.add_rope_freq_base(theta)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    _add_tokenizer(writer, model, config["vocab_size"], words)
    names = gguf.get_tensor_name_map(
        gguf.MODEL_ARCH[config["model_type"].upper()], config["num_hidden_layers"]
    )
    wanted = gguf.GGMLQuantizationType[kind.upper()]
    heads = {"q_proj": num_heads, "k_proj": num_kv_heads}
    for name, values in _read_weights(model):
        # Llama's rotary pairs stand half a head apart in Transformers, side by side in llama.cpp.
        part = name.split(".")[-2]
        if config["model_type"] == "llama" and part in heads:
            shape = (heads[part], 2, -1, *values.shape[1:])
            values = values.reshape(shape).swapaxes(1, 2).reshape(values.shape)
        place = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if place is None:
            raise ModelError(f"{model}: the package gguf has no name for the weights {name}.")
        used = wanted
        if values.ndim == 1:
            used = gguf.GGMLQuantizationType.F32  # norms and biases: few, and they matter
        elif values.shape[-1] % gguf.GGML_QUANT_SIZES[wanted][0]:
            used = gguf.GGMLQuantizationType.F16  # a row that blocks do not fill
        writer.add_tensor(place, gguf.quants.quantize(values, used), raw_dtype=used)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: Any, model: Path, vocab_size: int, words: str) -> None:
    import gguf
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    added = tokenizer.added_tokens_decoder
    by_id = {number: token for token, number in tokenizer.get_vocab().items()}
    tokens, types = [], []
    for number in range(vocab_size):
        # Models have rows for tokens that the tokenizer lacks, to fill a multiple of 64.
        tokens.append(by_id.get(number, f"[PAD{number}]"))
        if number not in by_id:
            types.append(gguf.TokenType.UNUSED)
        elif number not in added:
            types.append(gguf.TokenType.NORMAL)
        else:
            is_special = added[number].special
            types.append(gguf.TokenType.CONTROL if is_special else gguf.TokenType.USER_DEFINED)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(words)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    special = gguf.SpecialVocab(model, load_merges=True, n_vocab=vocab_size)
    # Said either way: what llama.cpp assumes otherwise depends on its name for the split.
    ids = tokenizer("a")["input_ids"]
    special.add_special_token = {
        "bos": ids[0] == tokenizer.bos_token_id,
        "eos": ids[-1] == tokenizer.eos_token_id,
    }
    if tokenizer.chat_template is not None:
        special.chat_template = tokenizer.chat_template
    special.add_to_gguf(writer, quiet=True)


def _read_weights(model: Path) -> Iterator[tuple[str, Any]]:
    """Yield the name and the values of all weights, as float32 arrays."""
    from safetensors import safe_open

    for path in sorted(model.glob("*.safetensors")):
        with safe_open(path, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118  # not a dict
                yield name, weights.get_tensor(name).float().numpy()
