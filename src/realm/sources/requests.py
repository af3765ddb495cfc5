"""What each problem's requests are: who is asked what, how often, and with which part of the guide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from realm.config.root import Config
from realm.config.routes import TeacherSettings
from realm.core.errors import ConfigError
from realm.core.records import Problem
from realm.domains import Domain
from realm.sources import Request
from realm.sources.guide import cut_guide, render_guide, split_guide
from realm.sources.prompts import FORMS, guided_messages, rationalized_messages, unguided_messages


def plan_requests(
    problems: Sequence[Problem], teacher: TeacherSettings, prompts: Prompts
) -> Iterator[Request]:
    """Yield what a teacher is asked: the first sample of every problem, then the second, so that a cut hits all alike."""
    train = [problem for problem in problems if problem.split == "train"][: teacher.problems]
    others = [problem for problem in problems if problem.split != "train"]
    for sample in range(max(teacher.guided, teacher.routes, teacher.eval_routes)):
        for problem in train if sample < teacher.guided else ():
            yield prompts.guided(problem, sample)
        for problem in train if sample < teacher.routes else ():
            yield prompts.unguided(problem, sample)
        for problem in others if sample < teacher.eval_routes else ():
            yield prompts.unguided(problem, sample)


class Prompts:
    """Writes the requests of a run: what it shows of the guide, and how an answer is to be written."""

    def __init__(self, config: Config, domain: Domain) -> None:
        self.settings, self.show = config.routes, domain.verifier.render
        default_form = domain.answer_form or FORMS[domain.verifier.kind]
        self.form = self.settings.prompts.form or default_form
        self.units = split_guide(_guide_text(config, domain), self.settings.guide.unit)
        self._known: dict[str, tuple[str, tuple[str, ...]]] = {}

    def guided(self, problem: Problem, sample: int) -> Request:
        """Return the request of a chain that is written with the guide in the prompt."""
        guide, used = self._guide(problem)
        prompts = self.settings.prompts
        messages = guided_messages(
            problem.question, guide, self.form, system=prompts.system, template=prompts.guided
        )
        return Request(problem=problem, kind="guided", sample=sample, messages=messages, guide=used)

    def unguided(self, problem: Problem, sample: int) -> Request:
        """Return the request of a route."""
        messages = unguided_messages(
            problem.question, self.form, template=self.settings.prompts.unguided
        )
        return Request(problem=problem, kind="unguided", sample=sample, messages=messages)

    def rationalized(self, problem: Problem) -> Request:
        """Return the request of a guided chain whose author is shown the gold answer."""
        guide, used = self._guide(problem)
        prompts, answer = self.settings.prompts, self.show(problem.answer)
        messages = rationalized_messages(
            problem.question,
            guide,
            answer,
            self.form,
            system=prompts.system,
            template=prompts.rationalized,
        )
        return Request(
            problem=problem, kind="rationalized", sample=0, messages=messages, guide=used
        )

    def _guide(self, problem: Problem) -> tuple[str, tuple[str, ...]]:
        """Return the guide for a problem and the hashes of its units."""
        if problem.id not in self._known:
            units = cut_guide(self.units, problem.question, self.settings.guide.tokens)
            self._known[problem.id] = render_guide(units), tuple(unit.digest for unit in units)
        return self._known[problem.id]


def _guide_text(config: Config, domain: Domain) -> str:
    """Return the guide's text, empty where no teacher reads one."""
    path = config.routes.guide.path
    if path is None:
        return domain.rules or ""
    try:
        return config.resolve(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{config.resolve(path)}: routes.guide.path cannot be read: {error}. It is a Markdown or text file."
        ) from None
