"""A domain that a user writes: loading it, and what its expert's methods give."""

import random

import pytest

from realm.config.root import load_config
from realm.core.errors import ConfigError
from realm.core.records import Problem, Route
from realm.domains import Domain, load_domain, require_expert
from realm.run import Run

CODE = """
from realm import Domain, Problem, Verifier

class Doubling(Domain):
    rules = "Twice."
    verifier = Verifier("number")

    def __init__(self, limit=3):
        self.limit = limit

    def problems(self, seed):
        return [
            Problem(id=str(n), split="train", question=f"{n}?", answer=2 * n)
            for n in range(self.limit)
        ]

class NoVerifier(Domain):
    pass

def no_domain():
    return 1
"""


@pytest.fixture
def load(tmp_path, monkeypatch, write_config):
    (tmp_path / "doubling_domain.py").write_text(CODE)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    monkeypatch.delitem(__import__("sys").modules, "doubling_domain", raising=False)

    def load(target, **settings):
        domain = {"kind": "python", "target": target, "settings": settings}
        return load_domain(load_config(write_config(domain=domain)))

    return load


def test_a_config_names_a_class_and_its_arguments(load):
    domain = load("doubling_domain:Doubling", limit=2)
    assert [problem.answer for problem in domain.problems(1)] == [0, 2]
    assert (domain.name, domain.rules, domain.answer_form) == ("Doubling", "Twice.", None)
    assert domain.make_instructor([]) is None
    with pytest.raises(ConfigError, match="routes: the domain Doubling writes no routes"):
        require_expert(domain, [], "routes")


@pytest.mark.parametrize(
    ("target", "settings", "message"),
    [
        (
            "doubling_domain:Doubling",
            {"size": 2},
            "raised TypeError: .*unexpected keyword argument 'size'",
        ),
        ("doubling_domain:no_domain", {}, "gives a int. It must name a subclass of realm.Domain"),
        ("doubling_domain:NoVerifier", {}, "has no realm.Verifier as its verifier"),
        ("doubling_domains:Doubling", {}, "small.yaml: domain.target: .*there is no module"),
    ],
)
def test_what_is_wrong_with_a_domain_is_one_message(load, target, settings, message):
    with pytest.raises(ConfigError, match=message):
        load(target, **settings)


class Guessing(Domain):
    sources = ("high", "low")

    def write_chain(self, problem):
        return Route(
            problem_id=problem.id, source="expert", text="x", answer=1, correct=True, guided=True
        )

    def write_route(self, problem, source, rng):
        text = f"{source} {rng.random()}"
        return Route(problem_id=problem.id, source=source, text=text, answer=1, correct=True)


def problems_of(*splits):
    return [
        Problem(id=f"p{n}", split=split, question="?", answer=1) for n, split in enumerate(splits)
    ]


def test_scripted_routes_guide_the_first_training_problems_and_hold_sources_out(small_config):
    settings = small_config.with_settings(
        {
            "routes.guided_problems": 1,
            "routes.sources": ["high"],
            "routes.held_out": ["low"],
            "routes.per_source": 2,
            "routes.eval_routes": 1,
        }
    ).routes
    routes = list(Guessing().write_routes(problems_of("test", "train", "train"), settings, 5))
    found = [(route.problem_id, route.source) for route in routes]
    assert found == [
        ("p1", "expert"),
        ("p1", "high"),
        ("p1", "high"),
        ("p2", "high"),
        ("p2", "high"),
        ("p0", "low"),
    ]
    again = list(Guessing().write_routes(problems_of("test", "train", "train")[2:], settings, 5))
    assert [route.text for route in again if route.source == "high"] == [
        route.text for route in routes if route.problem_id == "p2"
    ]


def test_without_lists_all_sources_write_and_evaluation_shows_the_same_ones(small_config):
    settings = small_config.with_settings({"routes.held_out": [], "routes.per_source": 1}).routes
    routes = list(Guessing().write_routes(problems_of("train", "test"), settings, 5))
    shown = {(route.problem_id, route.source) for route in routes if not route.guided}
    assert shown == {(name, source) for name in ("p0", "p1") for source in ("high", "low")}


def test_an_expert_names_the_sources_that_it_knows():
    require_expert(Guessing(), ["high", "low"], "routes")
    with pytest.raises(ConfigError, match=r"Guessing knows no source 'hihg'\. Allowed: high, low"):
        require_expert(Guessing(), ["low", "hihg"], "routes")


@pytest.mark.parametrize(
    "call",
    [
        lambda domain: domain.problems(1),
        lambda domain: domain.write_chain(problems_of("train")[0]),
        lambda domain: domain.write_route(problems_of("train")[0], "x", random.Random(1)),
    ],
)
def test_a_method_that_is_not_defined_says_so(call):
    with pytest.raises(NotImplementedError, match="Domain does not define"):
        call(Domain())


def test_a_change_of_the_user_s_code_makes_the_stages_run_again(load, tmp_path, write_config):
    domain = {"kind": "python", "target": "doubling_domain:Doubling"}
    run = Run(tmp_path / "run", load_config(write_config(domain=domain, model=None)))
    assert not run.is_done("data")
    run.data()
    assert run.is_done("data") and Run(run.folder, run.config).is_done("data")
    (tmp_path / "doubling_domain.py").write_text(CODE + "\n# another line\n")
    again = Run(run.folder, run.config)
    assert not again.is_done("data")
    changed = {stage for stage in run.stages if "code of the domain" in run.find_settings(stage)}
    assert changed == set(run.stages)


def test_a_change_of_a_file_that_the_domain_declares_makes_data_run_again(
    load, tmp_path, write_config
):
    (tmp_path / "doubling_domain.py").write_text(
        CODE.replace("rules =", "files = ['a.csv']\n    rules =")
    )
    (tmp_path / "a.csv").write_text("1")
    domain = {"kind": "python", "target": "doubling_domain:Doubling"}
    run = Run(tmp_path / "run", load_config(write_config(domain=domain, model=None)))
    run.data()
    assert run.is_done("data")
    (tmp_path / "a.csv").write_text("2")
    assert not run.is_done("data")


def test_a_domain_given_in_python_counts_by_the_source_of_its_class(tmp_path, small_config):
    class Other(Guessing):
        pass

    hashes = {
        Run(tmp_path, small_config, domain=domain).find_settings("data")["code of the domain"]
        for domain in (Guessing(), Guessing(), Other(), type("Prompt", (Guessing,), {})())
    }
    assert len(hashes) == 3
