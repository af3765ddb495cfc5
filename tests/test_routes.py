import pytest

from realm import routes
from realm.answers import get_answers
from realm.config import load_config
from realm.domains import load_domain
from realm.errors import ConfigError, DataError
from realm.jsonl import read_routes, write_jsonl
from realm.records import Problem, Route
from realm.routes import bank_summary, refuse_problems_without_routes
from realm.runs import Run

SAME = get_answers("text").same


def problem(identity, split="test", answer="x"):
    return Problem(id=identity, split=split, question=f"q {identity}", answer=answer)


def route(identity, answer, source="m", text=None, guided=False):
    text = f"{source} says {answer}" if text is None else text
    return Route(problem_id=identity, source=source, text=text, answer=answer, correct=answer == "x", guided=guided)


def test_the_bank_is_summed_up_per_group_and_source():
    problems = [problem("a"), problem("b"), problem("t", "train")]
    bank = [route("a", answer, text=f"{n} says so") for n, answer in enumerate(["x", "y", "x", None])]
    bank += [route("b", answer) for answer in ["y", "y", "y", "x"]]
    bank += [route("b", "x", source="n"), route("t", "x"), route("t", "x", source="expert", guided=True)]
    train, m, n, everyone = bank_summary(problems, bank, SAME)
    assert [(row.group, row.source) for row in (train, m, n, everyone)] == [
        ("train", "m"), ("evaluation", "m"), ("evaluation", "n"), ("evaluation", routes.ALL_SOURCES),
    ]  # fmt: skip
    assert (m.problems, m.routes, m.one, m.majority, m.any, m.mixed) == (2, 8, 0.375, 0.5, 1, 1)
    assert (m.duplicates, m.unsaid, m.words) == (0.25, 0.125, 3)
    assert (n.problems, n.one, n.mixed) == (1, 1, 0)
    assert (train.routes, train.one) == (1, 1)
    assert everyone.one == pytest.approx((2 / 4 + 2 / 5) / 2)


def test_the_table_fits_into_a_narrow_terminal(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    problems = [problem("a"), problem("t", "train")]
    bank = [route(identity, "x", source) for identity in "at" for source in ("qwen2.5-14b", "llama3.1-8b")]
    routes._print_table(bank_summary(problems, bank, SAME), ["qwen2.5-14b"])
    printed = capsys.readouterr().out
    assert "…" not in printed and printed.count("qwen2.5-14b * ") == 2


def test_an_empty_bank_has_no_rows():
    assert bank_summary([problem("a")], [], SAME) == []


@pytest.mark.parametrize(
    ("missing", "held_out", "message"),
    [
        (("b", "out"), ["out"], "1 of 2 evaluation problems have no route by a source that is held out, the first is 'b'"),
        (("t", "m"), ["out"], "1 of 1 training problems have no route by a source that is not held out, the first is 't'"),
    ],
)
def test_problems_without_the_routes_they_need_are_counted_and_the_first_is_named(missing, held_out, message):
    problems = [problem("a"), problem("b"), problem("t", "train")]
    everything = [route(identity, "x", source) for identity in "abt" for source in ("m", "out")]
    refuse_problems_without_routes(problems, everything, held_out)
    with pytest.raises(DataError, match=message):
        refuse_problems_without_routes(problems, [r for r in everything if (r.problem_id, r.source) != missing], held_out)


def test_without_held_out_sources_any_route_will_do_but_a_guided_chain_is_none():
    problems = [problem("a"), problem("t", "train")]
    refuse_problems_without_routes(problems, [route("a", "x"), route("t", "x")], [])
    with pytest.raises(DataError, match="1 of 1 training problems have no route by any source"):
        refuse_problems_without_routes(problems, [route("a", "x"), route("t", "x", guided=True)], [])


@pytest.fixture
def scripted_run(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(
        "model: some/model\ndomain: {kind: claims, sizes: {train: 6, validation: 2, test: 4, test_rules: 2}}\n"
        "routes: {kind: scripted, guided_problems: 4, per_source: 2, eval_routes: 3}\n"
    )
    config = load_config(path, [])
    run = Run(tmp_path / "run", config)
    write_jsonl(run.path("problems.jsonl"), load_domain(config).problems(config.seed))
    return run


def test_the_scripted_expert_guides_some_training_problems_and_keeps_a_source_for_evaluation(scripted_run, capsys):
    routes.run(scripted_run.config, scripted_run)
    written = read_routes(scripted_run.path("routes.jsonl"))
    assert sum(one.guided for one in written) == 4
    assert sum(one.source in ("hasty", "frugal", "dated", "careless") for one in written) == 6 * 4 * 2
    assert sum(one.source == "outsider" for one in written) == 8 * 3
    assert "Route bank" in capsys.readouterr().out


def test_the_same_seed_gives_the_same_bytes(scripted_run):
    routes.run(scripted_run.config, scripted_run)
    first = scripted_run.path("routes.jsonl").read_bytes()
    routes.run(scripted_run.config, scripted_run)
    assert scripted_run.path("routes.jsonl").read_bytes() == first


def test_a_source_that_the_expert_does_not_know_is_refused(scripted_run):
    config = load_config(scripted_run.config.source, ["routes.sources=[hsty]"])
    with pytest.raises(ConfigError, match=r"knows no source 'hsty'\. Allowed: hasty, frugal, dated, careless, outsider"):
        routes.run(config, scripted_run)
