from __future__ import annotations

import pytest
import torch
from scipy.stats import chisquare
from transformers import GenerationConfig

from architectures import ARCHITECTURES, make_model, make_rows
from realm.prefix import rollout, sample_completions
from realm.prefix.sampler import Sampler
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
