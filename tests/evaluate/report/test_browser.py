"""The report in a real browser. Needs playwright (`pip install playwright`) and Chromium."""

import shutil

import pytest

from realm.evaluate import report
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
def address(tmp_path_factory):
    run = write_finished_run(tmp_path_factory.mktemp("run"))
    report.run_report(run)
    return run.path("report.html").as_uri()


@pytest.fixture
def page(browser, address):
    page = browser.new_page(viewport={"width": 400, "height": 800}, color_scheme="light")
    problems = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    page.on("request", lambda request: problems.append(request.url))
    page.goto(address)
    page.wait_for_selector("details.problem")
    yield page
    assert problems == [address], "no error, no dialog, no request but the page itself"
    page.close()


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
    assert page.evaluate("document.querySelectorAll('#list script').length") == 0


def test_it_is_used_by_keyboard(page):
    page.keyboard.press("/")
    page.keyboard.type("question 4?")
    assert count_of(page) == "2 of 20 problems", "4 and 14"
    page.focus("details.problem summary")
    page.keyboard.press("Enter")
    assert page.evaluate("document.querySelector('details.problem').open") is False


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


def test_it_fits_a_phone_and_has_a_dark_mode(page):
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.click("#theme")
    assert page.evaluate(ground) != light
    page.evaluate("scrollTo(500, 0)")
    assert page.evaluate("scrollX") == 0, "nothing is wider than the screen"
