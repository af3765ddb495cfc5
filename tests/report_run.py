"""A finished run with hostile text wherever someone wrote, for tests of its report."""

from __future__ import annotations

from experts import CLAIMS
from realm.config.root import Config
from realm.core.jsonl import write_json, write_jsonl
from realm.core.records import Problem, Route
from realm.evaluate.records import HARD
from realm.evaluate.results import SCHEMA
from realm.run import Run

# It would leave an attribute, load a picture and run a script.
ATTACK = "\"'><img src=x onerror=alert(1)><script>alert('owned')</script>"


def answer_row(number, method, mode, correct):
    row = {
        "method": method, "mode": mode, "split": "test", "problem_id": f"p{number}", "prompt": "?",
        "prompt_tokens": 50,
        "judged": {
            "text": f"{ATTACK} my answer to {number}, {mode}", "correct": correct,
            "num_tokens": 9, "answer": "x",
            "verdicts": [True, None] if mode == "assisted" else [], "well_formed": True,
        },
    }  # fmt: skip
    return row | ({"routes": [1, 0]} if mode == "assisted" else {})


def evaluation(method, mode, accuracy, **more):
    return {
        "method": method, "mode": mode, "split": "test", "seed": 7, "n": 20, "accuracy": accuracy,
        "ci95": [accuracy - 0.1, accuracy + 0.1], "tokens_per_problem": 9.0,
    } | more  # fmt: skip


def verdict_figures(sound, flawed):
    return {
        "verdict_accuracy": (sound + flawed) / 2, "k": 2,
        "verdict_accuracy_sound": sound, "verdict_accuracy_flawed": flawed,
        "always_sound_rate": 0.1, "always_flawed_rate": 0.0, "well_formed_rate": 1.0,
    }  # fmt: skip


def write_results(folder, evaluations, comparisons, **more):
    content = {"schema": SCHEMA, "budgets": [], "methods": {}, "left_out": {}}
    content |= {"evaluations": evaluations, "comparisons": comparisons}
    write_json(folder / "results.json", content | more)


def write_finished_run(folder, *, trained=True, count=20):
    """Write the files of a finished evaluation to `folder`, and return its run."""
    config = Config.model_validate(
        {
            "model": "some/model",
            "domain": {"kind": "python", "target": CLAIMS},
            "report": {"transcripts": 10},
        }
    )
    method = "realm" if trained else "base"
    problems = [
        Problem(id=f"p{i}", split="test", question=f"Question {i}? {ATTACK}", answer=f"gold {i}")
        for i in range(count)
    ]
    routes = []
    for i in range(count):
        hostile = {"source": f"src{ATTACK}", "text": f"wrong chain {i} {ATTACK}"}
        routes.append(Route(problem_id=f"p{i}", answer=None, correct=False, **hostile))
        routes.append(
            Route(
                problem_id=f"p{i}",
                answer="x",
                correct=True,
                process=False,
                source="outsider",
                text=f"chain {i}",
            )
        )
    evaluations = [
        evaluation(method, "assisted", 0.75, figures=verdict_figures(0.8, 0.9)),
        evaluation(method, "autonomous", 0.6),
        evaluation("majority", "routes", 0.5, figures={"k": 2}, tokens_per_problem=None),
        evaluation(
            "one route",
            "routes",
            0.4,
            figures={"k": 2},
            source=f"src{ATTACK}",
            tokens_per_problem=None,
        ),
    ]
    for kind, sound in (("sound", 0.9), ("flawed_step", 0.25)):
        figures = {
            "called_sound": sound, "called_sound_ci95": [sound - 0.05, sound + 0.05],
            "known_flaws": 0,
        }  # fmt: skip
        if kind != "sound":
            figures |= {"first_flaw_named": 0.7, "first_flaw_named_ci95": [0.6, 0.8]}
        evaluations.append(evaluation(method, "probe", 0.5, source=kind, figures=figures))
    comparison = {
        "family": "test", "split": "test", "n": 20,
        "a": "realm", "a_mode": "assisted", "b": "majority", "b_mode": "routes",
        "difference": 0.25, "ci95": [-0.05, 0.4], "p_mcnemar": 0.07, "smallest_detectable": None,
    }  # fmt: skip
    on_hard = {"split": "hard", "n": 6, "tokens_per_problem": None}
    evaluations += [
        evaluation("realm", "autonomous", 0.2, **on_hard),
        evaluation("realm", "assisted", 0.5, **on_hard),
        evaluation("majority", "routes", 0.35, figures={"k": 2}, **on_hard),
    ]
    hard = comparison | {
        "family": HARD, "split": "hard", "b": "realm", "b_mode": "autonomous", "n": 6,
        "difference": 0.3, "ci95": [0.1, 0.5], "p_mcnemar": 0.02,
    }  # fmt: skip
    write_jsonl(folder / "problems.jsonl", problems)
    write_jsonl(folder / "routes.jsonl", routes)
    words = {"p10": 2, "p25": 3, "p50": 4, "p75": 6, "p90": 9}
    shares = {
        "one": 0.5,
        "majority": 0.55,
        "any": 0.8,
        "mixed": 0.4,
        "majority_wrong": 0.35,
        "repeated": 0.1,
    }
    counts = {
        "group": "all",
        "problems": count,
        "routes": count,
        "no_answer": 0.025,
        "undecided": 0.0125,
        "words": words,
    }
    bank = [counts | shares | {"source": source} for source in (f"src{ATTACK}", "outsider")]
    write_json(folder / "bank.json", {"schema": "realm.bank/1", "sources": bank})
    rows = [
        answer_row(i, method, mode, i % 3 > 0)
        for mode in ("assisted", "autonomous")
        for i in range(count)
    ]
    write_jsonl(folder / "answers.jsonl", rows)
    write_results(folder, evaluations, [comparison, hard] if trained else [], left_out={"test": 3})
    if trained:
        fade = [
            {
                "step": step, "progress": step / 40, "share": 1 - step / 40,
                "routes_shown": 4 - step // 10,
                "assisted_reward": None if step > 30 else 0.5, "autonomous_reward": 0.4,
            }
            for step in range(40)
        ]  # fmt: skip
        write_jsonl(folder / "fade.jsonl", fade)
        figures = {
            "problems": 128,
            "mean@1": 0.51,
            "pass@8": 0.93,
            "held_out_loss": 0.34,
            "outlook": "unlikely to pay",
        }
        write_json(folder / "headroom.json", figures | {"forecast": "RL is unlikely to pay."})
    return Run(folder, config)
