"""The base class of all domains, which users subclass for their own."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from realm.core.errors import ConfigError
from realm.core.settings import Section
from realm.method.steps import split_steps, split_words

if TYPE_CHECKING:
    from realm.config.routes import ScriptedRoutes
    from realm.core.errors import DataError
    from realm.core.records import Problem, Route
    from realm.verify.verifier import Verifier

SPLITS = ("train", "validation", "test", "test_rules", "test_larger")
"""test_rules holds problems that need combinations of rules which training never shows, and
test_larger problems that are larger than those of training."""

Exercise = tuple[str, str, str]
"""A new problem for the student: its question, a right chain of thought, and its answer."""


class PythonSettings(Section):
    """A domain that the user writes: a subclass of `realm.Domain`."""

    kind: Literal["python"]
    target: str
    """The class, as `module:Class`. The module lies beside the config file or on Python's path. A
    path such as `../my_domain.py:Class` is relative to the config file."""
    settings: dict[str, Any] = {}
    """The arguments of the class."""


class GivenSettings(Section):
    """No domain in the config: the caller passes one to `realm.Run`."""

    kind: Literal["given"] = "given"


class Domain:
    """A subject to teach: its problems, its rule book, and how answers are verified.

    A config names a subclass as `domain: {kind: python, target: my_domain:Sums}`:

        class Sums(realm.Domain):
            verifier = realm.Verifier("number")

            def problems(self, seed):
                rng = random.Random(seed)
                ...
                return [realm.Problem(id="1", split="train", question="1 + 2 = ?", answer=3), ...]

    The keys of `domain.settings` are the arguments of its `__init__`. Only `problems` and
    `verifier` are needed. The methods below `problems` let a program take the teacher's place.
    """

    name: str = ""
    """What reports call the domain. Default: the name of the class."""
    rules: str | None = None
    """The rule book, as Markdown text."""
    verifier: Verifier
    """Reads, compares and writes answers."""
    answer_form: str | None = None
    """How a teacher writes the answer, such as "the city alone". Default: by the verifier."""
    sources: Sequence[str] = ()
    """The sources that `write_route` knows, such as ("careful", "hasty")."""
    files: Sequence[str] = ()
    """Files that `problems` reads, relative to the config file: `realm data` depends on them."""

    needed_splits: Sequence[str] = ("train", "test")
    """Splits that may not be empty when a model is trained."""
    is_strict: bool = True
    """Whether a problem that cannot be used is an error; if not, it is reported and left out."""
    allow_shared_questions: bool = False
    """Whether the training split may hold questions of other splits."""
    bad_rows: list[DataError] = []
    """What was wrong with the rows that the last call of `problems` left out."""
    num_repeated: int = 0
    """Number of rows that repeat a problem which the last call of `problems` had read before."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # Not inherited: a subclass of a domain is another domain in reports.
        cls.name = cls.__dict__.get("name", cls.__name__)

    def problems(self, seed: int) -> list[Problem]:
        """Return the problems of every split; the same seed gives the same problems."""
        raise NotImplementedError(f"{type(self).__name__} does not define problems(self, seed)")

    def write_chain(self, problem: Problem) -> Route:
        """Return the chain of thought of an expert who has the rule book: right, and guided."""
        raise NotImplementedError(f"{type(self).__name__} does not define write_chain")

    def write_route(self, problem: Problem, source: str, rng: random.Random) -> Route:
        """Return one chain of thought by `source`, which may err in ways of its own."""
        raise NotImplementedError(f"{type(self).__name__} does not define write_route")

    def write_routes(
        self, problems: Sequence[Problem], settings: ScriptedRoutes, seed: int
    ) -> Iterable[Route]:
        """Return the routes of `routes.kind: scripted`, by `write_chain` and `write_route`.

        The first `guided_problems` training problems get a chain. All training problems get routes
        of the sources. All other splits get routes by the held-out sources, if there are any.
        """
        sources = settings.sources
        if sources is None:
            sources = [name for name in self.sources if name not in settings.held_out]
        train = [problem for problem in problems if problem.split == "train"]
        others = [problem for problem in problems if problem.split != "train"]
        for index, problem in enumerate(train):
            if index < settings.guided_problems:
                yield self.write_chain(problem)
            yield from self._sample(problem, sources, settings.per_source, seed)
        for problem in others:
            # As `select_evaluation_routes` will read them: without held-out sources, all of them.
            shown = settings.held_out or sources
            yield from self._sample(problem, shown, settings.eval_routes, seed)

    def check_route(self, problem: Problem, route: Route) -> Route:
        """Return a route of any author with its process label, as a teacher who checks it.

        Here a step holds if the expert's chain has the same words in its place. Override it where
        a solution may be written in several ways.
        """
        chain = self.write_chain(problem)
        whole = replace(chain, text=f"{chain.text}\n{self.verifier.render(chain.answer)}")
        steps, right = split_steps(route), split_steps(whole)
        for number, step in enumerate(steps, 1):
            fix = right[number - 1] if number <= len(right) else None
            if fix is None or split_words(step) != split_words(fix):
                return replace(route, process=False, flaw=number, fix=fix)
        # A route that stops early has no false step, and still does not reach the answer.
        return replace(route, process=True if len(steps) == len(right) else None)

    def make_instructor(
        self, problems: Sequence[Problem]
    ) -> Callable[[Problem, Any, random.Random], Exercise | None] | None:
        """Return a function that writes exercises from a student's errors; None if there is none.

        The baseline LLMs-as-Instructors calls it with (problem, wrong answer, rng). It returns
        None where it finds no exercise, and repeats none of `problems`, which include the tests.
        """
        return None

    def _sample(
        self, problem: Problem, sources: Sequence[str], num_routes: int, seed: int
    ) -> Iterator[Route]:
        for source in sources:
            # One generator per problem and source: the routes do not depend on the other problems.
            rng = random.Random(f"routes:{seed}:{problem.id}:{source}")
            for _ in range(num_routes):
                yield self.write_route(problem, source, rng)


def require_expert(domain: Domain, sources: Sequence[str], setting: str) -> None:
    """Raise a ConfigError unless the domain writes routes of its own, by each of `sources`."""
    theirs = type(domain)
    has_expert = (
        theirs.write_route is not Domain.write_route
        or theirs.write_routes is not Domain.write_routes
    )
    if not has_expert:
        raise ConfigError(
            f"{setting}: the domain {domain.name} writes no routes: it defines neither write_route "
            "nor write_routes. Set routes.kind: import and name files in routes.files, or "
            "routes.kind: collect."
        )
    unknown = [source for source in sources if domain.sources and source not in domain.sources]
    if unknown:
        raise ConfigError(
            f"{setting}: the domain {domain.name} knows no source {unknown[0]!r}. "
            f"Allowed: {', '.join(domain.sources)}."
        )
