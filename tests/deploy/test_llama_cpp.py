"""GGUF files in llama.cpp itself. Needs `pip install xllamacpp`, which no extra names."""

import json
import urllib.request

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from finished_run import BASE
from realm.deploy.gguf import write_gguf
from tiny import add_merge, make_tiny

pytest.importorskip("gguf", reason="needs the package gguf: pip install 'realm-slm[gguf]'")
llama_cpp = pytest.importorskip("xllamacpp", reason="needs llama.cpp: pip install xllamacpp")

PROMPT = "<reason>\nAnn pays 37 of 95.\n[12] fee 48 é</reason>"


def start_server(file):
    parameters = llama_cpp.CommonParams()
    parameters.model.path = str(file)
    parameters.n_ctx = 512
    parameters.warmup = False
    # Exact, as in Transformers: by default the cache is kept in 16 bits.
    parameters.cache_type_k = parameters.cache_type_v = llama_cpp.ggml_type.GGML_TYPE_F32
    return llama_cpp.Server(parameters)


def ask(server, path, **body):
    request = urllib.request.Request(
        server.listening_address + path,
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.load(reply)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3", "base-1m"])
def test_llama_cpp_reads_the_same_tokens_and_writes_the_same_completion(tmp_path, architecture):
    folder = BASE
    if architecture != "base-1m":
        folder = make_tiny(tmp_path / "model", architecture)
        add_merge(folder)
    write_gguf(folder, tmp_path / "x.gguf", "f32")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(PROMPT + tokenizer.eos_token)["input_ids"]
    server = start_server(tmp_path / "x.gguf")
    text = {"content": PROMPT + tokenizer.eos_token, "add_special": True, "parse_special": True}
    assert ask(server, "/tokenize", **text)["tokens"] == ids
    messages = [{"role": "user", "content": PROMPT}]
    prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert ask(server, "/apply-template", messages=messages)["prompt"] == prompt
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    inputs = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
    wanted = model.generate(**inputs, max_new_tokens=12, do_sample=False, pad_token_id=0)
    settings = {"n_predict": 12, "temperature": 0, "return_tokens": True}
    found = ask(server, "/completion", prompt=prompt, **settings)["tokens"]
    assert found == wanted[0, inputs["input_ids"].shape[1] :].tolist()
