"""What TRL receives for each completion, and what training observes of it."""

import logging

import pytest
import torch
from trl import GRPOTrainer

from realm.core.errors import ConfigError
from realm.core.jsonl import read_jsonl
from realm.core.records import Judged, Route, RouteSet
from realm.run import Run
from realm.train import grader as grading
from realm.train import rl
from realm.train.grader import Grader, load_terms
from realm.train.rows import RowFacts
from realm.verify.verifier import Verifier
from tiny import make_tiny
from tiny_rl import GRPO, TRAIN, make_config, make_run

torch.set_num_threads(1)

FULL = {"kind": "constant", "routes": 2, "dropout": 0.0}
RIGHT = Route(problem_id="p", source="hasty", text="9 - 3 = 6", answer="6", correct=True)
WRONG = Route(problem_id="p", source="hasty", text="9 - 3 = 5", answer="5", correct=False)


def script_judgements(monkeypatch, cases):
    """Let the judge say `cases`: (correct, verdicts as a function of the labels, well-formed)."""

    def judge_all(texts, *, routes, **_):
        labels = [RouteSet(problem_id="", routes=tuple(shown)).labels() for shown in routes]
        return [
            Judged(
                text=text,
                answer="6",
                correct=correct,
                labels=shown,
                verdicts=tuple(map(verdict, shown)),
                well_formed=formed,
            )
            for text, shown, (correct, verdict, formed) in zip(texts, labels, cases, strict=True)
        ]

    monkeypatch.setattr(grading, "judge_all", judge_all)


def record_advantages(monkeypatch):
    seen, inside = [], GRPOTrainer._generate_and_score_completions

    def spy(self, inputs):
        batch = inside(self, inputs)
        seen.append(batch["advantages"].tolist())
        return batch

    monkeypatch.setattr(GRPOTrainer, "_generate_and_score_completions", spy)
    return seen


def run_one_step(tmp_path, *, reward=None, reward_terms=None):
    make_tiny(tmp_path / "model", "qwen2")
    grpo = GRPO | {"num_generations": 4, "max_steps": 1}
    config = make_config(
        tmp_path, train=TRAIN | {"fade": FULL, "grpo": grpo, "reward": reward or {}}
    )
    run = make_run(tmp_path, config)
    run = Run(run.folder, config, reward_terms=reward_terms)
    rl.run_train(run)
    return run


CASES = [
    (True, lambda label: label, True),  # 1.0 + 0.5 + 0.1
    (False, lambda label: not label, True),  # 0.1
    (False, lambda label: True, False),  # half of the verdict term: 0.25
    (True, lambda label: None, False),  # 1.0
]


def standardize(rewards):
    """Return the advantages of one group, as GRPO defines them."""
    known = torch.tensor([reward for reward in rewards if reward is not None])
    return [
        0.0 if reward is None else float((reward - known.mean()) / (known.std() + 1e-4))
        for reward in rewards
    ]


def test_trl_weighs_the_terms_so_that_right_answers_and_right_verdicts_have_high_advantages(
    tmp_path, monkeypatch
):
    script_judgements(monkeypatch, CASES)
    advantages = record_advantages(monkeypatch)
    run = run_one_step(tmp_path)
    assert advantages[0] == pytest.approx(standardize([1.6, 0.1, 0.25, 1.0]), abs=1e-4)
    [row] = read_jsonl(run.path("fade.jsonl"))
    assert row["rewards/answer/mean"] == 0.5 and row["rewards/verdict/mean"] == 0.375
    assert row["assisted_reward"] == pytest.approx((1.6 + 0.1 + 0.25 + 1.0) / 4)


def test_trl_pays_for_exactly_the_flawed_step_that_the_row_knows(tmp_path, monkeypatch):
    shifts = [0, 1, 0, 1]  # the second and the fourth completion name the step after it

    def judge_all(texts, *, routes, flaws, **_):
        judged = []
        for text, shown, known, shift in zip(texts, routes, flaws, shifts, strict=True):
            labels = RouteSet(problem_id="", routes=tuple(shown)).labels()
            named = tuple(None if flaw is None else flaw + shift for flaw in known)
            more = {"labels": labels, "verdicts": labels, "named": named, "flaws": tuple(known)}
            judged.append(Judged(text=text, correct=True, **more))
        return judged

    monkeypatch.setattr(grading, "judge_all", judge_all)
    advantages = record_advantages(monkeypatch)
    run = run_one_step(tmp_path)
    # A right answer, right verdicts, and a quarter for the step or nothing.
    assert advantages[0] == pytest.approx(standardize([1.75, 1.5] * 2), abs=1e-4)
    [row] = read_jsonl(run.path("fade.jsonl"))
    assert row["rewards/first_flaw/mean"] == 0.5 and row["first_flaw_named"] == 0.5


def test_each_weight_of_the_config_belongs_to_its_own_term(tmp_path, monkeypatch):
    script_judgements(monkeypatch, CASES)
    advantages = record_advantages(monkeypatch)
    run_one_step(tmp_path, reward={"answer": 0.2, "verdict": 3.0, "format": 0.0})
    assert advantages[0] == pytest.approx(standardize([3.2, 0.0, 1.5, 0.2]), abs=1e-4)


def test_an_undecided_completion_neither_moves_the_policy_nor_its_groups_baseline(
    tmp_path, monkeypatch, caplog
):
    undecided = (None, lambda label: label, True)
    script_judgements(monkeypatch, [CASES[0], undecided, CASES[1], CASES[1]])
    advantages = record_advantages(monkeypatch)
    with caplog.at_level(logging.WARNING, logger="realm"):
        run = run_one_step(tmp_path)
    assert advantages[0] == pytest.approx(standardize([1.6, None, 0.1, 0.1]), abs=1e-4)
    [row] = read_jsonl(run.path("fade.jsonl"))
    assert row["undecided"] == 0.25 and row["assisted_answer"] == pytest.approx(1 / 3)
    assert "could not decide 1 of 4 answers" in caplog.text


def test_a_generation_that_is_all_undecided_leaves_no_nan_in_the_records(tmp_path, monkeypatch):
    script_judgements(monkeypatch, [(None, lambda label: label, True)] * 4)
    advantages = record_advantages(monkeypatch)
    run = run_one_step(tmp_path)
    assert advantages[0] == [0.0] * 4
    assert "NaN" not in run.path("fade.jsonl").read_text()


def test_users_add_terms_by_the_config_and_by_the_run(tmp_path, monkeypatch):
    (tmp_path / "own_terms.py").write_text(
        "def is_formed(judged):\n    return None if judged.correct else float(judged.well_formed)\n"
    )
    script_judgements(monkeypatch, CASES)
    advantages = record_advantages(monkeypatch)
    extra = {"formed": {"weight": -2.0, "function": "own_terms:is_formed"}}
    terms = {"told": (0.5, lambda judged: float(bool(judged.verdicts[0])))}
    run = run_one_step(tmp_path, reward={"extra": extra}, reward_terms=terms)
    told = read_jsonl(run.path("rollouts/samples.jsonl"))[0]["told"]
    assert told in (0.0, 1.0) and {"rewards/formed/mean", "rewards/told/mean"} <= set(
        read_jsonl(run.path("fade.jsonl"))[0]
    )
    first_is_sound = told == 1.0  # the first completion repeats the true labels
    said = [first_is_sound, not first_is_sound, True, False]
    base = [1.6, 0.1 - 2.0, 0.25, 1.0]
    rewards = [reward + 0.5 * sound for reward, sound in zip(base, said, strict=True)]
    assert advantages[0] == pytest.approx(standardize(rewards), abs=1e-4)


def test_a_term_with_a_taken_name_or_a_useless_value_is_the_users_error(tmp_path):
    make_tiny(tmp_path / "model", "qwen2")
    config = make_config(tmp_path)
    with pytest.raises(ConfigError, match="'answer': there is already a term of this name"):
        load_terms(config, {"answer": (1.0, lambda judged: 1.0)})
    terms = load_terms(config, {"odd": (1.0, lambda judged: float("nan"))})
    with pytest.raises(ConfigError, match=r"reward term odd: .*it returned nan"):
        terms["odd"][1](Judged(text="", correct=True))
    unknown = {"extra": {"own": {"weight": 1.0, "function": "no_such_module:term"}}}
    config = make_config(tmp_path, train=TRAIN | {"reward": unknown})
    with pytest.raises(ConfigError, match=r"train\.reward\.extra\.own\.function"):
        rl.check_train(make_run(tmp_path, config))


def grade(tmp_path, texts, *, shown, config=None, majority=None):
    config = config or make_config(tmp_path)
    grader = Grader(
        Verifier("number"),
        config,
        load_terms(config, {}),
        read=lambda ids: "".join(map(chr, ids)),
        samples_path=tmp_path / "samples.jsonl",
    )
    count, logged = len(texts), {}
    graded = grader.grade(
        prompts=["q"] * count,
        completion_ids=[list(map(ord, text)) for text in texts],
        problem_id=["p"] * count,
        facts=[
            RowFacts(
                gold="6",
                routes=routes,
                flaws=(None,) * len(routes),
                majority=voted,
                share=1.0,
                progress=0.0,
            )
            for routes, voted in zip(shown, majority or [None] * count, strict=True)
        ],
        trainer_state=type("State", (), {"is_world_process_zero": False, "global_step": 0}),
        log_metric=logged.__setitem__,
    )
    return grader, graded, logged


SOUND_THEN_FLAWED = "<verify>\nRoute 1: sound\nRoute 2: flawed\n</verify>\n<answer>6</answer>"


def test_outcomes_say_which_completions_had_routes_and_which_are_right(tmp_path):
    texts = [SOUND_THEN_FLAWED, "<answer>6</answer>", "<answer>5</answer>", "nothing said"]
    shown = [(RIGHT, WRONG), (), (), (RIGHT, WRONG)]
    grader, _, logged = grade(tmp_path, texts, shown=shown)
    found = [(outcome.guided, outcome.correct) for outcome in grader.outcomes]
    assert found == [(True, True), (False, True), (False, False), (True, False)]
    assert (logged["assisted_answer"], logged["autonomous_answer"]) == (0.5, 0.5)


@pytest.mark.parametrize(("label", "expected"), [("outcome", 1.0), ("process", 0.0)])
def test_a_verdict_is_compared_with_the_label_that_the_config_names(tmp_path, label, expected):
    config = make_config(tmp_path, train=TRAIN | {"reward": {"verdict_label": label}})
    lucky = Route(**vars(RIGHT) | {"process": False})
    unlucky = Route(**vars(WRONG) | {"process": True})
    _, [graded], _ = grade(tmp_path, [SOUND_THEN_FLAWED], shown=[(lucky, unlucky)], config=config)
    assert graded.terms["verdict"] == expected


def test_an_answer_is_a_copy_if_it_is_what_most_routes_answer(tmp_path):
    texts = ["<answer>6.0</answer>", "<answer>5</answer>", "nothing said", "<answer>6</answer>"]
    shown = [(RIGHT, WRONG)] * 4
    _, graded, logged = grade(tmp_path, texts, shown=shown, majority=["6", "6", "6", None])
    assert [one.copied for one in graded] == [True, False, False, None]
    assert logged["copy_rate"] == pytest.approx(1 / 3)


def test_all_terms_of_a_batch_judge_it_once(tmp_path, monkeypatch):
    calls, inside = [], grading.judge_all

    def count(*args, **kwargs):
        calls.append(1)
        return inside(*args, **kwargs)

    monkeypatch.setattr(grading, "judge_all", count)
    run_one_step(tmp_path)
    assert len(calls) == 1
