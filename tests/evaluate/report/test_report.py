import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import pytest

from realm.config.compare import Mode
from realm.core.errors import RunError
from realm.core.jsonl import read_jsonl, write_jsonl
from realm.evaluate import report
from realm.evaluate.report.plots import name_colour
from report_run import ATTACK, evaluation, write_finished_run, write_results


class Page(HTMLParser):
    """The page as a browser reads it: its text outside scripts, its tags and its links."""

    def __init__(self, html):
        super().__init__()
        self.html, self.text, self.tags, self.outside = html, "", [], []
        self.data, self.script, self.inside = "", "", ""
        self.feed(html)

    @property
    def problems(self):
        """What the browser of problems lists."""
        return json.loads(gzip.decompress(base64.b64decode(self.data)))

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        kind = "data" if ("id", "data") in attributes else tag
        self.inside = kind if tag in ("script", "style") else ""
        links = [value for name, value in attributes if name in ("src", "href")]
        self.outside += [link for link in links if not link.startswith("#")]

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if not self.inside:
            self.text += data
        elif self.inside in ("data", "script"):
            setattr(self, self.inside, getattr(self, self.inside) + data)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    run = write_finished_run(tmp_path_factory.mktemp("run"))
    report.run_report(run)
    return Page(run.path("report.html").read_text(encoding="utf-8"))


def test_the_report_shows_results_comparisons_and_transcripts(page):
    text = " ".join(page.text.split())
    assert "the ReaLM model answers 60.0% by itself and 75.0% with routes" in text
    assert "majority of 2" in text and "75.0 [65.0, 85.0]" in text and "80.0 / 90.0" in text
    assert "realm assisted − majority" in text and "no evidence of a difference" in text
    assert "pass@8" in text and "93.0%" in text
    assert "held out loss" in text and "0.340" in text and "RL is unlikely to pay." in text
    assert "False" not in text and text.count("80% power") == 1
    assert "Route bank" in text and "50.055.080.040.035.010.02.51.2" in text


def test_the_page_begins_with_three_figures(page):
    text = " ".join(page.text.split())
    assert page.html.count('class="tile ') == 3
    assert "By itself 60.0% The trained model answers 60.0% of 20 test problems right" in text
    assert "With routes 75.0%" in text and "A vote of the routes 50.0%" in text
    assert text.index("A vote of the routes") < text.index("Accuracy On 20 test problems")


def test_the_contents_lead_to_each_section(page):
    targets = re.findall(r'<a href="#([a-z]+)"', page.html)
    assert targets == re.findall(r'<section id="([a-z]+)"', page.html)


def test_the_page_holds_every_problem_with_all_routes_and_answers(page):
    problems = page.problems
    assert len(problems) == 20
    assert all(len(one["routes"]) == 2 and len(one["answers"]) == 2 for one in problems)
    assert problems[0]["tags"] == ["verdict-wrong", "wrong-alone", "wrong-with-routes"]
    wrong = ["wrong-alone" in one["tags"] for one in problems]
    assert wrong == [True] * 7 + [False] * 13, "failed questions come first"
    assert "wrong alone (7)" in page.text and "All 20 problems" in page.text


def test_the_report_shows_the_probe_and_the_hard_problems(page):
    text = " ".join(page.text.split())
    probe = text.split("Probe: are the steps read?")[1]
    cells = "".join(probe.split())
    assert "soundrouterealm2090.0[85.0,95.0]-50.0" in cells
    assert "wrongsteprealm2025.0[20.0,30.0]70.0[60.0,80.0]50.0" in cells
    # No route of the fake run is made into the other kinds.
    assert "The probe lacks wrong route, wrong answer, foreign steps" in text
    hard = text.split("Hard problems")[2].split("Route bank")[0]
    assert "the majority of the same routes is right on 35.0% of those for base" in hard
    row = "baserealm620.0[10.0,30.0]50.0[40.0,60.0]+30.0[+10.0,+50.0]realmassistedisbetter"
    assert row in "".join(hard.split())
    assert text.count("realm: assisted − autonomous") == 0, "it is in no other table"


def test_the_report_needs_no_network(page):
    assert page.outside == []


def test_text_of_models_and_users_is_shown_and_never_run(page):
    assert page.text.count(ATTACK) >= 4
    assert json.dumps(page.problems).count(json.dumps(ATTACK)[1:-1]) >= 80
    assert ATTACK not in page.html and "img" not in page.tags
    assert page.tags.count("script") == 2, "the data and the program"


def test_a_browser_runs_only_the_script_of_the_page(page):
    # The policy names the script by its hash, so that text which slips through is not run.
    digest = base64.b64encode(hashlib.sha256(page.script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page.html
    assert "default-src 'none'" in page.html
    assert "innerHTML" not in page.script.replace("nothing here sets innerHTML", "")


def test_the_page_is_small(page):
    assert len(page.html) < 150_000


def test_each_mode_has_one_colour():
    style = (Path(report.__file__).parent / "style.css").read_text(encoding="utf-8")
    for mode in (*get_args(Mode), "routes", "samples"):
        assert len(re.findall(rf"\.{name_colour(mode)[0:]}[ ,]", style)) == 1, mode


def test_the_gap_the_buckets_of_a_gated_fade_and_its_alarms_are_shown(tmp_path):
    run = write_finished_run(tmp_path)
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
    text = Page(page).text
    assert "autonomy gap" in text and "bucket 1 of 2" in text and "bucket 2 of 2" in text


def test_a_run_without_training_has_a_report_without_its_curves(tmp_path):
    run = write_finished_run(tmp_path, trained=False)
    report.run_report(run)
    page = Page(run.path("report.html").read_text(encoding="utf-8"))
    assert "the base model answers 60.0% by itself" in page.text
    assert (
        "Fading guidance" not in page.text
        and "Headroom" not in page.text
        and "Paired comparisons" not in page.text
    )


def test_without_a_model_the_report_is_about_the_routes(tmp_path):
    run = write_finished_run(tmp_path)
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
    assert "Verdicts" not in text and "tokens per problem" not in text
    assert "One answer 40.0%" in text and "Any of them 80.0%" in text


def test_the_same_run_gives_the_same_report(tmp_path):
    run = write_finished_run(tmp_path)
    report.run_report(run)
    first = run.path("report.html").read_bytes()
    report.run_report(run)
    assert run.path("report.html").read_bytes() == first


def test_a_report_without_results_says_what_to_run(tmp_path):
    run = write_finished_run(tmp_path)
    run.path("results.json").unlink()
    with pytest.raises(
        RunError, match=r"results\.json: there are no results yet\. Run `realm eval` first"
    ):
        report.run_report(run)
