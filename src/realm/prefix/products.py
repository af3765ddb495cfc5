"""Linear layers by oneDNN where that is the faster of the two libraries inside torch: float32 on processors with AVX-512.

There torch takes MKL, which on other makers' processors does without AVX-512 and takes twice as long. Same float32 arithmetic.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def speed_up_products(model: nn.Module) -> None:
    """Let linear layers take the faster library, for good: a checkpointed layer runs again in the backward pass."""
    has_onednn = torch.backends.mkldnn.is_available() and hasattr(
        torch.ops.mkldnn, "_linear_pointwise"
    )
    if has_onednn and torch.backends.cpu.get_cpu_capability() == "AVX512":
        for module in model.modules():
            if type(module) is nn.Linear:
                module.__class__ = FastLinear


class FastLinear(nn.Linear):
    """A linear layer that multiplies by oneDNN what is float32 and on the CPU."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        single = (
            x.is_cpu
            and x.dtype == weight.dtype == torch.float32
            and weight.is_contiguous()
            and x.numel()
        )
        if not single or torch.is_autocast_enabled("cpu"):
            return super().forward(x)
        x = x.contiguous()
        return (
            _Linear.apply(x, weight, self.bias)
            if torch.is_grad_enabled()
            else _product(x, weight, self.bias)
        )


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight), (for_x, for_weight, for_bias) = ctx.saved_tensors, ctx.needs_input_grad
        grad = grad.contiguous()
        grads, inputs = grad.reshape(-1, grad.shape[-1]), x.reshape(-1, x.shape[-1])
        return (
            _product(grad, weight.t()) if for_x else None,
            _outer(grads, inputs) if for_weight else None,
            grads.sum(0) if for_bias else None,
        )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return `x @ weight.T + bias`; of a `weight` with gaps between its rows oneDNN would make a hundred times the work."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def _outer(grads: Tensor, inputs: Tensor) -> Tensor:
    """Return `grads.T @ inputs`; oneDNN is quicker with the smaller side as its weight."""
    if grads.shape[1] <= inputs.shape[1]:
        return _product(grads.t(), inputs.t())
    return _product(inputs.t(), grads.t()).t()
