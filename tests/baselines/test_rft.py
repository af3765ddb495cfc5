"""RFT has as many samples as ReaLM has rollouts."""

from types import SimpleNamespace

import pytest

from realm.baselines import rft
from realm.sampling import Sampling


@pytest.mark.parametrize(("budget", "sizes"), [(6, [2, 2, 2]), (8, [3, 3, 2]), (3, [1, 1, 1])])
def test_every_sample_of_the_budget_is_drawn_and_no_two_alike(monkeypatch, tmp_path, budget, sizes):
    def draw_samples(run, policy, prompts, path, *, mode, sampling: Sampling):
        drawn = [(path.stem, sampling.seed_offset, n) for n in range(sampling.num_samples)]
        return [[(prompt, *one) for one in drawn] for prompt in prompts]

    monkeypatch.setattr(rft, "sample_and_judge", draw_samples)
    monkeypatch.setattr(rft, "count_further_completions", lambda run: budget)
    config = SimpleNamespace(train=SimpleNamespace(grpo={}), prompt=SimpleNamespace(think_end=None))
    run = SimpleNamespace(config=config, path=tmp_path.joinpath, work=tmp_path.joinpath)
    groups = rft._sample_answers(run, ["a", "b", "c"])
    assert [len(group) for group in groups] == sizes
    assert [{one[0] for one in group} for group in groups] == [{"a"}, {"b"}, {"c"}]
    assert len({one for group in groups for one in group}) == budget
    # Further samples with the seed of the first would repeat them.
    seeds = {one[1]: one[2] for group in groups for one in group}
    assert len(set(seeds.values())) == len(seeds)
