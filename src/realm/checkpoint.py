"""Load the checkpoint of a model, or check it without its weights. Its code is never run."""

from __future__ import annotations

import inspect
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.integrations import deepspeed
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
from transformers.utils import cached_file

from realm.config.gguf import resolve_gguf
from realm.core.errors import ConfigError, ModelError
from realm.core.ranks import get_local_rank
from realm.core.terminal import quiet_libraries
from realm.core.workers import WorkerPool

# A damaged config could ask for more layers than fit into memory.
_MOST_LAYERS = 10_000
_TEMPLATE_SECONDS = 10.0
_PROCESSOR_FILES = (
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
)
_TOKENIZER_FILES = ("*token*", "vocab*", "*.model")
"""One of them is there; without any, some tokenizers load all the same, and know no word."""


@contextmanager
def without_zero3() -> Iterator[None]:
    """Load and run models whole in this block, also in a launch with DeepSpeed ZeRO-3.

    There, from the first arguments of a trainer on, Transformers shares out the weights of every
    model that it loads, and waits for the other processes in each generation.
    """
    reference = deepspeed._hf_deepspeed_config_weak_ref
    deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        deepspeed._hf_deepspeed_config_weak_ref = reference


@without_zero3()
def load_checkpoint(model: str | Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return model and tokenizer of a folder, a GGUF file or a hub id, ready to generate.

    The weights are float32 on the CPU and bfloat16 on a GPU. Code of a checkpoint is never run. Of
    a model that also reads images only text is asked.

    Raises:
        ModelError: it is not a complete causal language model with a tokenizer that works.
    """
    name = resolve_gguf(model)
    has_gpu = torch.cuda.is_available()
    config = require_model(name)
    tokenizer = _load_tokenizer(name)
    with _explain_failure(name, "its weights"):
        found: Any = find_model_class(config).from_pretrained(
            name,
            dtype=torch.bfloat16 if has_gpu else torch.float32,
            output_loading_info=True,
            trust_remote_code=False,
        )
    network, notes = found
    if missing := sorted(notes["missing_keys"]):
        raise ModelError(
            f"{name}: {len(missing)} weights of the model are not in the checkpoint "
            f"({missing[0]}, ...), so its answers would be random. Save the whole model with "
            "`save_pretrained`; merge an adapter into its base first."
        )
    num_embeddings = network.get_input_embeddings().num_embeddings
    if len(tokenizer) > num_embeddings:
        raise ModelError(
            f"{name}: the tokenizer has {len(tokenizer)} tokens and the model {num_embeddings}. "
            "They belong to different models. Take both from one."
        )
    # Each process of a machine has a GPU of its own.
    return network.to(f"cuda:{get_local_rank()}" if has_gpu else "cpu").eval(), tokenizer


@without_zero3()
def check_model(model: str, system: str | None = None) -> PreTrainedModel:
    """Return the model without weights, after all checks that need none.

    Args:
        model: A folder, a GGUF file or a hub id.
        system: The system message that prompts will have.

    Raises:
        ModelError: Its config, tokenizer, chat template or files of weights are damaged.
    """
    name = resolve_gguf(model)
    config = require_model(name)
    tokenizer = _load_tokenizer(name)
    if system is not None and tokenizer.chat_template is not None:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": "Hi"}]
        render_chat(tokenizer, messages, name)
    for path in sorted(Path(name).glob("*.safetensors")) if Path(name).is_dir() else ():
        if fault := find_tensor_fault(path):
            raise ModelError(f"{path}: {fault}. Fetch or save the model again.")
    # On the meta device a model has shapes and no memory.
    with _explain_failure(name, "its config.json"), torch.device("meta"):
        skeleton: PreTrainedModel = find_model_class(config).from_config(
            config, trust_remote_code=False
        )
        _require_text_alone(skeleton)
    return skeleton


def find_model_class(config: PreTrainedConfig) -> Any:
    """Return the auto class that loads a model, the one by which TRL trains it.

    A model that also reads images is loaded as a whole, and asked text alone.
    """
    reads_images = type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    return AutoModelForImageTextToText if reads_images else AutoModelForCausalLM


def copy_processor(config: PreTrainedConfig, folder: Path) -> None:
    """Copy the image settings of the model of `config`, if it has any, so that it stays whole."""
    if find_model_class(config) is AutoModelForCausalLM:
        return
    for name in _PROCESSOR_FILES:
        with suppress(OSError):  # no model has all of them
            shutil.copy(str(cached_file(config._name_or_path, name)), folder / name)


def _require_text_alone(model: PreTrainedModel) -> None:
    """Raise `ValueError` if a model cannot do without an image or encodes its prompt apart."""
    image = inspect.signature(type(model).forward).parameters.get("pixel_values")
    if model.config.is_encoder_decoder or (image and image.default is inspect.Parameter.empty):
        raise ValueError(f"{model.config.model_type} does not continue a text")


def require_length(setting: str, length: int | None, model: Any) -> None:
    """Raise `ConfigError` if a setting asks for more tokens than the model can read at all."""
    context = find_context_length(model.config)
    if length is not None and context is not None and length > context:
        raise ConfigError(
            f"{setting}: found {length}; the model reads at most {context} tokens, prompt and "
            "completion together. Lower it, or take a model with a longer context."
        )


def find_context_length(model_config: Any) -> int | None:
    """Return how many tokens the model can read, or `None` if its config does not say."""
    # Models that also read images keep the settings of their text part in a config inside.
    return getattr(model_config.get_text_config(), "max_position_embeddings", None)


def find_tensor_fault(path: Path) -> str | None:
    """Return what is wrong with a .safetensors file as its header tells, or `None`."""
    try:
        with path.open("rb") as file:
            # The format: the size of a JSON header in eight bytes, the header, the tensors. A torn
            # file may promise a header that is longer than itself.
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(size, path.stat().st_size)))
        ends = [one["data_offsets"][1] for name, one in header.items() if name != "__metadata__"]
        expected = 8 + size + max(ends, default=0)
    except (ValueError, LookupError, TypeError, AttributeError):
        return "is no whole file of weights"
    found = path.stat().st_size
    return None if found == expected else f"has {found:,} bytes where {expected:,} are promised"


def find_checkpoint_fault(folder: Path, num_processes: int = 1) -> str | None:
    """Return which file of a checkpoint of a training is missing or torn, or `None`.

    Args:
        folder: The checkpoint.
        num_processes: How many processes wrote it.
    """
    for path in sorted(folder.rglob("*.safetensors")):
        if fault := find_tensor_fault(path):
            return f"{path.name} {fault}"
    for path in sorted(folder.glob("*")):
        # What torch saves is a zip file, whose end says where its parts begin.
        if path.suffix in (".pt", ".pth", ".bin") and not is_zipfile(path):
            return f"{path.name} is torn"
    # What Transformers writes so that a training continues with the same draws.
    needed = [f"rng_state_{rank}.pth" for rank in range(num_processes)]
    if num_processes == 1:
        needed = ["rng_state.pth"]
    # DeepSpeed, FSDP and several adapters have folders of their own.
    if not any(path.is_dir() for path in folder.iterdir()):
        needed += ["*.safetensors", "optimizer.*", "scheduler.pt"]
    missing = [name for name in needed if not list(folder.glob(name))]
    return f"{missing[0]} is missing" if missing else None


def _load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a model, after its chat template was tried in a process."""
    folder = Path(name)
    if folder.is_dir() and not any(any(folder.glob(part)) for part in _TOKENIZER_FILES):
        raise ModelError(f"{name}: has no tokenizer. Save the tokenizer of the model there.")
    with _explain_failure(name, "its tokenizer"):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            name, trust_remote_code=False
        )
    if tokenizer.chat_template is not None:
        with _explain_failure(name, "its chat template"):
            template = tokenizer.get_chat_template()
        tokens = {key: str(token) for key, token in tokenizer.special_tokens_map.items()}
        if fault := _try_template(template, json.dumps(tokens)):
            raise ModelError(_describe_template_fault(name, fault))
    return tokenizer


# Several stages check the same model, and a process takes seconds to start.
@lru_cache
def _try_template(template: str, tokens: str) -> str:
    """Return what is wrong with a chat template, a program that may loop or eat memory; "" if fine.

    Args:
        template: The template.
        tokens: The special tokens that it may use, as JSON.
    """
    workers = WorkerPool("realm.template", _TEMPLATE_SECONDS)
    reply = workers.ask_all([{"template": template, "tokens": json.loads(tokens)}])[0]
    if reply is None:
        return f"it takes more than {_TEMPLATE_SECONDS:.0f} s or too much memory"
    return str(json.loads(reply))


def _describe_template_fault(name: str, fault: str) -> str:
    return (
        f"{name}: its chat template fails ({fault}). Some templates know no system role: set "
        "prompt.system to null and say it in the prompt templates."
    )


def require_model(name: str) -> PreTrainedConfig:
    """Return the config of a model; raise `ModelError` if it plainly is not one.

    Neither reads nor fetches weights.
    """
    folder = Path(name)
    # NAME or OWNER/NAME. A dot or a slash at the start can only mean a path.
    is_hub_id = re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", name) and not folder.exists()
    problem = None
    if not folder.is_dir() and not is_hub_id:
        problem = ": no such model folder"
    elif (folder / "adapter_config.json").exists() and not (folder / "config.json").exists():
        problem = " is a PEFT adapter: merge it into its base (`merge_and_unload`) and save that"
    elif folder.is_dir() and not (folder / "config.json").exists():
        problem = " is not a Transformers checkpoint: it has no config.json"
    if problem:
        raise ModelError(
            f"{name}{problem}. Give a folder that `save_pretrained` wrote, a GGUF file, or a hub "
            "id such as Qwen/Qwen2.5-1.5B-Instruct."
        )
    quiet_libraries()
    with _explain_failure(name, "its config.json"):
        config: PreTrainedConfig = AutoConfig.from_pretrained(name, trust_remote_code=False)
        text_config = config.get_text_config()
        for key in ("max_position_embeddings", "num_hidden_layers", "vocab_size"):
            value = getattr(text_config, key, None)
            if value is not None and (type(value) is not int or value < 1):
                raise ValueError(f"{key} is {value!r}, not a number above 0")
        if (getattr(text_config, "num_hidden_layers", None) or 0) > _MOST_LAYERS:
            raise ValueError(f"num_hidden_layers is above {_MOST_LAYERS:,}")
    return config


def render_chat(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]], name: str
) -> str:
    """Return messages through the chat template, up to where the answer begins.

    Raises:
        ModelError: the template of the model `name` fails.
    """
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return str(text)
    except Exception as error:  # a template is a program and fails in any way
        raise ModelError(_describe_template_fault(name, _first_line(error))) from error


@contextmanager
def _explain_failure(name: str, part: str) -> Iterator[None]:
    """Turn whatever a library raises while it loads `part` of a model into a `ModelError`."""
    try:
        yield
    except Exception as error:  # a damaged checkpoint fails in any way
        advice = "Give a whole folder of a causal language model, tokenizer included."
        if not Path(name).is_dir():
            advice = (
                "It is not a folder here, and as a hub id it was not found or not reached: check "
                "the spelling and the network. A gated model needs HF_TOKEN in the environment."
            )
        raise ModelError(
            f"{name}: {part} cannot be loaded ({_first_line(error)}). {advice}"
        ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    # Some say on the second line what is wrong with the first.
    return " ".join(line.strip() for line in lines[: 1 + lines[0].endswith(":")])
