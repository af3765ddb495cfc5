"""The rows of reinforcement learning: which prompt a problem shows at a step, and what the rewards must know of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from transformers import PreTrainedTokenizerBase

from realm.bank.draw import draw_routes
from realm.bank.eligible import select_training_routes
from realm.config.root import Config
from realm.core.errors import DataError
from realm.core.records import Problem, Route, RouteSet
from realm.domains import Domain
from realm.method.fade import expected_share, plan_row
from realm.method.gate import Gate, difficulty_buckets
from realm.method.prompt import render_prompt
from realm.method.steps import Flaw, find_flaw
from realm.train.trl import as_trl_prompt
from realm.verify.vote import majority

if TYPE_CHECKING:
    from realm.run import Run


class RowBuilder:
    """Writes the prompt that a training row shows at one step: a pure function of (seed, problem, step, progress, gate)."""

    def __init__(
        self,
        problems: Sequence[Problem],
        routes: Sequence[Route],
        domain: Domain,
        config: Config,
        tokenizer: PreTrainedTokenizerBase,
    ) -> None:
        self.problems = {problem.id: problem for problem in problems}
        self.bank = select_training_routes(routes, config.routes.held_out, self.problems)
        self.domain, self.config, self.tokenizer = domain, config, tokenizer
        fade = config.train.fade
        self.gate = (
            Gate(fade, difficulty_buckets(self.bank, fade.gate.buckets))
            if fade.kind == "gated"
            else None
        )
        self._flaws: dict[tuple[str, str], Flaw | None] = {}

    def routes(
        self,
        problem_id: str,
        step: int,
        progress: float,
        *,
        left: float = 1.0,
        copy: int = 0,
        copies: int = 1,
    ) -> RouteSet:
        """Return the routes shown for one problem: none where it has none, or where the fade says so."""
        train, seed, bank = self.config.train, self.config.seed, self.bank.get(problem_id, [])
        k = plan_row(
            seed, problem_id, step, progress, train.fade, left=left, copy=copy, copies=copies
        )
        return draw_routes(bank, k, seed=seed, row_id=problem_id, step=step, mix=train.mix)

    def prompt(self, problem_id: str, shown: RouteSet) -> str | list[dict[str, str]]:
        """Return the prompt in TRL's form: messages, or text where the tokenizer has no chat template."""
        templates = self.config.prompt
        text = render_prompt(
            self.problems[problem_id].question,
            shown,
            autonomous=templates.autonomous,
            assisted=templates.assisted,
        )
        return as_trl_prompt(self.tokenizer, text, templates.system)

    def row(
        self, problem_id: str, step: int, progress: float, *, copy: int = 0, copies: int = 1
    ) -> dict[str, Any]:
        """Return the row that takes a bare one's place: the prompt, and what the rewards must know of the routes it shows."""
        left = self.gate.left(problem_id) if self.gate else 1.0
        shown = self.routes(problem_id, step, progress, left=left, copy=copy, copies=copies)
        gold, voted = (
            self.problems[problem_id].answer,
            majority([route.answer for route in shown.routes], self.domain.verifier.same),
        )
        return {
            "prompt": self.prompt(problem_id, shown),
            "problem_id": problem_id,
            "gold": gold,
            "labels": shown.labels(self.config.train.reward.verdict_label),
            "flaws": tuple(self.flaw(problem_id, route) for route in shown.routes),
            "majority": voted,
            "majority_right": None
            if voted is None
            else bool(self.domain.verifier.same(voted, gold)),
            "share": expected_share(progress, self.config.train.fade, left),
            "progress": progress,
        }

    def flaw(self, problem_id: str, route: Route) -> Flaw | None:
        """Return the first flawed step of a route; where its author does not know it, only if that is paid, as it takes time."""
        if (problem_id, route.text) not in self._flaws:
            paid = self.config.train.reward.localization > 0 and not route.correct
            positives = [other for other in self.bank[problem_id] if other.correct] if paid else []
            gold = self.domain.verifier.render(self.problems[problem_id].answer)
            self._flaws[problem_id, route.text] = find_flaw(route, gold, positives)
        return self._flaws[problem_id, route.text]

    def size(self, problem_id: str, step: int, progress: float) -> int:
        """Return how long the prompt of a row is, in characters of its question and routes; the gate is not asked."""
        shown = self.routes(problem_id, step, progress).routes
        return len(self.problems[problem_id].question) + sum(len(route.text) for route in shown)

    def longest(self, problem_id: str) -> list[str | list[dict[str, str]]]:
        """Return the longest prompts that a problem may get: its autonomous one, and the one with its longest routes."""
        fade, bank = self.config.train.fade, self.bank.get(problem_id, [])
        sets = [RouteSet(problem_id=problem_id)]
        if bank and fade.kind != "none":
            longest = sorted(bank, key=lambda route: len(route.text), reverse=True)[: fade.routes]
            sets.append(RouteSet(problem_id=problem_id, routes=tuple(longest)))
        return [self.prompt(problem_id, shown) for shown in sets]


def require_routes(builder: RowBuilder, run: Run) -> None:
    """Raise `DataError` where the fade wants to show routes and no training problem has any."""
    with_routes = sum(problem_id in builder.bank for problem_id in builder.problems)
    if builder.config.train.fade.kind == "none":
        return
    if not with_routes:
        raise DataError(
            f"{run.path('routes.jsonl')}: none of the {len(builder.problems)} training problems has a route to show, and "
            f"train.fade asks for {builder.config.train.fade.routes}. Guided chains and held-out sources are not "
            "shown. Collect or import routes for the training problems, or set train.fade.kind: none for plain GRPO."
        )
    if with_routes < len(builder.problems):
        print(
            f"{len(builder.problems) - with_routes} of {len(builder.problems)} training problems have no routes: shown alone."
        )
