"""Linear layers by the other library compute what torch's do."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from realm.prefix.products import FastLinear, speed_up_products


@pytest.mark.parametrize("sizes", [(24, 40), (40, 24)])
@pytest.mark.parametrize("bias", [True, False])
def test_outputs_and_gradients_are_those_of_torch(sizes: tuple[int, int], bias: bool) -> None:
    torch.manual_seed(0)
    usual, x, grad = (
        nn.Linear(*sizes, bias=bias),
        torch.randn(2, 33, sizes[0], requires_grad=True),
        torch.randn(2, 33, sizes[1]),
    )
    fast = copy.deepcopy(usual)
    fast.__class__ = FastLinear
    found = []
    for layer in (usual, fast):
        output = layer(x)
        found.append([output, *torch.autograd.grad(output, [x, *layer.parameters()], grad)])
    torch.testing.assert_close(*found, atol=1e-4, rtol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), found[0][0], atol=1e-5, rtol=1e-5)


def test_inputs_and_gradients_may_have_gaps() -> None:
    torch.manual_seed(0)
    layer, wide, grad = nn.Linear(8, 6), torch.randn(5, 20), torch.randn(6, 5).t()
    expected = torch.autograd.grad(layer(wide[:, 3:11]), layer.weight, grad)
    layer.__class__ = FastLinear
    torch.testing.assert_close(
        torch.autograd.grad(layer(wide[:, 3:11]), layer.weight, grad), expected
    )


def test_other_types_and_other_layers_stay_with_torch() -> None:
    class Own(nn.Linear):
        pass

    model = nn.Sequential(nn.Linear(4, 4), Own(4, 4)).bfloat16()
    x = torch.randn(3, 4, dtype=torch.bfloat16)
    before = model(x)
    speed_up_products(model)
    assert torch.equal(model(x), before)
    assert type(model[1]) is Own
