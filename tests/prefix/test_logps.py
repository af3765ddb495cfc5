from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from architectures import ARCHITECTURES, make_model, make_rows
from realm.prefix import compute_group_logps, logps
from stock import stock_logps

Found = tuple[Tensor, Tensor]


def gradients(model: nn.Module, run: Callable[[], Found]) -> tuple[Found, dict[str, Tensor]]:
    """Return log-probabilities and entropies, and the gradients of a random mix of both."""
    model.zero_grad()
    found = run()
    mix = torch.randn(
        2, *found[0].shape, generator=torch.Generator().manual_seed(1), dtype=found[0].dtype
    )
    (mix * torch.stack(found)).sum().backward()
    return found, {
        name: weight.grad.clone()
        for name, weight in model.named_parameters()
        if weight.grad is not None
    }


def group_logps(
    model: nn.Module,
    prompts: list[list[int]],
    completions: list[list[int]],
    size: int,
    **settings: float,
) -> Found:
    """Return the shared log-probabilities of `size` completions for each prompt."""
    groups = [completions[start : start + size] for start in range(0, len(completions), size)]
    return compute_group_logps(model, prompts, groups, **settings)


def assert_equal(
    model: nn.Module, prompts: list[list[int]], completions: list[list[int]], size: int
) -> None:
    rows = [prompt for prompt in prompts for _ in range(size)]
    inner = model.get_base_model() if hasattr(model, "peft_config") else model
    expected, wanted = gradients(
        model, lambda: stock_logps(inner, rows, completions, temperature=0.8)
    )
    found, given = gradients(
        model, lambda: group_logps(model, prompts, completions, size, temperature=0.8)
    )
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    assert given.keys() == wanted.keys() and wanted
    for name, gradient in wanted.items():
        assert (given[name] - gradient).norm() <= 1e-4 * gradient.norm() + 1e-7, name


@pytest.mark.parametrize("even", [True, False], ids=["equally long", "ragged"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_log_probs_and_gradients_equal_the_usual_path(name: str, even: bool) -> None:
    prompts, completions = make_rows(prompts=(9, 9) if even else (13, 4), even=even)
    assert_equal(make_model(name), prompts, completions, 3)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_gradients_are_the_same_under_checkpointing(name: str) -> None:
    prompts, completions = make_rows()
    model = make_model(name)
    plain = gradients(model, lambda: group_logps(model, prompts, completions, 3))[1]
    model.gradient_checkpointing_enable({"use_reentrant": False})
    again = gradients(model, lambda: group_logps(model, prompts, completions, 3))[1]
    for gradient_name, gradient in plain.items():
        torch.testing.assert_close(again[gradient_name], gradient, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["qwen2", "gpt2", "gemma2"])
def test_adapters_get_the_gradients_of_the_usual_path(name: str) -> None:
    targets = ["c_attn", "c_fc"] if name == "gpt2" else "all-linear"
    torch.manual_seed(0)
    model = get_peft_model(
        make_model(name), LoraConfig(r=4, target_modules=targets, init_lora_weights=False)
    )
    assert_equal(model, *make_rows(), 3)


def test_groups_of_one_and_one_token_prompts_are_right() -> None:
    prompts, completions = make_rows(group_size=1, prompts=(1, 6, 1, 3))
    assert_equal(make_model(), prompts, completions, 1)


def test_completions_of_very_different_lengths_are_right() -> None:
    prompts, completions = make_rows(group_size=6, longest=90)
    assert_equal(make_model("llama"), prompts, completions, 6)


def test_scores_and_logits_computed_in_pieces_are_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realm.prefix.kernels._MAX_SCORES", 200)
    monkeypatch.setattr(logps, "_MAX_LOGITS", 1000)
    for name in ("gemma2", "mistral, a window"):
        assert_equal(make_model(name), *make_rows(), 3)


def test_float64_agrees_to_many_places() -> None:
    prompts, completions = make_rows()
    for name in ("qwen2", "gemma3"):
        model = make_model(name).double()
        found = group_logps(model, prompts, completions, 3)[0]
        expected = stock_logps(
            model, [p for p in prompts for _ in range(3)], completions, temperature=1.0
        )[0]
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["qwen2", "gemma2", "gemma3", "gpt2"])
def test_bfloat16_is_close(name: str) -> None:
    prompts, completions = make_rows()
    model = make_model(name)
    exact = group_logps(model, prompts, completions, 3)[0]
    rounded, given = gradients(
        model.bfloat16(), lambda: group_logps(model, prompts, completions, 3)
    )
    assert (rounded[0] - exact).abs().mean() < 0.05
    assert all(torch.isfinite(gradient).all() for gradient in given.values())


def test_a_batch_without_any_completion_token_has_zero_gradients() -> None:
    model = make_model()
    found, given = gradients(
        model, lambda: tuple(x.sum()[None] for x in group_logps(model, [[3, 4]], [[], []], 2))
    )
    assert found[0].item() == 0 and all(not gradient.any() for gradient in given.values())


def test_other_calls_of_the_model_are_as_before() -> None:
    for name in ("qwen2, a window", "gemma2"):
        model = make_model(name).eval()
        untouched, ids = copy.deepcopy(model), torch.randint(3, 64, (2, 20))
        mask = torch.ones_like(ids)
        mask[1, :7] = 0
        group_logps(model, *make_rows(), 3)
        torch.testing.assert_close(
            model(ids, attention_mask=mask).logits, untouched(ids, attention_mask=mask).logits
        )


def test_a_prompt_without_completions_listed_is_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        compute_group_logps(make_model(), [[3], [4]], [[[5]]])
