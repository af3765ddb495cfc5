"""The training that ends most baselines."""

import pytest

from realm.baselines import further
from realm.core.jsonl import read_jsonl
from realm.run import Run


@pytest.mark.parametrize(("adds_opening", "expected"), [(True, ">text"), (False, "text")])
def test_only_texts_by_others_get_what_opens_the_models_own(
    small_config, tmp_path, monkeypatch, adds_opening, expected
):
    def stop(run):
        raise InterruptedError  # what follows is the training

    monkeypatch.setattr("realm.policy.load_checkpoint", lambda folder: (None, None))
    monkeypatch.setattr("realm.train.trl.completion_affixes", lambda *_: (">", ""))
    monkeypatch.setattr(further, "make_further_config", stop)
    run = Run(tmp_path, small_config)
    row = {"problem_id": "p1", "prompt": "?", "completion": "text"}
    with pytest.raises(InterruptedError):
        further.train_further(run, "rft", [row], "title", adds_opening=adds_opening)
    assert [row["completion"] for row in read_jsonl(run.path("taught.jsonl"))] == [expected]
