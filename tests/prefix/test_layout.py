from __future__ import annotations

import torch

from realm.prefix.layout import pack_groups


def test_nothing_stands_twice_and_positions_go_on_after_the_prompt() -> None:
    layout = pack_groups([[10, 11, 12], [20, 21]], [[[13, 14, 15], [16]], [[22, 23], []]], "cpu")
    assert layout.input_ids.tolist() == [[10, 11, 12, 20, 21, 13, 14, 22]]
    assert layout.position_ids.tolist() == [[0, 1, 2, 0, 1, 3, 4, 2]]
    assert [(group.prompt, group.completions) for group in layout.groups] == [
        (slice(0, 3), slice(5, 7)),
        (slice(3, 5), slice(7, 8)),
    ]


def test_each_completion_token_is_read_from_the_one_before_it() -> None:
    layout = pack_groups([[10, 11, 12], [20, 21]], [[[13, 14, 15], [16]], [[22, 23], []]], "cpu")
    read = layout.input_ids[0, layout.reads].tolist()
    assert list(zip(read, layout.labels.tolist(), strict=True)) == [
        (12, 13), (13, 14), (14, 15), (12, 16), (21, 22), (22, 23),
    ]  # fmt: skip


def test_values_go_back_to_their_completion() -> None:
    layout = pack_groups([[10], [20]], [[[13, 14, 15], [16]], [[22, 23], []]], "cpu")
    padded = layout.pad_completions(torch.arange(1.0, 7.0), 4)
    assert padded.tolist() == [[1, 2, 3, 0], [4, 0, 0, 0], [5, 6, 0, 0], [0, 0, 0, 0]]


def test_the_example_of_the_docstring() -> None:
    layout = pack_groups([[7, 8, 9], [5, 6]], [[[1, 2], [3]], [[4, 4, 4], [2]]], "cpu")
    assert layout.input_ids.tolist() == [[7, 8, 9, 5, 6, 1, 4, 4]]
    assert layout.position_ids.tolist() == [[0, 1, 2, 0, 1, 3, 2, 3]]
    assert layout.labels.tolist() == [1, 2, 3, 4, 4, 4, 2]
    assert layout.reads.tolist() == [2, 5, 2, 4, 6, 7, 4]


def test_buckets_give_back_what_they_took_and_are_at_most_a_quarter_padding() -> None:
    lengths = [1, 40, 3, 17, 0, 200, 259, 70]
    layout = pack_groups([[1]], [[[2] * (length + 1) for length in lengths]], "cpu")
    assert len(layout.buckets) == 6
    packed = torch.randn(layout.input_ids.shape[1], 2, 5)
    again = torch.full_like(packed, torch.nan)
    for bucket in layout.buckets:
        shortest = int(bucket.is_real.sum(1).min())
        assert bucket.width - shortest < max(16, bucket.width / 4)
        bucket.put(again, bucket.take_gradients(packed))
        assert not bucket.take_gradients(packed).transpose(1, 2)[~bucket.is_real].any()
    assert torch.equal(packed, again)
