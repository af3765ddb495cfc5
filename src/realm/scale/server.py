"""Check vLLM for rollouts before any stage has spent time: the device, the server, its model.

TRL's `VLLMClient` speaks to the server in training. The addresses read here are those it needs.
"""

from __future__ import annotations

import json
import logging
import shlex
import time
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import urlopen

from realm.core.errors import ConfigError

if TYPE_CHECKING:
    from trl import GRPOConfig

logger = logging.getLogger(__name__)

_REQUEST_SECONDS = 10.0
_PAUSE_SECONDS = 2.0


def check_vllm(arguments: GRPOConfig, model: str) -> None:
    """Raise `ConfigError` if vLLM could not do the rollouts of `train.grpo`.

    Args:
        arguments: TRL's arguments of the training.
        model: The model that training starts from, or whose distilled copy it starts from.
    """
    if not arguments.use_vllm:
        return
    kind = arguments.device.type
    if kind == "cpu":
        raise ConfigError(
            "train.grpo.use_vllm: needs a GPU, and this process has none. Start it on a machine "
            "with a GPU, or set use_vllm: false for rollouts by Transformers."
        )
    if arguments.vllm_mode != "server":
        return
    if kind != "cuda":
        raise ConfigError(
            f"train.grpo.vllm_mode: found server; TRL sends weights to a server from CUDA devices "
            f"only, and this process has {kind}. Set vllm_mode: colocate."
        )
    # Only the main process talks to the server.
    if arguments.process_index == 0:
        _check_server(arguments, model)


def _check_server(arguments: GRPOConfig, model: str) -> None:
    url = arguments.vllm_server_base_url
    url = (url or f"http://{arguments.vllm_server_host}:{arguments.vllm_server_port}").rstrip("/")
    start = _write_command(model)
    _wait_until_up(url, arguments.vllm_server_timeout, start)
    served = _get(url, "/v1/models", start, "data", 0)
    _check_model(served, model, url, start)
    needed, longest = arguments.max_completion_length, served.get("max_model_len")
    if needed and longest and needed >= longest:
        raise ConfigError(
            f"train.grpo.max_completion_length: found {needed}; the vLLM server at {url} takes "
            f"{longest} tokens, prompt and completion together. Lower it, or start the server "
            "with a larger --max-model-len."
        )
    info = _get(url, "/server_info?config_format=json", start, "vllm_config")
    if not info.get("weight_transfer_config"):
        raise ConfigError(
            f"train.grpo.vllm_mode: the vLLM server at {url} takes no weights. Start it with: "
            f"{start}"
        )
    mode = (info.get("model_config") or {}).get("logprobs_mode", "processed_logprobs")
    if arguments.vllm_importance_sampling_correction and mode != "processed_logprobs":
        raise ConfigError(
            f"train.grpo.vllm_importance_sampling_correction: the vLLM server at {url} has "
            f"--logprobs-mode {mode}, which biases it. Start it with: {start}. Or set the "
            "correction to false."
        )


def _wait_until_up(url: str, seconds: float, start: str) -> None:
    """Wait for the server as long as TRL would; `ConfigError` if it does not come up."""
    deadline, is_told = time.monotonic() + seconds, False
    while True:
        try:
            with urlopen(f"{url}/health", timeout=_REQUEST_SECONDS):
                return
        except (OSError, ValueError) as error:  # refused, unreachable, not ready; no address
            reason = str(getattr(error, "reason", error))
        if time.monotonic() >= deadline:
            raise ConfigError(
                f"train.grpo.vllm_mode: no vLLM server answers at {url} ({reason}). Start it on "
                f"GPUs of its own: {start}. Or set vllm_server_base_url, or vllm_mode: colocate."
            )
        if not is_told:
            logger.info("check    waiting up to %.0f s for the vLLM server at %s", seconds, url)
            is_told = True
        time.sleep(_PAUSE_SECONDS)


def _get(url: str, path: str, start: str, *keys: str | int) -> dict[str, Any]:
    """Return the object at `keys` in the JSON that the server sends for a path."""
    try:
        with urlopen(url + path, timeout=_REQUEST_SECONDS) as response:
            found = json.load(response)
        for key in keys:
            found = found[key]
        if isinstance(found, dict):
            return found
        reason = "another form of JSON"
    except HTTPError as error:
        # What trainers use is behind vLLM's switch for development.
        reason = f"HTTP {error.code}"
    except (OSError, ValueError) as error:
        reason = str(error)
    except (LookupError, TypeError):
        reason = "another form of JSON"
    raise ConfigError(
        f"train.grpo.vllm_mode: the server at {url} does not answer {path.partition('?')[0]} as "
        f"vLLM does for TRL ({reason}). Start it with: {start}"
    )


def _check_model(served: dict[str, Any], model: str, url: str, start: str) -> None:
    """Raise `ConfigError` if the server has another model. Names count, paths may differ."""
    names = {_name_model(str(served.get(key))) for key in ("id", "root")}
    if _name_model(model) not in names:
        raise ConfigError(
            f"train.grpo.vllm_mode: the vLLM server at {url} serves {served.get('id')}, and this "
            f"run trains {model}. Start it with: {start}. If both are the same model, add "
            f"--served-model-name {shlex.quote(PurePath(model).name)}."
        )


def _name_model(model: str) -> str:
    """Return the last part of a hub id or a path, also of a path in the cache of the hub.

    >>> _name_model("Qwen/Qwen3-0.6B")
    'Qwen3-0.6B'
    >>> _name_model("/cache/models--Qwen--Qwen3-0.6B/snapshots/c1899de2/")
    'Qwen3-0.6B'
    """
    path = PurePath(model)
    cached = [part for part in path.parts if part.startswith("models--")]
    return cached[-1].split("--")[-1] if cached else path.name


def _write_command(model: str) -> str:
    """Return the command that serves a model for TRL's trainers."""
    return (
        f"VLLM_SERVER_DEV_MODE=1 vllm serve {shlex.quote(model)} --weight-transfer-config "
        """'{"backend": "nccl"}' --logprobs-mode processed_logprobs"""
    )
