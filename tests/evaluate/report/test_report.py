from html.parser import HTMLParser

import pytest

from experts import CLAIMS
from realm.config.root import Config
from realm.core.errors import RunError
from realm.core.jsonl import read_jsonl, write_json, write_jsonl
from realm.core.records import Problem, Route
from realm.evaluate import report
from realm.evaluate.records import HARD
from realm.evaluate.report.transcripts import pick_transcripts
from realm.evaluate.results import SCHEMA
from realm.run import Run
from realm.sampling import Answer

ATTACK = "<script>alert('owned')</script>"


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


def fill(folder, *, trained=True, count=20):
    """Write the files of a finished evaluation, with hostile text wherever someone wrote."""
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
        write_json(folder / "headroom.json", {"problems": 128, "mean@1": 0.51, "pass@8": 0.93})
    return Run(folder, config)


class Page(HTMLParser):
    """The page as a browser reads it: its text outside scripts, its tags and its links."""

    def __init__(self, html):
        super().__init__()
        self.text, self.tags, self.outside, self.inside_script = "", [], [], False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.inside_script = tag in ("script", "style")
        self.outside += [value for name, value in attributes if name in ("src", "href")]

    def handle_endtag(self, tag):
        self.inside_script = False

    def handle_data(self, data):
        if not self.inside_script:
            self.text += data


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    run = fill(tmp_path_factory.mktemp("run"))
    report.run_report(run)
    return Page(run.path("report.html").read_text(encoding="utf-8"))


def test_the_report_shows_results_comparisons_and_transcripts(page):
    text = " ".join(page.text.split())
    assert "the ReaLM model answers 60.0% by itself and 75.0% with routes" in text
    assert "majority of 2" in text and "75.0 [65.0, 85.0]" in text and "80.0 / 90.0" in text
    assert "realm assisted − majority" in text and "no evidence of a difference" in text
    assert "pass@8" in text and "93.0%" in text
    assert "Route bank" in text and "50.055.080.040.035.010.02.51.2" in text
    assert text.count("Assisted answer") == 10 and text.count("Autonomous answer") == 10
    # The right routes hold a wrong step, and their steps have numbers.
    assert "is flawed" in text and "is sound" not in text and "[1] chain 3" in text
    assert "model gave no verdict" in text
    assert "right answer by a step that does not hold" in text


def test_the_report_shows_the_probe_and_the_hard_problems(page):
    text = " ".join(page.text.split())
    probe = text.split("Probe: are the steps read?")[1]
    cells = "".join(probe.split())
    assert "soundrouterealm2090.0[85.0,95.0]-50.0" in cells
    assert "wrongsteprealm2025.0[20.0,30.0]70.0[60.0,80.0]50.0" in cells
    # No route of the fake run is made into the other kinds.
    assert "The probe lacks wrong route, wrong answer, foreign steps" in text
    hard = text.split("Hard problems")[1].split("Route bank")[0]
    assert "the majority of the same routes is right on 35.0% of those for base" in hard
    row = "baserealm620.0[10.0,30.0]50.0[40.0,60.0]+30.0[+10.0,+50.0]realmassistedisbetter"
    assert row in "".join(hard.split())
    assert text.count("realm: assisted − autonomous") == 0, "it is in no other table"


def test_the_report_needs_no_network(page):
    assert page.outside == []


def test_text_of_models_and_users_is_shown_and_never_run(page):
    assert page.text.count(ATTACK) >= 40
    scripts = page.tags.count("script")
    assert scripts == 6, "plotly itself and five charts"


def test_plotly_is_there_once(tmp_path):
    run = fill(tmp_path)
    report.run_report(run)
    assert 4_000_000 < run.path("report.html").stat().st_size < 8_000_000


def test_the_gap_the_buckets_of_a_gated_fade_and_its_alarms_are_shown(tmp_path):
    run = fill(tmp_path)
    rows = [
        row | {"assisted_answer": 0.7, "autonomous_answer": 0.5,
               "bucket_share": [0.8, 0.4], "bucket_assisted": [0.7, None],
               "bucket_autonomous": [0.4, 0.9]}
        for row in read_jsonl(run.path("fade.jsonl"))
    ]  # fmt: skip
    rows[7]["alarms"] = [f"position bias: {ATTACK}"]
    write_jsonl(run.path("fade.jsonl"), rows)
    report.run_report(run)
    page = run.path("report.html").read_text(encoding="utf-8")
    assert f"step 7: position bias: {ATTACK}" in Page(page).text
    assert '"autonomy gap"' in page and '"bucket 1 of 2"' in page and '"bucket 2 of 2"' in page


def test_a_run_without_training_has_a_report_without_its_curves(tmp_path):
    run = fill(tmp_path, trained=False)
    report.run_report(run)
    page = Page(run.path("report.html").read_text(encoding="utf-8"))
    assert "the base model answers 60.0% by itself" in page.text
    assert (
        "Fading guidance" not in page.text
        and "Headroom" not in page.text
        and "Paired comparisons" not in page.text
    )


def test_without_a_model_the_report_is_about_the_routes(tmp_path):
    run = fill(tmp_path)
    rows = [
        evaluation(
            method,
            "routes",
            accuracy,
            figures={"k": 2},
            source=source,
            split="all",
            tokens_per_problem=None,
        )
        for source in ("outsider", f"src{ATTACK}", "all")
        for method, accuracy in (("one route", 0.4), ("majority", 0.5), ("any of K", 0.8))
    ]
    write_results(run.folder, rows, [])
    for name in ("answers.jsonl", "fade.jsonl"):
        write_jsonl(run.path(name), [])
    run.path("headroom.json").unlink()
    run.config = run.config.model_copy(update={"model": None})
    report.run_report(run)
    text = " ".join(Page(run.path("report.html").read_text(encoding="utf-8")).text.split())
    assert (
        "one route is right in 40.0% of the cases, the majority of up to 2 in 50.0%, "
        "and any of them in 80.0%" in text
    )
    assert (
        "No model was evaluated." in text
        and "What the routes of each source are worth" in text
        and "Route bank" in text
    )
    assert "Transcripts" not in text and "Verdicts" not in text and "tokens per problem" not in text


def test_the_same_run_gives_the_same_report(tmp_path):
    run = fill(tmp_path)
    report.run_report(run)
    first = run.path("report.html").read_bytes()
    report.run_report(run)
    assert run.path("report.html").read_bytes() == first


def test_a_report_without_results_says_what_to_run(tmp_path):
    run = fill(tmp_path)
    run.path("results.json").unlink()
    with pytest.raises(
        RunError, match=r"results\.json: there are no results yet\. Run `realm eval` first"
    ):
        report.run_report(run)


def pick(rights, count):
    rows = [
        Answer.from_row(answer_row(i, "realm", "assisted", right)) for i, right in enumerate(rights)
    ]
    problems = {
        f"p{i}": Problem(id=f"p{i}", split="test", question="?", answer="a")
        for i in range(len(rights))
    }
    routes = [
        Route(problem_id=id_, source="s", text=text, answer=None, correct=False)
        for id_ in problems
        for text in "ab"
    ]
    return pick_transcripts(rows, problems, routes, count=count)


@pytest.mark.parametrize(
    ("rights", "count", "expected"),
    [
        pytest.param(
            [True] * 9 + [False] * 9, 4, [True, False, True, False], id="half and half in turn"
        ),
        pytest.param([True] * 9 + [False], 4, [True, False, True, True], id="few wrong ones"),
        pytest.param([True] + [False] * 9, 4, [True, False, False, False], id="few right ones"),
        pytest.param([False] * 2, 4, [False, False], id="fewer than asked for"),
        pytest.param([], 4, [], id="none"),
    ],
)
def test_transcripts_are_right_and_wrong_ones_in_turn(rights, count, expected):
    assert [item.assisted.judged.correct for item in pick(rights, count)] == expected


def test_a_transcript_shows_the_routes_in_the_order_of_the_prompt():
    [item] = pick([True], 1)
    shown = [(route.text, verdict) for route, verdict in item.routes]
    assert shown == [("b", True), ("a", None)] and item.autonomous is None
