"""What is wrong with vLLM for rollouts is said before a stage begins."""

from types import SimpleNamespace

import pytest

from realm.core.errors import ConfigError
from realm.scale import server
from realm.scale.server import check_vllm
from vllm_server import VllmServer

MODEL = "Qwen/Qwen3-0.6B"


@pytest.fixture
def vllm():
    with VllmServer(MODEL) as running:
        yield running


def arguments(url="", **changed):
    settings = {
        "use_vllm": True,
        "vllm_mode": "server",
        "device": SimpleNamespace(type="cuda"),
        "process_index": 0,
        "vllm_server_base_url": url,
        "vllm_server_timeout": 0.0,
        "max_completion_length": 256,
        "vllm_importance_sampling_correction": True,
    }
    return SimpleNamespace(**settings | changed)


def get_message(*given, **changed):
    with pytest.raises(ConfigError) as caught:
        check_vllm(arguments(*given, **changed), MODEL)
    return str(caught.value)


def test_a_server_that_serves_the_model_for_trainers_is_fine(vllm):
    check_vllm(arguments(vllm.url), MODEL)
    assert vllm.calls == [], "nothing is changed on the server"


def test_rollouts_without_vllm_are_not_checked():
    check_vllm(arguments(use_vllm=False, device=SimpleNamespace(type="cpu")), MODEL)


@pytest.mark.parametrize("mode", ["server", "colocate"])
def test_a_process_without_a_gpu_is_refused(mode):
    message = get_message(vllm_mode=mode, device=SimpleNamespace(type="cpu"))
    assert "needs a GPU" in message and "use_vllm: false" in message


def test_a_server_takes_weights_from_cuda_only():
    assert "colocate" in get_message(device=SimpleNamespace(type="xpu"))
    check_vllm(arguments(vllm_mode="colocate", device=SimpleNamespace(type="xpu")), MODEL)


def test_a_server_that_is_not_there_is_named_with_the_command_that_starts_it():
    message = get_message("http://127.0.0.1:9")
    assert "no vLLM server answers at http://127.0.0.1:9 (" in message
    assert f"VLLM_SERVER_DEV_MODE=1 vllm serve {MODEL} --weight-transfer-config" in message
    assert "no vLLM server answers at nonsense" in get_message("nonsense")


def test_host_and_port_are_used_without_a_whole_address():
    message = get_message(None, vllm_server_host="127.0.0.1", vllm_server_port=9)
    assert "answers at http://127.0.0.1:9 (" in message


def test_a_server_that_still_loads_is_waited_for(vllm, monkeypatch):
    monkeypatch.setattr(server, "_PAUSE_SECONDS", 0.01)
    vllm.failures = 3
    check_vllm(arguments(vllm.url, vllm_server_timeout=60.0), MODEL)
    vllm.failures = 3
    assert "(Service Unavailable)" in get_message(vllm.url)


def test_another_model_is_refused(vllm):
    vllm.card = {"id": "Qwen/Qwen3-1.7B", "root": "Qwen/Qwen3-1.7B"}
    message = get_message(vllm.url)
    assert "serves Qwen/Qwen3-1.7B, and this run trains Qwen/Qwen3-0.6B" in message
    assert "--served-model-name Qwen3-0.6B" in message


@pytest.mark.parametrize(
    "card",
    [
        {"id": "alias", "root": "/models/Qwen3-0.6B"},
        {"id": "Qwen3-0.6B", "root": "/data/x"},
        {"id": "alias", "root": "/cache/models--Qwen--Qwen3-0.6B/snapshots/c1899de2"},
    ],
)
def test_the_same_model_at_another_path_is_fine(vllm, card):
    vllm.card = card
    check_vllm(arguments(vllm.url), MODEL)


def test_completions_that_the_server_cannot_hold_are_refused(vllm):
    vllm.card["max_model_len"] = 256
    message = get_message(vllm.url)
    assert "max_completion_length: found 256" in message and "--max-model-len" in message


def test_a_server_without_the_endpoints_of_trainers_is_refused(vllm):
    vllm.info = None
    message = get_message(vllm.url)
    assert "/server_info" in message and "HTTP 404" in message
    assert "VLLM_SERVER_DEV_MODE=1" in message


def test_a_server_that_takes_no_weights_is_refused(vllm):
    vllm.info["weight_transfer_config"] = None
    assert "takes no weights" in get_message(vllm.url)


def test_log_probabilities_before_temperature_are_refused_where_they_matter(vllm):
    vllm.info["model_config"]["logprobs_mode"] = "raw_logprobs"
    assert "--logprobs-mode raw_logprobs" in get_message(vllm.url)
    check_vllm(arguments(vllm.url, vllm_importance_sampling_correction=False), MODEL)


@pytest.mark.parametrize("card", [None, [], "x"])
def test_a_server_of_another_kind_is_refused(vllm, card):
    vllm.card = card
    assert "does not answer /v1/models as vLLM does" in get_message(vllm.url)


def test_only_the_main_process_asks_the_server():
    check_vllm(arguments("http://127.0.0.1:9", process_index=1), MODEL)
