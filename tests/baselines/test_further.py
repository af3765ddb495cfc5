"""The training that ends most baselines."""

import pytest

import realm.train.sft  # noqa: F401  # before a test replaces functions that it imports
from realm.baselines import further
from realm.core.jsonl import read_jsonl
from realm.method.prompt import render_reasoning
from realm.method.thoughts import ThinkTags
from realm.run import Run


@pytest.mark.parametrize(
    ("adds_opening", "expected"),
    [
        (True, "<t>c\n</t>\n\n<answer>7</answer>"),
        (False, "<reason>\nc\n</reason>\n<answer>7</answer>"),
    ],
)
def test_only_chains_by_others_are_put_into_the_models_thoughts(
    small_config, tmp_path, monkeypatch, adds_opening, expected
):
    def stop(run):
        raise InterruptedError  # what follows is the training

    monkeypatch.setattr("realm.checkpoint.load_checkpoint", lambda folder: (None, None))
    monkeypatch.setattr("realm.train.trl.find_turn_end", lambda *_: "")
    tags = ThinkTags("<t>", "</t>")
    monkeypatch.setattr("realm.train.trl.find_student_tags", lambda *_: tags)
    monkeypatch.setattr(further, "make_further_config", stop)
    run = Run(tmp_path, small_config)
    row = {"problem_id": "p1", "prompt": "?", "completion": render_reasoning("c", "7")}
    with pytest.raises(InterruptedError):
        further.train_further(run, "rft", [row], "title", adds_opening=adds_opening)
    assert [row["completion"] for row in read_jsonl(run.path("taught.jsonl"))] == [expected]
