"""Convert a GGUF file to a Transformers checkpoint, once, in a folder beside the file."""

from __future__ import annotations

import importlib.util
import json
import logging
import shutil
from pathlib import Path
from typing import Any

from filelock import FileLock

from realm.core.errors import ModelError
from realm.core.jsonl import write_json

logger = logging.getLogger(__name__)

# How byte-level tokenizers split text into words, by llama.cpp's names for that.
_QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPLIT_PATTERNS = {
    "qwen2": _QWEN2_SPLIT,
    "llama-bpe": _QWEN2_SPLIT.replace(r"|\p{N}|", r"|\p{N}{1,3}|"),
}
_SOURCE = "source.json"
"""File of a converted checkpoint that says what it was made from."""


def resolve_gguf(model: str | Path) -> str:
    """Return the checkpoint folder of a GGUF file, or of a folder that holds one, converted.

    Any other folder or hub id is returned as it is. The converted folder lies beside the file and
    is made again when the file's size or time has changed.

    Raises:
        ModelError: The file cannot be converted.
    """
    file = find_gguf(Path(model))
    if file is None:
        return str(model)
    folder = file.with_suffix(".converted")
    if not _is_made_from(folder, file):
        try:
            with FileLock(file.with_suffix(".converted.lock")):
                # Another process may have converted it while this one waited.
                if not _is_made_from(folder, file):
                    _convert(file, folder)
        except OSError as error:
            raise ModelError(
                f"{folder}: the converted copy of {file.name} cannot be written ({error}). Copy "
                "the file to a folder that you can write, with room for four bytes a weight."
            ) from error
    return str(folder)


def find_gguf(path: Path) -> Path | None:
    """Return the GGUF file that `path` is, or that a folder without a config.json holds.

    Raises:
        ModelError: The folder holds several.
    """
    if path.is_file():
        return path if path.suffix.lower() == ".gguf" else None
    if not path.is_dir() or (path / "config.json").exists():
        return None
    files = sorted(file for file in path.iterdir() if file.suffix.lower() == ".gguf")
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise ModelError(f"{path}: holds several GGUF files. Name one of them: {names}.")
    return files[0] if files else None


def _describe_source(file: Path) -> dict[str, Any]:
    status = file.stat()
    return {"file": file.name, "size": status.st_size, "mtime_ns": status.st_mtime_ns}


def _is_made_from(folder: Path, file: Path) -> bool:
    try:
        # Size and time stand for the content: a hash would read gigabytes at each start.
        made = json.loads((folder / _SOURCE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(made == _describe_source(file))


def _convert(file: Path, folder: Path) -> None:
    """Write the weights, dequantized, and the tokenizer of `file` to `folder`."""
    source = _describe_source(file)  # before reading: a file that changes meanwhile is read again
    with file.open("rb") as head:
        if head.read(4) != b"GGUF":
            raise ModelError(f"{file}: is not a GGUF file: it does not begin with GGUF.")
    if importlib.util.find_spec("gguf") is None:
        raise ModelError(f'{file}: reading GGUF needs a package: pip install "realm-slm[gguf]"')
    logger.info("Converting %s to safetensors, once, in %s.", file, folder)
    model, tokenizer = _load(file)
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part)
    tokenizer.save_pretrained(part)
    _mend_tokenizer(part / "tokenizer.json", file, model.get_input_embeddings().num_embeddings)
    write_json(part / _SOURCE, source)
    shutil.rmtree(folder, ignore_errors=True)
    # Last, so that a kill leaves no folder that looks complete.
    part.rename(folder)


def _mend_tokenizer(path: Path, file: Path, num_embeddings: int) -> None:
    """Correct a tokenizer.json that Transformers made from a GGUF file.

    Transformers builds every byte-level tokenizer as GPT-2's, whose token <|endoftext|> it adds and
    whose split into words it takes, and leaves out the added tokens that are not special, such as
    <think> and <tool_call>.
    """
    from gguf import GGUFReader, TokenType

    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    added = {one["id"]: one for one in tokenizer["added_tokens"] if one["id"] < num_embeddings}
    fields = GGUFReader(file).fields
    names = ("tokenizer.ggml.tokens", "tokenizer.ggml.token_type")
    tokens, types = (fields[name].contents() if name in fields else [] for name in names)
    marks = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    vocab = tokenizer["model"]["vocab"]
    by_id = {number: token for token, number in vocab.items()} if isinstance(vocab, dict) else {}
    for number, (token, kind) in enumerate(zip(tokens, types, strict=False)):
        if kind == TokenType.USER_DEFINED and number in by_id and number not in added:
            added[number] = {"id": number, "content": token, **marks}
            # Spelled as in the text: under another spelling it would count as a new token.
            del vocab[by_id[number]]
            vocab[token] = number
    tokenizer["added_tokens"] = [added[number] for number in sorted(added)]
    if "tokenizer.ggml.pre" in fields:
        splitter = _make_splitter(fields["tokenizer.ggml.pre"].contents())
        tokenizer["pre_tokenizer"] = splitter or tokenizer["pre_tokenizer"]
    write_json(path, tokenizer)


def _make_splitter(name: str) -> dict[str, Any] | None:
    """Return the `pre_tokenizer` of a tokenizer.json for llama.cpp's name; None if unknown."""
    if name == "smollm":
        first: dict[str, Any] = {"type": "Digits", "individual_digits": True}
    elif name in SPLIT_PATTERNS:
        pattern = {"Regex": SPLIT_PATTERNS[name]}
        first = {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}
    else:
        return None
    # SmolLM's digits are split off before GPT-2's expression splits the rest.
    last = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    last["use_regex"] = name == "smollm"
    return {"type": "Sequence", "pretokenizers": [first, last]}


def _load(file: Path) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    from realm.core.terminal import quiet_libraries

    quiet_libraries()
    place: dict[str, Any] = {"gguf_file": file.name, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(file.parent), **place)
        found: Any = AutoModelForCausalLM.from_pretrained(
            str(file.parent),
            # By default Transformers leaves the weights packed, and refuses to train them.
            quantization_config=GgufConfig(dequantize=True),
            # Training needs float32; dequantized weights are not exact in fewer bits.
            dtype=torch.float32,
            output_loading_info=True,
            **place,
        )
    except Exception as error:  # a torn file fails in any way
        cause = str(error).strip().splitlines() or [type(error).__name__]
        # Transformers keeps two sections of metadata in the same table.
        known = sorted({*GGUF_SUPPORTED_ARCHITECTURES} - {"general", "tokenizer"})
        raise ModelError(
            f"{file}: cannot be converted ({cause[0]}). If the file is torn, fetch it again. "
            f"Transformers reads these architectures from GGUF: {', '.join(known)}; and the "
            "quantizations Q4_0 to Q8_0, Q2_K to Q6_K, the IQ kinds, F16, BF16 and F32."
        ) from error
    model, notes = found
    if missing := sorted(notes["missing_keys"]):
        raise ModelError(
            f"{file}: lacks {len(missing)} weights of the model ({missing[0]}, ...), so its "
            "answers would be random. Join the parts of a split GGUF into one file first."
        )
    return model, tokenizer
