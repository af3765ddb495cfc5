"""The report in a real browser. Needs the extra `test` and Chromium of the system."""

import shutil

import pytest

from realm.evaluate import report
from realm.evaluate.records import Comparison, Evaluation
from realm.evaluate.results import Results
from report_run import ATTACK, write_finished_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium")
    with sync_api.sync_playwright() as playwright:
        # A container has no namespaces for the sandbox.
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def addresses(tmp_path_factory):
    """The report of a run and that of a comparison whose table is long enough to be filtered."""
    run = write_finished_run(tmp_path_factory.mktemp("run"))
    report.run_report(run)
    compared = write_finished_run(tmp_path_factory.mktemp("compared"))
    rows = [
        Evaluation(
            method=method, mode=mode, split="test", seed=None, n=20, accuracy=0.6,
            ci95=(0.5, 0.7), tokens_per_problem=9.0, seeds=(7, 8), per_seed=(0.55, 0.65),
        )
        for method in ("realm", "no_fade", f"grpo {ATTACK}")
        for mode in ("autonomous", "assisted", "self_consistency", "self_routes")
    ]  # fmt: skip
    difference = Comparison(
        family="ablations, autonomous", a="realm", a_mode="autonomous", b="no_fade",
        b_mode="autonomous", split="test", n=20, difference=0.05, ci95=(0.01, 0.09),
        smallest_detectable=0.1, p=0.01, p_holm=0.02,
    )  # fmt: skip
    methods = {row.method: {"summary": ATTACK} for row in rows}
    results = Results(evaluations=rows, comparisons=[difference], methods=methods)
    report.write_comparison_page(compared, results)
    return {
        "run": run.path("report.html").as_uri(),
        "comparison": compared.path("report.html").as_uri(),
    }


@pytest.fixture
def open_page(browser, addresses):
    """Return a function that opens a report; a page that logs or requests anything fails."""
    problems, pages = [], []

    def open_report(name, width=400, scheme="light"):
        address = addresses[name]
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        pages.append(page)
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(dialog.message))
        page.on("request", lambda request: problems.append(request.url))
        page.goto(address)
        page.wait_for_selector("details.problem" if name == "run" else "th button")
        assert problems == [address], "the page itself, and nothing else"
        problems.clear()
        return page

    yield open_report
    for page in pages:
        page.close()
    assert problems == []


@pytest.fixture
def page(open_page):
    return open_page("run")


def count_of(page):
    return page.inner_text("#count")


def test_filters_and_search_narrow_the_list(page):
    assert count_of(page) == "20 of 20 problems, 10 listed"
    page.click("#more")
    assert count_of(page) == "20 of 20 problems"
    page.select_option("#tag", "wrong-alone")
    assert count_of(page) == "7 of 20 problems"
    page.fill("#search", 'QUESTION "3')
    assert count_of(page) == "0 of 20 problems"
    page.fill("#search", "question 3?")
    assert count_of(page) == "1 of 20 problems"
    assert page.inner_text("details.problem .title") == "p3"
    page.fill("#search", "")
    page.select_option("#tag", "")
    page.select_option("#source", "outsider")
    assert count_of(page).startswith("20 of 20")


def test_an_open_problem_shows_routes_verdicts_and_answers_as_text(page):
    text = page.inner_text("details.problem[open]")
    assert "Routes shown" in text and "model says sound" in text and "model says no verdict" in text
    assert "right answer by a step that does not hold" in text
    assert f"{ATTACK} my answer to 0, autonomous" in text


@pytest.mark.parametrize("name", ["run", "comparison"])
def test_text_by_others_becomes_no_element(open_page, name):
    page = open_page(name)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert page.evaluate("document.body.textContent").count(ATTACK) >= (20 if name == "run" else 4)
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == (2 if name == "run" else 1)


def test_it_is_used_by_keyboard(page):
    page.keyboard.press("/")
    page.keyboard.type("question 4?")
    assert count_of(page) == "2 of 20 problems", "4 and 14"
    page.focus("details.problem summary")
    page.keyboard.press("Enter")
    assert page.evaluate("document.querySelector('details.problem').open") is False


def test_the_keyboard_skips_the_contents_and_stays_where_it_was(page):
    page.keyboard.press("Tab")
    assert page.locator(".skip").bounding_box()["x"] >= 0, "seen while it has the focus"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    focused = "document.activeElement"
    assert page.evaluate(f"document.querySelector('#accuracy').contains({focused})")
    page.focus("#more")
    page.keyboard.press("Enter")
    assert page.evaluate(f"{focused}.textContent").startswith("p5 "), "the first that was added"


def test_a_table_sorts_and_says_so(page):
    header = page.locator("#accuracy th", has_text="accuracy").first
    header.locator("button").focus()
    cells = "[...document.querySelectorAll('#accuracy tbody tr')].map(r => r.cells[3].textContent)"
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "descending"
    falling = [float(text.split()[0]) for text in page.evaluate(cells)]
    page.keyboard.press("Enter")
    rising = [float(text.split()[0]) for text in page.evaluate(cells)]
    assert falling == [75, 60, 50, 40] and rising == falling[::-1]


def test_a_tile_does_not_repeat_its_title(open_page):
    tile = open_page("comparison").locator(".tile").first
    assert tile.locator("h2").inner_text() == "Ablations, autonomous"
    assert tile.locator("p").nth(1).inner_text().startswith("realm autonomous against")


def test_a_long_table_is_filtered(open_page):
    page = open_page("comparison")
    rows = page.locator("#accuracy tbody tr:visible")
    assert rows.count() == 12
    page.fill("#accuracy .filter", "Self_ REALM")
    assert rows.count() == 2


def test_the_button_changes_between_light_and_dark(page):
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.click("#theme")
    assert page.evaluate(ground) != light and page.inner_text("#theme") == "Light mode"


@pytest.mark.parametrize("name", ["run", "comparison"])
def test_it_is_accessible_in_both_modes_and_fits_a_phone(open_page, name):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = open_page(name)
    # Colours are looked at where no table is cut off: axe cannot tell what lies behind such text.
    contrast = "color-contrast"
    wanted = {"resultTypes": ["violations"]}
    for width, scheme, options in (
        (400, "light", {"rules": {contrast: {"enabled": False}}}),
        (1280, "light", {"runOnly": [contrast]}),
        (1280, "dark", {"runOnly": [contrast]}),
    ):
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=scheme)
        found = [
            (violation["id"], violation["nodes"][0]["html"])
            for violation in axe.run(page, options=options | wanted).response["violations"]
            if violation["impact"] in ("serious", "critical")
        ]
        assert found == [], f"{width} pixels wide, {scheme}"
        page.evaluate("scrollTo(500, 0)")
        assert page.evaluate("scrollX") == 0, "nothing is wider than the screen"
