from __future__ import annotations

import torch

from realm.prefix.layout import pack


def test_nothing_stands_twice_and_positions_go_on_after_the_prompt() -> None:
    layout = pack([[10, 11, 12], [20, 21]], [[[13, 14, 15], [16]], [[22, 23], []]], "cpu")
    assert layout.input_ids.tolist() == [[10, 11, 12, 20, 21, 13, 14, 22]]
    assert layout.position_ids.tolist() == [[0, 1, 2, 0, 1, 3, 4, 2]]
    assert [(group.prefix, group.own) for group in layout.groups] == [
        (slice(0, 3), slice(5, 7)),
        (slice(3, 5), slice(7, 8)),
    ]


def test_each_completion_token_is_read_from_the_one_before_it() -> None:
    layout = pack([[10, 11, 12], [20, 21]], [[[13, 14, 15], [16]], [[22, 23], []]], "cpu")
    assert list(zip(layout.input_ids[0, layout.reads].tolist(), layout.labels.tolist(), strict=True)) == [
        (12, 13), (13, 14), (14, 15), (12, 16), (21, 22), (22, 23),
    ]  # fmt: skip


def test_values_go_back_to_their_completion() -> None:
    layout = pack([[10], [20]], [[[13, 14, 15], [16]], [[22, 23], []]], "cpu")
    padded = layout.pad(torch.arange(1.0, 7.0), 4)
    assert padded.tolist() == [[1, 2, 3, 0], [4, 0, 0, 0], [5, 6, 0, 0], [0, 0, 0, 0]]


def test_buckets_give_back_what_they_took() -> None:
    lengths = [1, 40, 3, 17, 0, 200]
    layout = pack([[1]], [[[2] * (length + 1) for length in lengths]], "cpu")
    assert len(layout.buckets) == 4
    packed = torch.randn(2, layout.input_ids.shape[1], 5)
    again = packed.clone()
    again[:, 1:] = 0
    for bucket in layout.buckets:
        assert bucket.width < 2 * max(16, bucket.width // 2 + 1)
        bucket.put(again, bucket.silence(bucket.take(packed)))
    assert torch.equal(packed, again)
