"""GGUF files: every weight and every token comes back, and what cannot be written is refused."""

import json
import os
import stat
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import tiny
from finished_run import BASE
from realm.config.gguf import _make_splitter, resolve_gguf
from realm.core.errors import ModelError
from realm.deploy.gguf import find_word_split, write_gguf
from tiny import add_merge, make_tiny

pytest.importorskip("gguf", reason="needs the package gguf: pip install 'realm-slm[gguf]'")


@pytest.fixture(autouse=True)
def _no_llama_cpp(monkeypatch):
    monkeypatch.delenv("LLAMA_CPP", raising=False)
    monkeypatch.setattr("shutil.which", lambda name: None)


def check_round_trip(model, file):
    again = resolve_gguf(file)
    wanted = AutoModelForCausalLM.from_pretrained(model).state_dict()
    found = AutoModelForCausalLM.from_pretrained(again).state_dict()
    assert wanted.keys() == found.keys()
    assert [name for name in wanted if not torch.equal(wanted[name].float(), found[name])] == []
    first, second = (AutoTokenizer.from_pretrained(folder) for folder in (model, again))
    text = "Ann pays 37 of 95.\n<reason>é x</reason>" + first.eos_token
    assert second(text)["input_ids"] == first(text)["input_ids"]
    messages = [{"role": "user", "content": "Hi"}]
    chats = [one.apply_chat_template(messages, tokenize=False) for one in (first, second)]
    assert chats[0] == chats[1]


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
def test_weights_tokens_and_template_come_back(tmp_path, monkeypatch, architecture):
    if architecture == "qwen3":  # of which Transformers takes heads of any other size for 128
        monkeypatch.setitem(tiny._SHAPE, "head_dim", 128)
    model = make_tiny(tmp_path / "model", architecture)
    add_merge(model)
    write_gguf(model, tmp_path / "x.gguf", "f32")
    check_round_trip(model, tmp_path / "x.gguf")


def test_tokens_that_were_added_without_being_special_come_back(tmp_path):
    write_gguf(BASE, tmp_path / "x.gguf", "f32")
    check_round_trip(BASE, tmp_path / "x.gguf")


@pytest.mark.parametrize("kind", ["f16", "bf16", "q8_0", "q4_0"])
def test_smaller_types_are_near_the_weights(tmp_path, kind):
    write_gguf(BASE, tmp_path / "x.gguf", kind)
    found = AutoModelForCausalLM.from_pretrained(resolve_gguf(tmp_path / "x.gguf")).state_dict()
    wanted = AutoModelForCausalLM.from_pretrained(BASE).state_dict()
    name = "model.layers.1.mlp.up_proj.weight"
    error = (wanted[name] - found[name]).norm() / wanted[name].norm()
    assert 0 < error < {"f16": 1e-3, "bf16": 1e-2, "q8_0": 1e-2, "q4_0": 0.12}[kind]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "gemma3_text"}, "cannot write the architecture 'gemma3_text'"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1.0}}, "cannot write scaled"),
    ],
)
def test_a_model_that_the_package_cannot_write_is_refused(tmp_path, change, message):
    model = make_tiny(tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ModelError, match=message) as error:
        write_gguf(model, tmp_path / "x.gguf", "f32")
    assert "LLAMA_CPP" in str(error.value) and not (tmp_path / "x.gguf").exists()


def test_an_unknown_type_names_those_there_are(tmp_path):
    with pytest.raises(ModelError, match="q4_k_m: the package gguf does not write this type"):
        write_gguf(BASE, tmp_path / "x.gguf", "q4_k_m")


def test_how_a_tokenizer_splits_words_is_told(tmp_path):
    assert find_word_split(BASE) == "qwen2"
    model = make_tiny(tmp_path / "model")
    assert find_word_split(model) == "gpt-2"
    path = model / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["pre_tokenizer"] = {"type": "Whitespace"}
    path.write_text(json.dumps(tokenizer))
    assert find_word_split(model) is None


@pytest.mark.parametrize("name", ["gpt-2", "smollm", "qwen2", "llama-bpe"])
def test_how_a_tokenizer_splits_words_comes_back(tmp_path, name):
    model = make_tiny(tmp_path / "model", "llama")
    add_merge(model)
    path = model / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["pre_tokenizer"] = _make_splitter(name) or tokenizer["pre_tokenizer"]
    path.write_text(json.dumps(tokenizer))
    assert find_word_split(model) == name
    write_gguf(model, tmp_path / "x.gguf", "f32")
    again = Path(resolve_gguf(tmp_path / "x.gguf"))
    assert find_word_split(again) == name


def write_program(path, text):
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_llama_cpp_is_used_where_it_is(tmp_path, monkeypatch):
    folder = tmp_path / "llama.cpp"
    folder.mkdir()
    monkeypatch.setenv("LLAMA_CPP", str(folder))
    write_program(
        folder / "convert_hf_to_gguf.py",
        "import sys; a = sys.argv\n"
        "open(a[a.index('--outfile') + 1], 'w').write(' '.join(a[1:2] + a[-1:]))\n",
    )
    write_gguf(BASE, tmp_path / "x.gguf", "q8_0")
    assert (tmp_path / "x.gguf").read_text() == f"{BASE} q8_0"
    with pytest.raises(ModelError, match="llama-quantize, which is not on the PATH"):
        write_gguf(BASE, tmp_path / "y.gguf", "q4_k_m")
    write_program(folder / "llama-quantize", '#!/bin/sh\n(cat $1; echo " $3") > $2\n')
    write_gguf(BASE, tmp_path / "y.gguf", "q4_k_m")
    assert (tmp_path / "y.gguf").read_text().split()[1:] == ["f32", "q4_k_m"]
    assert sorted(os.listdir(tmp_path)) == ["llama.cpp", "x.gguf", "y.gguf"]


def test_a_converter_that_fails_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("LLAMA_CPP", str(tmp_path))
    write_program(tmp_path / "convert_hf_to_gguf.py", "raise SystemExit('unknown model')\n")
    with pytest.raises(ModelError, match=r"convert_hf_to_gguf\.py failed: unknown model"):
        write_gguf(BASE, tmp_path / "x.gguf", "f16")
