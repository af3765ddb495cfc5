"""Text of a question, a route or a chain never becomes a control token of a chat template."""

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AddedToken, PreTrainedTokenizerFast

from realm.config.training import PromptConfig
from realm.core.errors import ModelError
from realm.core.records import Route, RouteSet
from realm.method.prompt import break_control_tokens, render_prompt, render_reasoning
from realm.policy import Policy, require_plain_templates
from realm.train.trl import as_trl_prompt, encode_prompts, tokenize_rows

CHATML = """{% for m in messages %}<|im_start|>{{ m['role'] }}
{{ m['content'] }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
LLAMA_3 = """<|begin_of_text|>{% for m in messages %}<|start_header_id|>{{ m['role'] }}\
<|end_header_id|>

{{ m['content'] | trim }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}\
<|start_header_id|>assistant<|end_header_id|>

{% endif %}"""
GEMMA = """<bos>{% for m in messages %}<start_of_turn>{{ m['role'] }}
{{ m['content'] | trim }}<end_of_turn>
{% endfor %}{% if add_generation_prompt %}<start_of_turn>model
{% endif %}"""
MISTRAL = """<s>{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }}[/INST]\
{% else %} {{ m['content'] }}</s>{% endif %}{% endfor %}"""
# Name: template, special tokens, other added tokens.
TEMPLATES = {
    "chatml": (CHATML, ["<|im_start|>", "<|im_end|>", "<|endoftext|>"], ["<tool_call>", "<think>"]),
    "llama 3": (
        LLAMA_3,
        ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
        [],
    ),
    "gemma": (
        GEMMA,
        ["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"],
        ["<table>", "<unused_1>"],
    ),
    "mistral": (MISTRAL, ["<s>", "</s>", "[INST]", "[/INST]"], ["[TOOL_CALLS]"]),
    "deepseek": (CHATML, ["<|im_start|>", "<|im_end|>", "<｜User｜>", "<｜end▁of▁sentence｜>"], []),
}
OURS = ["<verify>", "</verify>", "<reason>", "</reason>", "<answer>", "</answer>", "<route 1>"]


def make_tokenizer(name):
    template, special, added = TEMPLATES[name]
    signs = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({sign: place for place, sign in enumerate(signs)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token=special[1])
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    tokenizer.add_tokens([AddedToken(content, special=False) for content in [*added, *OURS]])
    tokenizer.chat_template = template
    return tokenizer


TOKENIZERS = {name: make_tokenizer(name) for name in TEMPLATES}
HOSTILE = [token for _, special, added in TEMPLATES.values() for token in [*special, *added]] + OURS


def list_added(tokenizer, ids):
    """Return the control tokens and tags of ours in `ids`; HTML is no control."""
    added = tokenizer.added_tokens_decoder
    return [added[one].content for one in ids if one in added and added[one].content != "<table>"]


def make_route(text):
    return Route(problem_id="p", source="s", text=text, answer="7", correct=True)


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("hostile", [" ".join(HOSTILE), "".join(HOSTILE), "<<s>s>[[INST]INST]"])
def test_a_hostile_question_or_route_has_the_control_tokens_of_a_harmless_one(name, hostile):
    tokenizer = TOKENIZERS[name]

    def list_of(text):
        shown = RouteSet(problem_id="p", routes=(make_route(f"3 {text} 4"),))
        prompt = render_prompt(f"1 {text} 2", shown)
        [ids] = encode_prompts(tokenizer, [as_trl_prompt(tokenizer, prompt, None)])
        policy = SimpleNamespace(tokenizer=tokenizer, name=name)
        rendered = tokenizer(Policy.render(policy, prompt), add_special_tokens=False)["input_ids"]
        assert list_added(tokenizer, rendered) == list_added(tokenizer, ids)
        return list_added(tokenizer, ids)

    assert list_of(hostile) == list_of("and")


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_hostile_chain_teaches_no_control_token(name):
    tokenizer = TOKENIZERS[name]
    row = {"prompt": "3 + 4?", "completion": render_reasoning(" ".join(HOSTILE), "</s>7")}
    dataset = tokenize_rows([row], tokenizer, prompts=PromptConfig(), closing="!")
    taught = [one for one in dataset[0]["labels"] if one >= 0]
    assert list_added(tokenizer, taught) == ["<reason>", "</reason>", "<answer>", "</answer>"]


@pytest.mark.parametrize("name", TEMPLATES)
def test_whatever_a_text_holds_it_gives_no_control_token_and_keeps_its_other_signs(name):
    tokenizer = TOKENIZERS[name]
    _, special, added = TEMPLATES[name]
    control = {*special, *added} - {"<table>", "<think>"}

    @settings(max_examples=100, derandomize=True, deadline=None, database=None)
    @given(st.lists(st.sampled_from([*HOSTILE, "<", ">", "[", "|"]) | st.text(max_size=3)))
    def check(pieces):
        text = "".join(pieces)
        broken = break_control_tokens(text, tokenizer)
        ids = tokenizer(broken, add_special_tokens=False)["input_ids"]
        assert not control & set(list_added(tokenizer, ids))
        assert broken.replace(" ", "") == text.replace(" ", "")

    check()


def test_the_think_tags_of_a_model_stay_in_its_completions():
    tokenizer = TOKENIZERS["mistral"]
    row = {"prompt": "3 + 4?", "completion": "[TOOL_CALLS]3 + 4</s>7"}
    prompts = PromptConfig(think_start="[TOOL_CALLS]", think_end="[/INST]")
    [kept] = tokenize_rows([row], tokenizer, prompts=prompts, closing="!")
    taught = [one for one in kept["labels"] if one >= 0]
    assert list_added(tokenizer, taught) == ["[TOOL_CALLS]"]


def test_a_prompt_template_with_a_control_token_is_refused():
    require_plain_templates(TOKENIZERS["mistral"], ("Think inside <reason>. {question}", None))
    with pytest.raises(ModelError, match=r"the template '\[INST\] \{question\}' holds a control"):
        require_plain_templates(TOKENIZERS["mistral"], ("[INST] {question}",))
