from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy.stats import chisquare
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, PreTrainedModel

from architectures import ARCHITECTURES, make_model, make_rows
from realm.policy import generate_unshared
from realm.prefix import graphs, rollout, sample_completions
from realm.prefix.graphs import GraphDecoder, can_use_graphs
from realm.prefix.sampler import Sampler, cut_after_stop
from stock import stock_rollout


@pytest.fixture(params=["rows", "slots"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Decode as on the CPU, or in slots as on a GPU, where graphs replay the same steps."""
    monkeypatch.setattr(rollout, "can_use_graphs", lambda model: request.param == "slots")
    return request.param


PROMPTS = [[5, 6, 7, 8, 9, 10, 11], [12, 13], [14, 15, 16, 17]]


def greedy(**more: object) -> GenerationConfig:
    return GenerationConfig(**{"max_new_tokens": 40, "do_sample": False, "pad_token_id": 0} | more)


def sampled(**more: object) -> GenerationConfig:
    return GenerationConfig(**{"max_new_tokens": 12, "do_sample": True, "pad_token_id": 0} | more)


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("even", [True, False], ids=["equally long", "of different lengths"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_greedy_completions_equal_generate_token_for_token(name: str, even: bool) -> None:
    model, prompts = (
        make_model(name).eval(),
        [prompt[:2] for prompt in PROMPTS] if even else PROMPTS,
    )
    settings = greedy(eos_token_id=[2, 7, 21])
    expected = stock_rollout(model, [prompt for prompt in prompts for _ in range(2)], settings)
    assert sample_completions(model, prompts, [2] * 3, settings) == expected


@pytest.mark.usefixtures("decoder")
def test_greedy_completions_go_on_past_the_first_buffer() -> None:
    model, settings = make_model().eval(), greedy(max_new_tokens=150)
    assert sample_completions(model, PROMPTS, [1] * 3, settings) == stock_rollout(
        model, PROMPTS, settings
    )


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("name", ["qwen2", "gemma3"])
def test_rows_that_end_early_change_no_other_row(name: str) -> None:
    model = make_model(name).eval()
    whole = sample_completions(model, PROMPTS, [1] * 3, greedy())
    stops = [whole[0][3], whole[1][8]]
    expected = [
        ids[: min((ids.index(stop) + 1 for stop in stops if stop in ids), default=40)]
        for ids in whole
    ]
    assert sample_completions(model, PROMPTS, [1] * 3, greedy(eos_token_id=stops)) == expected


def count_rows(model: torch.nn.Module) -> list[int]:
    """Return a list that gets the number of rows of each pass; the first encodes the prompts."""
    rows: list[int] = []
    model.base_model.layers[0].register_forward_pre_hook(
        lambda module, inputs: rows.append(inputs[0].shape[0])
    )
    return rows


def test_finished_rows_are_no_longer_computed() -> None:
    model = make_model().eval()
    rows = count_rows(model)
    torch.manual_seed(0)
    completions = sample_completions(
        model, PROMPTS, [16] * 3, sampled(max_new_tokens=60, eos_token_id=list(range(3, 12)))
    )
    running = [sum(len(ids) > place for ids in completions) for place in range(1, len(rows))]
    assert running[0] > 30 and running[-1] <= 3
    # Rows leave the batch when at most 0.8 of it goes on, and none are added at the end.
    assert rows[-1] <= running[-1] / 0.8 and rows[-1] < max(rows) / 5


def test_completions_are_one_row_until_they_differ() -> None:
    model = make_model().eval()
    rows = count_rows(model)
    torch.manual_seed(0)
    completions = sample_completions(model, PROMPTS, [8, 1, 5], sampled(temperature=0.2))
    owners = [0] * 8 + [1] + [2] * 5
    beginnings = [
        len({(owner, *ids[:place]) for owner, ids in zip(owners, completions, strict=True)})
        for place in range(1, 12)
    ]
    assert rows[1:] == beginnings
    assert rows[1] < rows[-1], "some part later than at the first token"


SCRIPTS = {
    "a copy in the place of another prompt's only row": ([2, 1, 1], [[5, 6, 5, 2], [8, 8, 8]]),
    "a copy in the place of its own prompt's row": (
        [3, 1],
        [[5, 5, 6, 8], [9, 4, 2, 8], [3, 3, 3]],
    ),
    "copies behind all rows": ([4, 1], [[5, 5, 5, 5, 5], [6, 7, 8, 8, 8], [9, 9, 9, 4, 9]]),
    "few rows left": ([4, 4], [[5, 6, 7, 8, 5, 6, 7, 8], [2, 2, 2, 2, 2, 9, 2, 9], [4, 5]]),
}


@pytest.mark.parametrize(("counts", "script"), SCRIPTS.values(), ids=SCRIPTS.keys())
def test_logits_are_those_of_whole_passes_as_completions_part_and_end(
    monkeypatch: pytest.MonkeyPatch, counts: list[int], script: list[list[int]]
) -> None:
    """The script has the token of each running completion at each step; 2 ends a completion."""
    model, seen = make_model("gemma3").eval(), []

    def follow(self: Sampler, logits: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        seen.append(logits[rows])
        return torch.tensor(script[len(seen) - 1])

    monkeypatch.setattr(Sampler, "__call__", follow)
    prompts = PROMPTS[: len(counts)]
    settings = sampled(max_new_tokens=len(script), eos_token_id=2)
    completions = sample_completions(model, prompts, counts, settings)
    rows = [prompt for prompt, count in zip(prompts, counts, strict=True) for _ in range(count)]
    for place, logits in enumerate(seen):
        running = [i for i, ids in enumerate(completions) if len(ids) > place]
        assert [completions[i][place] for i in running] == script[place]
        for i, found in zip(running, logits, strict=True):
            with torch.no_grad():
                whole = model(torch.tensor([rows[i] + completions[i][:place]])).logits[0, -1]
            torch.testing.assert_close(found, whole, atol=1e-5, rtol=0)


@pytest.mark.usefixtures("decoder")
def test_every_stop_token_ends_a_completion_and_nothing_follows() -> None:
    torch.manual_seed(0)
    stops = [3, 4, 30]
    completions = sample_completions(
        make_model().eval(), PROMPTS, [64] * 3, sampled(max_new_tokens=30, eos_token_id=stops)
    )
    ended = [ids for ids in completions if ids[-1] in stops]
    assert {ids[-1] for ids in ended} == set(stops)
    assert not any(set(ids[:-1]) & set(stops) for ids in completions)
    assert all(len(ids) == 30 for ids in completions if ids not in ended)


@pytest.mark.usefixtures("decoder")
def test_a_seed_gives_the_same_completions_again() -> None:
    model, settings = make_model().eval(), sampled(top_p=0.9, eos_token_id=[3, 4, 5])
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(sample_completions(model, PROMPTS, [8] * 3, settings))
    assert found[0] == found[1] != found[2]


WARPED = {
    "temperature": {"temperature": 0.6},
    "top-k": {"top_k": 5},
    "top-p": {"top_p": 0.7, "temperature": 1.3},
    "min-p": {"min_p": 0.1},
    "all": {"temperature": 0.8, "top_k": 9, "top_p": 0.8, "min_p": 0.05},
}


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("more", WARPED.values(), ids=WARPED.keys())
def test_two_tokens_are_distributed_as_transformers_samples_them(more: dict[str, float]) -> None:
    """The exact distribution comes from the usual forward pass and `generate`'s own warpers."""
    model, prompt, draws = make_model(vocab_size=12).eval(), [5, 6, 7, 8], 4000
    settings = sampled(max_new_tokens=2, **more)
    torch.manual_seed(3)
    completions = torch.tensor(
        sample_completions(model, [prompt, [4, 9]], [draws] * 2, settings)[:draws]
    )

    processors = model._get_logits_processor(generation_config=settings, input_ids_seq_length=4)

    def next_token(rows: list[list[int]]) -> torch.Tensor:
        ids = torch.tensor(rows)
        with torch.no_grad():
            return torch.softmax(processors(ids, model(ids).logits[:, -1]), -1)

    first = next_token([prompt])[0]
    joint = (first[:, None] * next_token([[*prompt, token] for token in range(12)])).flatten()
    counts = torch.bincount(completions[:, 0] * 12 + completions[:, 1], minlength=144)
    assert not counts[joint == 0].any()
    common = joint * draws >= 5
    expected = torch.cat([joint[common], joint[~common].sum()[None]]).double() * draws
    seen = torch.cat([counts[common], counts[~common].sum()[None]]).double()
    if expected[-1] < 1:
        expected, seen = expected[:-1], seen[:-1]
    assert chisquare(seen.numpy(), (expected * seen.sum() / expected.sum()).numpy()).pvalue > 1e-3


def test_the_warpers_are_those_of_generate() -> None:
    settings = sampled(temperature=0.8, top_k=9, top_p=0.8, min_p=0.05)
    theirs = make_model()._get_logits_processor(generation_config=settings, input_ids_seq_length=4)
    assert [type(warper) for warper in Sampler(settings).warpers] == [
        type(warper) for warper in theirs
    ]


@pytest.mark.usefixtures("decoder")
def test_sampling_survives_bfloat16() -> None:
    prompts, _ = make_rows()
    completions = sample_completions(
        make_model("gemma2").bfloat16().eval(), prompts, [3, 3], sampled()
    )
    assert [len(ids) for ids in completions] == [12] * 6


@pytest.mark.usefixtures("decoder")
def test_a_model_that_computes_nan_is_an_error() -> None:
    model = make_model().eval()
    with torch.no_grad():
        model.base_model.norm.weight[0] = torch.nan
    for settings in (greedy(), sampled()):
        with pytest.raises(FloatingPointError, match="computes NaN"):
            sample_completions(model, PROMPTS, [1] * 3, settings)


@pytest.mark.usefixtures("decoder")
def test_prompts_may_have_different_numbers_of_completions() -> None:
    model, settings = make_model().eval(), greedy(eos_token_id=[2, 7, 21])
    found = sample_completions(model, PROMPTS, [1, 3, 2], settings)
    rows = [PROMPTS[number] for number in (0, 1, 1, 1, 2, 2)]
    assert found == stock_rollout(model, rows, settings)


def test_slots_are_given_up_when_few_completions_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "can_use_graphs", lambda model: True)
    monkeypatch.setattr(graphs, "_FEW_SLOTS", 4)
    model = make_model().eval()
    prompts = [[5 + number // 30, 5 + number % 30, 9] for number in range(80)]
    prompts += [[*prompt, 11, 12] for prompt in prompts[:20]]
    # What the first never says ends most of the others.
    whole = stock_rollout(model, prompts, greedy())
    settings = greedy(eos_token_id=sorted(set(range(3, 64)) - set(whole[0])))
    rows = count_rows(model)
    found = sample_completions(model, prompts, [1, 2] * 50, settings)
    steps = rows[1:]  # without the pass that encodes the prompts
    alone = stock_rollout(model, prompts, settings)
    assert found == [ids for number, ids in enumerate(alone) for _ in range(1 + number % 2)]

    def count_slots(place: int) -> int:
        """Return the slots for what goes on after `place` tokens: each prompt as many as any."""
        copies = [1 + number % 2 for number, ids in enumerate(alone) if len(ids) > place]
        return len(copies) * max(copies)

    assert 0 < 2 * count_slots(32) < count_slots(1) < 200
    assert steps == [count_slots(1)] * 31 + [count_slots(32)] * 8


class NoWaiting(TorchDispatchMode):
    """Forbid what makes Python wait for a GPU, and so cannot be captured."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func._schema.name not in ("aten::_local_scalar_dense", "aten::nonzero")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("more", WARPED.values(), ids=WARPED.keys())
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_captured_step_reads_nothing_off_the_gpu(
    monkeypatch: pytest.MonkeyPatch, name: str, more: dict[str, float]
) -> None:
    monkeypatch.setattr(rollout, "can_use_graphs", lambda model: True)
    take_step, steps = GraphDecoder._take_step, []

    def take_checked_step(self: GraphDecoder) -> None:
        with NoWaiting():
            take_step(self)
        steps.append(self)

    monkeypatch.setattr(GraphDecoder, "_take_step", take_checked_step)
    settings = sampled(eos_token_id=[3, 4], **more)
    sample_completions(make_model(name).eval(), PROMPTS, [4] * 3, settings)
    assert steps


def test_only_steps_that_are_always_alike_are_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    models = {name: make_model(name) for name in ARCHITECTURES}
    assert not any(can_use_graphs(model) for model in models.values()), "on the CPU"
    monkeypatch.setattr(PreTrainedModel, "device", torch.device("cuda"))
    assert all(can_use_graphs(model) for model in models.values())
    for kind in ("dynamic", "longrope"):
        scaling = {"rope_type": kind, "factor": 2.0, "rope_theta": 10000.0}
        factors = {"short_factor": [1.0] * 4, "long_factor": [1.0] * 4}
        rope = scaling | (factors if kind == "longrope" else {})
        assert not can_use_graphs(make_model("llama", rope_parameters=rope))
    experts = AutoConfig.for_model("mixtral", hidden_size=32, num_hidden_layers=1, vocab_size=64)
    assert not can_use_graphs(AutoModelForCausalLM.from_config(experts))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_graphs_on_a_gpu_complete_as_generate_does(name: str) -> None:
    model, settings = make_model(name).eval().cuda(), greedy(eos_token_id=[2, 7, 21])
    assert can_use_graphs(model)
    rows = [prompt for prompt in PROMPTS for _ in range(2)]
    expected = [cut_after_stop(ids, {2, 7, 21}) for ids in generate_unshared(model, rows, settings)]
    assert sample_completions(model, PROMPTS, [2] * 3, settings) == expected
