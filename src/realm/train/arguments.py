"""The arguments of TRL's trainers: the user's settings over our presets, checked at the start."""

from __future__ import annotations

import difflib
import logging
import math
import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

import torch
from transformers import TrainingArguments
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK
from trl import GRPOConfig, SFTConfig

from realm.core.errors import ConfigError, require_package
from realm.core.ranks import count_processes
from realm.core.settings import MAX_SEED
from realm.core.terminal import quiet_libraries
from realm.method.rewards import weigh_terms
from realm.train.callbacks import find_rows_per_step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transformers import PreTrainedModel

    from realm.config.root import Config
    from realm.train.grader import WeightedTerms

_TRACKERS = {"azure_ml": "azureml", "flyte": "flytekit"}
"""Packages of trackers in `report_to` that have another name than the tracker."""
_PACKAGES = {"use_vllm": "vllm", "deepspeed": "deepspeed", "use_liger_kernel": "liger-kernel"}
"""Packages of other settings."""

logger = logging.getLogger(__name__)
Arguments = TypeVar("Arguments", bound=TrainingArguments)


def make_arguments(
    kind: type[Arguments],
    section: str,
    settings: dict[str, Any],
    *,
    presets: dict[str, Any],
    required: dict[str, Any],
) -> Arguments:
    """Return TRL's arguments.

    Args:
        kind: TRL's class of arguments.
        section: Where the user's settings stand in the config, for error messages.
        settings: The user's settings. `bf16: auto` stands for the faster of true and false.
        presets: Our defaults; the user's settings win.
        required: What the method itself sets.

    Raises:
        ConfigError: A setting is unknown, is set by the method, or is refused by TRL.
    """
    if taken := sorted(set(settings) & set(required)):
        raise ConfigError(
            f"{section}.{taken[0]}: the method sets it itself (to {required[taken[0]]!r}). "
            "Remove it from the config."
        )
    known = {field.name for field in fields(kind) if field.init}
    if unknown := sorted(set(settings) - known):
        near = difflib.get_close_matches(unknown[0], known, n=1)
        raise ConfigError(
            f"{section}.{unknown[0]}: {kind.__name__} of TRL has no such setting. "
            + (f"Did you mean {near[0]}?" if near else "See its documentation.")
        )
    is_on_gpu = torch.cuda.is_available() and not settings.get("use_cpu", False)
    if settings.get("bf16") == "auto":
        settings = settings | {"bf16": is_on_gpu or has_fast_bf16()}
    _require_types(kind, section, settings)
    # TRL's defaults (bf16, gradient checkpointing) fail or are slow without a GPU.
    device: dict[str, Any] = (
        {} if is_on_gpu else {"use_cpu": True, "bf16": False, "gradient_checkpointing": False}
    )
    quiet_libraries()
    # Our bar and fade.jsonl replace trackers. Two checkpoints: a kill may leave the newest torn.
    common: dict[str, Any] = {"report_to": "none", "disable_tqdm": True, "save_total_limit": 2}
    # A killed training continues with the optimizer and the generators of a checkpoint.
    common["save_only_model"] = False
    # Every weight that is trained has a gradient; to look for others costs a pass over the graph.
    common["ddp_find_unused_parameters"] = False
    _require_packages(section, settings)
    rows = find_rows_per_step(Path(required["output_dir"]))
    if rows is not None:
        defaults = {field.name: field.default for field in fields(kind)}
        settings = settings | split_batch(defaults | presets | settings, rows, section)
    try:
        return kind(**common | device | presets | settings | required)
    except (TypeError, ValueError, LookupError, AttributeError, ImportError) as error:
        raise ConfigError(f"{section}: {kind.__name__} of TRL refuses it: {error}") from error


def split_batch(given: Mapping[str, Any], rows: int, section: str) -> dict[str, int]:
    """Return the settings with which this launch continues a training, in steps as large as before.

    Args:
        given: The settings of the config, over TRL's defaults.
        rows: The rows of a step so far, of all processes that there were.
        section: Where the settings stand in the config, for error messages.
    """
    size, num_parts = given["per_device_train_batch_size"], given["gradient_accumulation_steps"]
    processes = count_processes()
    if size * num_parts * processes == rows:
        return {}
    share, rest = divmod(rows, processes)
    if not rest:
        # As large as the config allows: what fits into memory was tried with that.
        new_size = next(n for n in range(min(size, share), 0, -1) if share % n == 0)
        changed = {
            "per_device_train_batch_size": new_size,
            "gradient_accumulation_steps": share // new_size,
        }
        # By default it is the same as gradient_accumulation_steps.
        if given.get("steps_per_generation"):
            generated = given["steps_per_generation"] * rows // num_parts
            changed["steps_per_generation"], rest = divmod(generated, new_size * processes)
    if rest:
        raise ConfigError(
            f"{section}: the training that is continued has steps of {rows} rows, which "
            f"{processes} processes cannot share evenly. Start another number of processes, or "
            "remove the folder `work` of the run to begin again."
        )
    logger.info("%s: continued with %s, for steps of %d rows as before.", section, changed, rows)
    return changed


def has_fast_bf16() -> bool:
    """Return whether this CPU multiplies bfloat16 in hardware; others emulate it, slowly."""
    cpu = torch.cpu
    return cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported()


def _require_types(kind: type, section: str, settings: dict[str, Any]) -> None:
    """Raise `ConfigError` for a value of another type than TRL's class declares, and for odd seeds.

    TRL checks no types, so that such a mistake would end in an exception somewhere in training.
    """
    types = get_type_hints(kind)
    for name, value in settings.items():
        # `int | None` gives {int, NoneType}; a plain type such as `int` has no arguments.
        allowed = set(get_args(types[name])) or {types[name]}
        is_number = allowed <= {int, float, bool, type(None)}
        if is_number and not isinstance(value, int | float | None):
            wanted = "true or false" if bool in allowed else "a number"
            raise ConfigError(f"{section}.{name}: found {value!r}; allowed: {wanted}.")
        if allowed <= {str, type(None)} and not isinstance(value, str | None):
            raise ConfigError(f"{section}.{name}: found {value!r}; allowed: a text.")
        if name in ("seed", "data_seed") and not 0 <= (value or 0) <= MAX_SEED:
            raise ConfigError(f"{section}.{name}: found {value}; allowed: 0 to {MAX_SEED}.")
    if settings.get("save_only_model"):
        raise ConfigError(
            f"{section}.save_only_model: found true; a killed training could not continue from its "
            "checkpoints. Leave it out; save_total_limit: 1 takes less room."
        )


def _require_packages(section: str, settings: dict[str, Any]) -> None:
    """Raise `ConfigError` for a setting whose package is not installed, with the line to do so."""
    asked: dict[str, str] = {}
    reports = settings.get("report_to") or []
    for name in map(str, reports if isinstance(reports, list) else [reports]):
        if name in ("none", "all"):
            continue
        if name not in INTEGRATION_TO_CALLBACK:
            allowed = ", ".join(["none", "all", *INTEGRATION_TO_CALLBACK])
            raise ConfigError(f"{section}.report_to: found {name!r}; allowed: {allowed}.")
        asked[f"report_to: {name}"] = _TRACKERS.get(name, name)
    asked |= {name: package for name, package in _PACKAGES.items() if settings.get(name)}
    # Optimizers such as adamw_8bit, adamw_bnb_8bit and paged_adamw_32bit.
    if re.search("8bit|bnb|paged", str(settings.get("optim", ""))):
        asked[f"optim: {settings['optim']}"] = "bitsandbytes"
    # Its keys are those of Transformers' BitsAndBytesConfig.
    if re.search("load_in_[48]bit", str(settings.get("model_init_kwargs"))):
        asked["model_init_kwargs"] = "bitsandbytes"
    for setting, package in asked.items():
        require_package(package, f"{section}.{setting}")


def make_lora_config(settings: dict[str, Any] | None) -> Any | None:
    """Return PEFT's `LoraConfig` of the section `train.lora`, or `None` without that section."""
    if settings is None:
        return None
    from peft import LoraConfig

    try:
        return LoraConfig(**{"task_type": "CAUSAL_LM"} | settings)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"train.lora: LoraConfig of PEFT refuses it: {error}") from error


def check_lora(settings: dict[str, Any] | None, model: PreTrainedModel) -> None:
    """Raise `ConfigError` if PEFT cannot add the adapters of `train.lora` to the model.

    Args:
        settings: The section.
        model: The model without weights, see `check_model`. It gets the adapters.
    """
    lora = make_lora_config(settings)
    if lora is None:
        return
    from peft import get_peft_model

    try:
        names = get_peft_model(model, lora).base_model.targeted_module_names
    except Exception as error:  # PEFT checks no types either
        raise ConfigError(f"train.lora: PEFT cannot add it to the model: {error}") from error
    if any(name.split(".")[-1] == "lm_head" for name in names):
        raise ConfigError(
            "train.lora.target_modules: names lm_head, whose adapter TRL would not train. Leave "
            "it out."
        )


def make_sft_arguments(config: Config, work: Path) -> SFTConfig:
    """Return TRL's arguments: the user's `distill.sft` over our presets."""
    return make_arguments(
        SFTConfig,
        "distill.sft",
        config.distill.sft,
        presets={
            # TRL would cut rows off; `require_room` refuses those that do not fit instead.
            "max_length": None,
            # Random rows, sorted by length within a step: steps of like length teach to stop early.
            "train_sampling_strategy": "batch_rebalance",
            # A share of all steps: ten checkpoints, however long the training is.
            "save_steps": 0.1,
            "logging_steps": 10,
            "seed": config.seed,
        },
        required={"output_dir": str(work)},
    )


def make_grpo_arguments(
    config: Config, work: Path, *, num_problems: int, terms: WeightedTerms | None = None
) -> GRPOConfig:
    """Return TRL's arguments: the user's `train.grpo` over our presets, and what the method needs.

    The number of steps is always explicit, since the fade must know the end of training.

    Args:
        config: The settings.
        work: Where checkpoints go.
        num_problems: Number of training problems, which makes an epoch.
        terms: The reward terms; by default the built-in ones.
    """
    settings = config.train.grpo
    terms = weigh_terms(config.train.reward) if terms is None else terms
    required = {
        "output_dir": str(work),
        # The reward functions need our columns.
        "remove_unused_columns": False,
        # The order of the rows is laid out in full by `order_rows`.
        "shuffle_dataset": False,
        "reward_weights": [weight for weight, _ in terms.values()],
    }
    if settings.get("sync_ref_model"):
        # No checkpoint holds the reference, so that an interrupted training begins again.
        required["save_strategy"] = "no"
    try:
        arguments = make_arguments(
            GRPOConfig,
            "train.grpo",
            settings,
            presets={"logging_steps": 1, "seed": config.seed},
            required=required,
        )
    except ConfigError as error:
        if "divisible by num_generations" not in str(error):
            raise
        raise ConfigError(
            f"{error} A generation has per_device_train_batch_size x gradient_accumulation_steps x "
            "processes completions, num_generations for each prompt. Try a multiple of "
            "num_generations as per_device_train_batch_size."
        ) from None
    _require_compatible(config, arguments)
    # TRL's default of -1 means that epochs decide.
    if arguments.max_steps <= 0:
        generations = arguments.num_train_epochs * num_problems / count_prompts(arguments)
        arguments.max_steps = max(1, math.ceil(generations * count_steps(arguments)))
    _set_save_steps(arguments, is_given="save_steps" in settings)
    return arguments


def _require_compatible(config: Config, arguments: GRPOConfig) -> None:
    """Raise `ConfigError` for settings that exclude each other."""
    fade = config.train.fade
    is_server = arguments.use_vllm and arguments.vllm_mode == "server"
    if fade.mode == "in_group" and is_server:
        raise ConfigError(
            "train.fade.mode: found in_group with train.grpo.vllm_mode: server, which sends one "
            "prompt per group, while in_group shows routes to some of its copies only. Allowed "
            "with a server: routes, chance, both. Or set vllm_mode: colocate."
        )
    if fade.transfer and config.prompt.think_end:
        raise ConfigError(
            f"train.fade.transfer: found {fade.transfer:g} with prompt.think_end. Private thinking "
            "about routes cannot be credited to a prompt without them, and leaving it out would "
            "teach the model not to think. Set it to 0."
        )


def _set_save_steps(arguments: GRPOConfig, *, is_given: bool) -> None:
    """Make checkpoints fall on the start of a generation; raise `ConfigError` if the user's do not.

    A run resumed in the middle of a generation would have to sample it anew.
    """
    # Below 1 if a step takes several generations: then every step begins one.
    window = max(1, round(count_steps(arguments)))
    # About 20 checkpoints in a run, each on the start of a generation.
    if not is_given:
        arguments.save_steps = math.ceil(arguments.max_steps / 20 / window) * window
    every = arguments.save_steps
    if every < 1:  # a share of all steps
        every = math.ceil(arguments.max_steps * every)
    if arguments.save_strategy == "steps" and every % window:
        nearest = max(1, round(every / window)) * window
        raise ConfigError(
            f"train.grpo.save_steps: found {every}; one generation lasts {window} steps, so a run "
            f"continued from there would sample anew in the middle of one. Allowed: multiples of "
            f"{window}. Try {nearest}."
        )


def count_rollouts(arguments: GRPOConfig) -> int:
    """Return how many completions the whole training samples."""
    num_generations = math.ceil(arguments.max_steps / count_steps(arguments))
    return num_generations * count_prompts(arguments) * (arguments.num_generations or 1)


def count_prompts(arguments: GRPOConfig) -> int:
    """Return how many different prompts one generation samples."""
    # TRL declares as optional what it always sets in __post_init__.
    assert arguments.generation_batch_size and arguments.num_generations
    return arguments.generation_batch_size // arguments.num_generations


def count_steps(arguments: GRPOConfig) -> float:
    """Return how many optimizer steps one generation lasts; below 1 if a step takes several."""
    assert arguments.steps_per_generation
    # num_iterations is how often the same completions are learned from.
    micro_batches = arguments.steps_per_generation * arguments.num_iterations
    return micro_batches / arguments.gradient_accumulation_steps
