import json

import pytest
import torch
from transformers import GenerationConfig

from realm.core.errors import DataError, ModelError
from realm.policy import Policy
from realm.prefix import PrefixSharingError
from tiny import make_tiny, make_tokenizer

PROMPTS = [
    "How much is 2 + 2?",
    "Hi",
    "A much longer question, which is here to make the batch uneven: why?",
]
BUDGET = {"max_new_tokens": 12, "batch_tokens": 4096, "seed": 1}


@pytest.fixture(scope="module", params=["qwen2", "qwen3", "llama", "gemma3"])
def any_policy(request, tmp_path_factory):
    return Policy(make_tiny(tmp_path_factory.mktemp("models") / request.param, request.param))


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    return Policy(make_tiny(tmp_path_factory.mktemp("models") / "qwen2", "qwen2"))


def spoken(policy, monkeypatch, text, after=""):
    """Return the completion when the model writes the tokens of `text`, whatever the prompt."""
    ids = policy.tokenizer(text + after, add_special_tokens=False)["input_ids"]

    monkeypatch.setattr("realm.policy.sample_completions", lambda *_: [ids])
    return policy.generate(["Hi"], **BUDGET)[0]


def test_each_architecture_answers_as_by_generate(any_policy, monkeypatch, caplog):
    rendered = [any_policy.render(prompt) for prompt in PROMPTS]
    shared = any_policy.generate(rendered, **BUDGET)

    def refuse(*_):
        raise PrefixSharingError("a test says so")

    monkeypatch.setattr("realm.policy.sample_completions", refuse)
    with caplog.at_level("WARNING"):
        assert any_policy.generate(rendered, **BUDGET) == shared
        any_policy.generate(rendered, **BUDGET)
    [record] = [one for one in caplog.records if one.name == "realm.policy"]
    assert "encodes each prompt once per sample: a test says so" in record.getMessage()
    any_policy._shares_prompts = True


def test_each_architecture_answers_through_its_own_chat_template(any_policy):
    rendered = [any_policy.render(prompt, "Be brief.") for prompt in PROMPTS]
    for prompt, text in zip(PROMPTS, rendered, strict=True):
        assert prompt in text and "Be brief." in text and not text.endswith(prompt)
    completions = any_policy.generate(rendered, **BUDGET)
    assert len(completions) == 3 and all(
        1 <= completion.num_tokens <= 12 for completion in completions
    )
    assert (
        completions[1].prompt_tokens < completions[0].prompt_tokens < completions[2].prompt_tokens
    )


def test_padding_and_batching_change_no_greedy_completion(any_policy):
    rendered = [any_policy.render(prompt) for prompt in PROMPTS]
    together = any_policy.generate(rendered, **BUDGET)
    alone = any_policy.generate(rendered, **(BUDGET | {"batch_tokens": 1}))
    assert together == alone


def test_a_template_that_writes_a_bos_gets_no_second_one(tmp_path):
    policy = Policy(make_tiny(tmp_path / "chat", "gemma3"))
    [ids] = policy._encode([policy.render("Hi")])
    assert ids.count(policy.tokenizer.bos_token_id) == 1


def test_a_tokenizer_without_a_template_gets_the_plain_text(tmp_path):
    policy = Policy(make_tiny(tmp_path / "plain", "qwen2", chat=False))
    assert policy.render("Why?") == "Why?"
    assert policy.render("Why?", "Be brief.") == "Be brief.\n\nWhy?"
    assert policy.generate(["Why?"], **BUDGET)[0].prompt_tokens == 4


def test_sampling_is_reproduced_by_its_seed_and_changed_by_another(policy):
    sampling = BUDGET | {"temperature": 1.0, "num_samples": 3}
    first = policy.generate(PROMPTS, **sampling)
    assert len(first) == 9 and len({completion.text for completion in first[:3]}) > 1
    assert policy.generate(PROMPTS, **sampling) == first
    assert policy.generate(PROMPTS, **(sampling | {"seed": 2})) != first


def test_what_was_interrupted_continues_with_the_same_completions(policy):
    sampling = BUDGET | {"temperature": 1.0, "batch_tokens": 80}
    batches = []
    whole = policy.generate(
        PROMPTS,
        **sampling,
        on_done=lambda indices, completions: batches.append((indices, completions)),
    )
    assert (
        sorted(index for indices, _ in batches for index in indices) == [0, 1, 2]
        and len(batches) > 1
    )
    done = batches[0][0]
    rest = policy.generate(PROMPTS, **sampling, skip=done)
    assert rest == [completion for index, completion in enumerate(whole) if index not in done]


def test_generation_leaves_the_random_state_of_others_alone(policy):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    policy.generate(["Hi"], **BUDGET, temperature=1.0)
    assert torch.equal(torch.rand(3), expected)


def test_a_completion_ends_at_its_stop_token(policy, monkeypatch):
    completion = spoken(policy, monkeypatch, "four", after="<|im_end|><|endoftext|>junk")
    assert (completion.text, completion.num_tokens) == ("four", 5)


def test_every_stop_token_of_the_generation_config_ends_a_completion(tmp_path, monkeypatch):
    policy = Policy(make_tiny(tmp_path / "gemma3", "gemma3"))
    completion = spoken(policy, monkeypatch, "four", after="<eos>junk")
    assert (completion.text, completion.num_tokens) == ("four", 5)


@pytest.mark.parametrize("special", [True, False])
def test_our_tags_survive_decoding_even_as_special_tokens(tmp_path, monkeypatch, special):
    text = (
        "<think>hm</think><verify>\nRoute 1: sound\n</verify>"
        "<reason>as <route 1> says</reason><answer>7</answer>"
    )
    folder = make_tiny(tmp_path / "tags", "qwen2")
    tags = [
        "<think>",
        "</think>",
        "<verify>",
        "</verify>",
        "<reason>",
        "</reason>",
        "<answer>",
        "</answer>",
        "<route 1>",
    ]
    tokenizer = make_tokenizer("qwen2")
    tokenizer.add_tokens(tags, special_tokens=special)
    tokenizer.save_pretrained(folder)
    resize_embeddings(folder, len(tokenizer))
    policy = Policy(folder)
    completion = spoken(policy, monkeypatch, text, after="<|im_start|>")
    assert completion.text == text


def test_an_unusual_end_of_thinking_survives_when_it_is_named(tmp_path, monkeypatch):
    folder = make_tiny(tmp_path / "tags", "qwen2")
    tokenizer = make_tokenizer("qwen2")
    tokenizer.add_tokens(["[/THINK]"], special_tokens=True)
    tokenizer.save_pretrained(folder)
    resize_embeddings(folder, len(tokenizer))
    assert (
        spoken(Policy(folder, keep=["[/THINK]"]), monkeypatch, "hm[/THINK]7").text == "hm[/THINK]7"
    )
    assert spoken(Policy(folder), monkeypatch, "hm[/THINK]7").text == "hm7"


def resize_embeddings(folder, size):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(size)
    model.save_pretrained(folder)


def test_a_context_too_short_names_the_longest_prompt_and_what_to_lower(tmp_path):
    policy = Policy(make_tiny(tmp_path / "short", "qwen2", context=64))
    with pytest.raises(
        ModelError,
        match=r"at most 64 tokens, and 1 of 2 .*longest is 60 tokens, and 12 more.*\.routes",
    ):
        policy.generate(["short", "x" * 60], **BUDGET)


def test_an_empty_prompt_is_refused(tmp_path):
    policy = Policy(make_tiny(tmp_path / "plain", "qwen2", chat=False))
    with pytest.raises(DataError, match="Prompt 2 of 2 is empty"):
        policy.generate(["a", ""], **BUDGET)


def test_a_template_that_knows_no_system_role_says_what_to_do(tmp_path):
    policy = Policy(make_tiny(tmp_path / "strict", "qwen2"))
    policy.tokenizer.chat_template = "{{ raise_exception('System role not supported') }}"
    with pytest.raises(ModelError, match=r"System role not supported.*set prompt.system to null"):
        policy.render("Hi", "Be brief.")


def test_a_missing_folder_is_a_model_error():
    with pytest.raises(ModelError, match=r"\./nowhere/model: no such model folder"):
        Policy("./nowhere/model")


def test_a_folder_without_a_config_is_no_model(tmp_path):
    with pytest.raises(ModelError, match=r"not a Transformers checkpoint: it has no config\.json"):
        Policy(tmp_path)


def test_an_adapter_is_told_to_be_merged(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="PEFT adapter"):
        Policy(tmp_path)


def test_a_folder_without_a_tokenizer_is_a_model_error(tmp_path):
    folder = make_tiny(tmp_path / "bare", "llama")
    for file in folder.glob("token*"):
        file.unlink()
    for file in folder.glob("chat_template*"):
        file.unlink()
    with pytest.raises(ModelError, match="tokenizer"):
        Policy(folder)


def test_damaged_weights_are_a_model_error(tmp_path):
    folder = make_tiny(tmp_path / "damaged", "qwen2")
    (folder / "model.safetensors").write_bytes(b"not safetensors at all")
    with pytest.raises(ModelError, match="its weights cannot be loaded"):
        Policy(folder)


def test_a_model_of_another_kind_is_a_model_error(tmp_path):
    folder = make_tiny(tmp_path / "other", "qwen2")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "no-such-type"}))
    with pytest.raises(ModelError, match="cannot be loaded"):
        Policy(folder)


def test_a_checkpoint_with_missing_weights_is_refused(tmp_path):
    folder = make_tiny(tmp_path / "partial", "qwen2")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(
            config
            | {
                "num_hidden_layers": 3,
                "layer_types": ["full_attention"] * 3,
                "max_window_layers": 3,
            }
        )
    )
    with pytest.raises(ModelError, match="weights of the model are not in the checkpoint"):
        Policy(folder)


def test_a_hub_id_that_cannot_be_reached_says_what_to_check(monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="as a hub id it was not found or not reached"):
        Policy("realm-tests/no-such-model")


def test_code_of_a_checkpoint_is_refused_and_never_run(tmp_path, monkeypatch):
    folder = make_tiny(tmp_path / "remote", "qwen2")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own-type", "auto_map": {"AutoConfig": "own.OwnConfig"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text("open('ran', 'w').close()")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asked"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"its config\.json cannot be loaded"):
        Policy(folder)
    assert not (tmp_path / "ran").exists()


def test_a_quantized_checkpoint_without_its_package_is_a_model_error(tmp_path):
    folder = make_tiny(tmp_path / "quantized", "qwen2")
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="its weights cannot be loaded"):
        Policy(folder)


@pytest.mark.parametrize("broken", ["{% for %}", "{{ 1 / 0 }}", "{{ nothing.here.at.all }}"])
def test_a_broken_template_is_found_when_the_model_is_loaded(tmp_path, broken):
    folder = make_tiny(tmp_path / "template", "qwen2")
    (folder / "chat_template.jinja").write_text(broken)
    with pytest.raises(ModelError, match="its chat template fails"):
        Policy(folder)


@pytest.mark.parametrize("shares", [True, False])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_model_that_answers_nan_is_a_model_error(tmp_path, shares, temperature):
    policy = Policy(make_tiny(tmp_path / "nan", "qwen2"))
    policy._shares_prompts = shares
    with torch.no_grad():
        policy.model.model.norm.weight[0] = torch.nan
    with pytest.raises(ModelError, match="computes NaN"):
        policy.generate(["Hi"], **BUDGET, temperature=temperature)


def test_sampling_settings_of_a_checkpoint_are_not_used(tmp_path):
    folder = make_tiny(tmp_path / "settings", "gemma3")
    plain = Policy(folder)
    settings = {"repetition_penalty": 1.5, "no_repeat_ngram_size": 2, "temperature": 0.1}
    stops = plain.model.generation_config.eos_token_id
    GenerationConfig(**settings, do_sample=True, eos_token_id=stops).save_pretrained(folder)
    policy = Policy(folder)
    assert policy.model.generation_config.to_diff_dict() == (
        plain.model.generation_config.to_diff_dict()
    )
    expected = plain.generate(["Hi"], **BUDGET, temperature=1.0)
    for policy._shares_prompts in (True, False):
        assert policy.generate(["Hi"], **BUDGET) == plain.generate(["Hi"], **BUDGET)
    policy._shares_prompts = True
    assert policy.generate(["Hi"], **BUDGET, temperature=1.0) == expected
