"""Rollouts by a vLLM server: TRL's client against a server on this machine that speaks as vLLM.

vLLM and NCCL need a GPU. Here the package is said to be there, and the weights, which NCCL would
send, are handed over; what TRL asks of the server is sent as it is.
"""

import contextlib

import pytest
import torch
from trl.generation import vllm_client, vllm_generation
from trl.generation.vllm_client import VLLMClient

from realm.core.errors import ConfigError
from realm.core.jsonl import read_jsonl
from realm.train import rl
from tiny import make_tiny
from tiny_rl import GRPO, TRAIN, make_config, make_run
from vllm_server import VllmServer

torch.set_num_threads(1)


@pytest.fixture
def vllm(tmp_path, monkeypatch):
    """Give a server that has other weights than the trainer begins with."""
    make_tiny(tmp_path / "model")
    make_tiny(tmp_path / "other", seed=1)
    with VllmServer(str(tmp_path / "model")) as server:
        server.load(tmp_path / "other")
        monkeypatch.setattr("realm.core.errors.find_spec", lambda name: True)
        for module in (vllm_client, vllm_generation):
            monkeypatch.setattr(module, "is_vllm_available", lambda *_, **__: True)

        def join(client, device):
            assert client.get_server_info()["weight_transfer_config"] is not None
            assert client.get_world_size() == 1

        def send(client, metadata, named_params):
            names, types, shapes = (list(part) for part in zip(*metadata, strict=True))
            info = {"names": names, "dtype_names": types, "shapes": shapes}
            client._start_weight_update()
            client._post(f"{client.base_url}/update_weights", json={"update_info": info})
            server.receive(named_params)
            client._finish_weight_update()

        monkeypatch.setattr(VLLMClient, "init_communicator", join)
        monkeypatch.setattr(VLLMClient, "update_named_params", send)
        yield server


@pytest.fixture
def generations(vllm, monkeypatch):
    """Give, for each generation: are all weights compared, their largest gap, and their sum."""
    seen = []
    generate = vllm_generation.VLLMGeneration.generate

    def spy(self, *args, **kwargs):
        names = dict(vllm.model.named_parameters())
        with merged(self.model) as weights:
            gaps = [(value - names[name]).abs().max().item() for name, value in weights.items()]
            total = sum(value.double().abs().sum().item() for value in weights.values())
        seen.append((len(gaps) == len(names), max(gaps), total))
        return generate(self, *args, **kwargs)

    monkeypatch.setattr(vllm_generation.VLLMGeneration, "generate", spy)
    return seen


@contextlib.contextmanager
def merged(model):
    """Give the weights of a model by their names without an adapter, the adapter merged in."""
    is_adapted = hasattr(model, "merge_adapter")
    if is_adapted:
        model.merge_adapter()
    names = {
        name.removeprefix("base_model.model.").replace(".base_layer", ""): value.detach()
        for name, value in model.named_parameters()
        if "lora_" not in name
    }
    yield names
    if is_adapted:
        model.unmerge_adapter()


def make(tmp_path, vllm, *, name="run", **train):
    grpo = GRPO | {"use_vllm": True, "vllm_mode": "server", "vllm_server_base_url": vllm.url}
    return make_run(
        tmp_path, make_config(tmp_path, train=TRAIN | {"grpo": grpo} | train), name=name
    )


@pytest.mark.slow
@pytest.mark.parametrize("lora", [None, {"r": 4, "target_modules": "all-linear"}])
def test_the_server_has_the_weights_of_the_trainer_at_every_generation(
    tmp_path, vllm, generations, lora
):
    run = make(tmp_path, vllm, lora=lora)
    # The answers of a random model are all wrong, and teach nothing.
    run.reward_terms = {"letters": (1.0, lambda judged: float(sum(map(ord, judged.text)) % 97))}
    rl.run_train(run)
    assert all(is_whole and gap < 1e-6 for is_whole, gap, _ in generations)
    assert len({total for _, _, total in generations}) == 3, "each step changes the weights"
    one_step = [
        "/start_weight_update",
        "/update_weights",
        "/finish_weight_update",
        "/reset_prefix_cache",
        "/v1/completions",
    ]
    assert [path for path, _ in vllm.calls] == one_step * 3


def test_a_prompt_is_sent_once_for_its_group_and_its_completions_are_learned_from(tmp_path, vllm):
    run = make(tmp_path, vllm)
    rl.run_train(run)
    asked = [body for path, body in vllm.calls if path == "/v1/completions"]
    # Four rows are two prompts with two completions each.
    assert [(len(body["prompt"]), body["n"], body["max_tokens"]) for body in asked] == [
        (2, 2, 6)
    ] * 3
    assert all(body["temperature"] == 1.0 and body["top_p"] == 1.0 for body in asked)
    assert {row["step"] for row in read_jsonl(run.path("rollouts/samples.jsonl"))} == {1, 2, 3}


def test_the_server_is_checked_before_the_first_stage(tmp_path, vllm):
    run = make(tmp_path, vllm)
    with pytest.raises(ConfigError, match=r"train\.grpo\.use_vllm: needs a GPU"):
        rl.check_train(run)
