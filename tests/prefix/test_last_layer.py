"""The last layer leaves out what nobody reads, in every architecture; parity is tested with the passes themselves."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from architectures import ARCHITECTURES, make_model, make_rows
from realm.prefix import group_logps
from realm.prefix.attention import PackedAttention
from realm.prefix.last_layer import _shorten


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_only_the_last_token_of_a_prefix_asks_in_the_last_layer(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, attend = [], PackedAttention.attend

    def noted(self: PackedAttention, module: Any, query: torch.Tensor, *rest: Any) -> torch.Tensor:
        asked.append(query.shape[2])
        return attend(self, module, query, *rest)

    monkeypatch.setattr(PackedAttention, "attend", noted)
    prompts, completions = make_rows()
    group_logps(make_model(name), prompts, completions, 3)
    first, last = asked
    assert first - last == sum(len(prompt) - 1 for prompt in prompts)


def test_arguments_of_unknown_shape_leave_the_layer_as_it_is() -> None:
    class Row:
        input_ids = torch.zeros(1, 5, dtype=torch.long)

    shared = PackedAttention(Row())  # type: ignore[arg-type]
    assert (
        _shorten(torch.nn.Identity(), (torch.zeros(4, 1, 5, 8),), {"shared_prefix": shared}) is None
    )
