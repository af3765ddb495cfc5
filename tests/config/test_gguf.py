"""A GGUF file becomes a Transformers checkpoint once, or an error says what is wrong with it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from realm.config.gguf import find_gguf, resolve_gguf
from realm.config.root import load_config
from realm.core.errors import ConfigError, ModelError
from realm.policy import Policy
from tiny import make_tiny

gguf = pytest.importorskip("gguf", reason="needs the package gguf: pip install 'realm-slm[gguf]'")

LAYER = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""Names of the weights of a layer in GGUF and in Transformers."""


def write_gguf(
    checkpoint: Path, file: Path, *, architecture="llama", without="none", quantization="F32"
) -> Path:
    """Write a tiny Llama checkpoint as llama.cpp would."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    config = model.config
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    # GGUF holds no empty list of merges. No text has the byte 255, so its token can be a merge.
    tokens[tokens.index("ÿ")] = "zq"
    special = set(tokenizer.all_special_ids)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if place in special else 1 for place in range(len(tokens))])
    writer.add_token_merges(["z q"])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_chat_template(tokenizer.chat_template)
    kind = gguf.GGMLQuantizationType[quantization]
    for name, weight in name_weights(model).items():
        if name.startswith(without):
            continue
        values = weight.detach().numpy()
        if values.ndim == 2:
            values = gguf.quants.quantize(values, kind)
            writer.add_tensor(name, values, raw_dtype=kind)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def name_weights(model) -> dict[str, torch.Tensor]:
    """Return the weights by their GGUF names, with the rows of Q and K in llama.cpp's order."""
    state, config = model.state_dict(), model.config
    found = {
        "token_embd.weight": state["model.embed_tokens.weight"],
        "output_norm.weight": state["model.norm.weight"],
    }
    for number in range(config.num_hidden_layers):
        for short, long in LAYER.items():
            weight = state[f"model.layers.{number}.{long}.weight"]
            heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
            if short in heads:
                rows, columns = weight.shape
                halves = weight.reshape(heads[short], 2, -1, columns)
                weight = halves.transpose(1, 2).reshape(rows, columns)
            found[f"blk.{number}.{short}.weight"] = weight.contiguous()
    return found


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("gguf") / "llama", "llama")


@pytest.fixture
def file(checkpoint, tmp_path) -> Path:
    return write_gguf(checkpoint, tmp_path / "tiny.Q8.gguf")


def test_a_converted_file_is_the_same_model(checkpoint, file):
    folder = Path(resolve_gguf(file))
    assert folder == file.parent / "tiny.Q8.converted"
    assert sorted(path.name for path in file.parent.iterdir() if path.suffix != ".lock") == [
        "tiny.Q8.converted",
        "tiny.Q8.gguf",
    ]
    ids = torch.arange(40)[None]
    logits = [AutoModelForCausalLM.from_pretrained(one)(ids).logits for one in (checkpoint, folder)]
    torch.testing.assert_close(logits[0], logits[1], rtol=0, atol=1e-5)
    texts = ["What is 2 + 2?", "a\n\nb"]
    tokenizers = [AutoTokenizer.from_pretrained(one) for one in (checkpoint, folder)]
    assert tokenizers[0](texts)["input_ids"] == tokenizers[1](texts)["input_ids"]
    # Transformers adds the token <|endoftext|>, for which the model has no embedding.
    assert len(tokenizers[0]) == len(tokenizers[1])
    settings = json.loads((folder / "config.json").read_text())
    assert settings["dtype"] == "float32" and "quantization_config" not in settings


def test_quantized_weights_are_near_those_they_were_made_from(checkpoint, tmp_path):
    folder = Path(resolve_gguf(write_gguf(checkpoint, tmp_path / "q.gguf", quantization="Q4_1")))
    weights = [
        AutoModelForCausalLM.from_pretrained(one).get_input_embeddings().weight
        for one in (checkpoint, folder)
    ]
    assert not torch.equal(*weights)
    torch.testing.assert_close(*weights, rtol=0, atol=0.01)


def test_a_file_is_converted_again_only_when_it_changed(checkpoint, file):
    folder = Path(resolve_gguf(file))
    made = (folder / "model.safetensors").stat().st_mtime_ns
    assert resolve_gguf(file) == str(folder)
    assert (folder / "model.safetensors").stat().st_mtime_ns == made
    os.utime(file, ns=(1, 1))
    resolve_gguf(file)
    assert (folder / "model.safetensors").stat().st_mtime_ns != made


def test_a_policy_and_a_config_take_a_file_or_its_folder(file, tmp_path):
    policy = Policy(file)
    [said] = policy.generate([policy.render("Hi")], max_new_tokens=3, batch_tokens=99, seed=1)
    assert said.num_tokens <= 3
    for model in (file.name, "."):
        config = tmp_path / "config.yaml"
        config.write_text(f"model: {model}\n")
        assert Path(load_config(config).resolve_model()).name == "tiny.Q8.converted"
    config.write_text("model: other.gguf\n")
    with pytest.raises(ConfigError, match=r"no folder or GGUF file .*other\.gguf"):
        load_config(config).resolve_model()


def test_the_file_is_named_when_a_folder_holds_several(file):
    assert find_gguf(file.parent) == file
    shutil.copy(file, file.with_name("b.gguf"))
    with pytest.raises(ModelError, match=r"Name one of them: b\.gguf, tiny\.Q8\.gguf"):
        resolve_gguf(file.parent)
    (file.parent / "config.json").touch()  # then it is a checkpoint, whatever else it holds
    assert find_gguf(file.parent) is None


def test_nothing_is_left_of_a_file_that_cannot_be_converted(checkpoint, file, tmp_path):
    whole = file.read_bytes()
    wrong = {
        "torn.gguf": (whole[: len(whole) // 2], r"cannot be converted .*fetch it again"),
        "torn-header.gguf": (whole[:100], r"cannot be converted .*fetch it again"),
        "empty.gguf": (b"", "is not a GGUF file"),
        "other.gguf": (b"PK\x03\x04 zip", "is not a GGUF file"),
    }
    for name, (content, message) in wrong.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match=rf"(?s){name}.*{message}"):
            resolve_gguf(tmp_path / name)
    unknown = write_gguf(checkpoint, tmp_path / "unknown.gguf", architecture="rwkv7")
    with pytest.raises(ModelError, match=r"rwkv7.*reads these architectures from GGUF: .*llama"):
        resolve_gguf(unknown)
    part = write_gguf(checkpoint, tmp_path / "part.gguf", without="blk.1.")
    with pytest.raises(ModelError, match=r"lacks 9 weights .*layers\.1.*split GGUF"):
        resolve_gguf(part)
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".converted", ".part")]


def test_the_package_that_reads_it_is_named(file, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r'pip install "realm-slm\[gguf\]"'):
        resolve_gguf(file)
