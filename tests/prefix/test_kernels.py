from __future__ import annotations

import pytest
import torch

from realm.prefix.kernels import Positions, Rules, attend, attend_backward, merge

SCHEMAS = {
    "_scaled_dot_product_flash_attention_for_cpu": (
        "query key value dropout_p is_causal attn_mask scale"
    ),
    "_scaled_dot_product_flash_attention_for_cpu_backward": (
        "grad_out query key value out logsumexp dropout_p is_causal attn_mask scale"
    ),
    "_scaled_dot_product_flash_attention": (
        "query key value dropout_p is_causal return_debug_mask scale"
    ),
    "_scaled_dot_product_flash_attention_backward": (
        "grad_out query key value out logsumexp cum_seq_q cum_seq_k max_q max_k dropout_p "
        "is_causal philox_seed philox_offset scale"
    ),
}


@pytest.mark.parametrize("name, arguments", SCHEMAS.items(), ids=SCHEMAS.keys())
def test_torch_has_the_kernels_with_the_arguments_that_are_used(name: str, arguments: str) -> None:
    schema = getattr(torch.ops.aten, name).default._schema
    assert " ".join(argument.name for argument in schema.arguments) == arguments


@pytest.mark.parametrize(
    "rules", [Rules(scale=0.3), Rules(scale=0.3, window=4), Rules(scale=0.3, softcap=1.5)]
)
def test_the_parts_merge_to_attention_over_all_keys_with_its_gradients(rules: Rules) -> None:
    torch.manual_seed(0)
    query, key, value = (
        torch.randn(2, 3, 12, 8, dtype=torch.double, requires_grad=True) for _ in range(3)
    )
    places = torch.arange(12)
    scores = query[:, :, 7:] @ key.transpose(-1, -2) * rules.scale
    if rules.softcap:
        scores = torch.tanh(scores / rules.softcap) * rules.softcap
    distance = places[7:, None] - places
    seen = (distance >= 0) & (distance < (rules.window or 99))
    expected = torch.softmax(scores.masked_fill(~seen, -torch.inf), -1) @ value
    toward = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, (query, key, value), toward)

    later = query.detach()[:, :, 7:]
    output = sums = None
    parts = []
    for part in (slice(0, 7), slice(7, 12)):
        where = Positions(places[7:], places[part], max_distance=12, is_causal=part.start == 7)
        keys, values = key.detach()[:, :, part], value.detach()[:, :, part]
        found = attend(later, keys, values, rules, where)
        output, sums = found if output is None else merge(output, sums, *found)
        parts.append((keys, values, where))
    torch.testing.assert_close(output, expected.detach())
    found = [
        attend_backward(toward, (later, keys, values, output, sums), rules, where)
        for keys, values, where in parts
    ]
    torch.testing.assert_close(found[0][0] + found[1][0], wanted[0][:, :, 7:])
    torch.testing.assert_close(torch.cat([found[0][1], found[1][1]], 2), wanted[1])
    torch.testing.assert_close(torch.cat([found[0][2], found[1][2]], 2), wanted[2])
