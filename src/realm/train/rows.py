"""The rows of reinforcement learning: the prompt of a problem at a step, and its order."""

from __future__ import annotations

import logging
import math
import random
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from realm.bank.draw import draw_routes
from realm.bank.eligible import select_sound_routes, select_training_routes
from realm.core.errors import DataError
from realm.core.records import Problem, Route, RouteSet
from realm.method.fade import expected_share, plan_num_routes
from realm.method.gate import GuidanceGate, assign_buckets
from realm.method.steps import find_flaw
from realm.policy import require_plain_templates
from realm.sampling import EvalPrompt, make_prompt
from realm.train.arguments import count_prompts, count_steps
from realm.train.trl import TrlPrompt, as_trl_prompt, encode_prompts, require_context
from realm.verify.verifier import majority

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerBase
    from trl import GRPOConfig

    from realm.config.root import Config
    from realm.run import Run
    from realm.verify.verifier import Verifier

logger = logging.getLogger(__name__)

HARVEST_PER_ROUTE = 2
"""Samples of a problem between two rounds for each route that a prompt shows, so that the problem's
sets differ between steps."""


@dataclass(frozen=True, kw_only=True)
class RowFacts:
    """What the reward terms and the metrics must know of one training row.

    Example: `RowFacts(gold="6", routes=(right, wrong), flaws=(None, 2), majority="6",
    majority_correct=True, share=0.5, progress=0.25)`.
    """

    gold: Any
    routes: tuple[Route, ...] = ()
    """The routes that the prompt shows, in their order; none for an autonomous prompt."""
    flaws: tuple[int | None, ...] = ()
    """Per route: the number of the first step that does not hold, where it is known."""
    majority: Any = None
    """The answer that most routes give; `None` if none gives any."""
    majority_correct: bool | None = None
    share: float
    """The share of all routes that an average prompt shows now."""
    progress: float


class RowBuilder:
    """Writes the prompt of a training row at one step.

    It is a pure function of seed, problem, step, progress and the gate's state.
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        routes: Sequence[Route],
        verifier: Verifier,
        config: Config,
        tokenizer: PreTrainedTokenizerBase,
    ) -> None:
        self.problems = {problem.id: problem for problem in problems}
        self.bank = select_training_routes(routes, config.routes.held_out, self.problems)
        self.verifier, self.config, self.tokenizer = verifier, config, tokenizer
        require_plain_templates(tokenizer, (config.prompt.autonomous, config.prompt.assisted))
        self.gate: GuidanceGate | None = None
        fade = config.train.fade
        if fade.kind == "gated":
            self.gate = GuidanceGate(fade, assign_buckets(self.bank, fade.gate.buckets))
        self._sound = select_sound_routes(self.bank)
        self._flaws: dict[tuple[str, str], int | None] = {}

    def draw_routes(
        self,
        problem_id: str,
        step: int,
        progress: float,
        *,
        gate_share: float = 1.0,
        copy: int = 0,
        num_copies: int = 1,
    ) -> RouteSet:
        """Return the routes shown for one problem; none if it has none or if the fade says so."""
        train, seed = self.config.train, self.config.seed
        k = plan_num_routes(
            seed,
            problem_id,
            step,
            progress,
            train.fade,
            gate_share=gate_share,
            copy=copy,
            num_copies=num_copies,
        )
        bank = self.bank.get(problem_id, [])
        return draw_routes(
            bank, k, seed=seed, row_id=problem_id, step=step, mix=train.mix, others=self._sound
        )

    def write_prompt(self, problem_id: str, shown: RouteSet) -> TrlPrompt:
        """Return the prompt in TRL's form: messages, or text without a chat template."""
        text = make_prompt(self.problems[problem_id], self.config, shown).text
        return as_trl_prompt(self.tokenizer, text, self.config.prompt.system)

    def build_row(
        self, problem_id: str, step: int, progress: float, *, copy: int = 0, num_copies: int = 1
    ) -> dict[str, Any]:
        """Return the row of one problem: its prompt, and what the reward terms must know."""
        gate_share = self.gate.find_share(problem_id) if self.gate else 1.0
        shown = self.draw_routes(
            problem_id, step, progress, gate_share=gate_share, copy=copy, num_copies=num_copies
        )
        # The vote returns one of the objects it got, so that `is` finds a route that gave it.
        voted = majority([route.answer for route in shown.routes], self.verifier.same)
        voters = [route for route in shown.routes if route.answer is voted]
        facts = RowFacts(
            gold=self.problems[problem_id].answer,
            routes=shown.routes,
            flaws=tuple(self.find_flaw(problem_id, route) for route in shown.routes),
            majority=voted,
            # The routes are labelled already: no answer needs to be verified again.
            majority_correct=None if voted is None else voters[0].correct,
            share=expected_share(progress, self.config.train.fade, gate_share),
            progress=progress,
        )
        prompt = self.write_prompt(problem_id, shown)
        return {"prompt": prompt, "problem_id": problem_id, "facts": facts}

    def find_flaw(self, problem_id: str, route: Route) -> int | None:
        """Return the number of the first step of a route that does not hold, where it is known.

        Without a process label it is guessed, and only if naming it is paid: that is slow.
        """
        if route.flaw is not None or route.is_sound() or not self.config.train.reward.first_flaw:
            return route.flaw
        # Kept for the whole training: a route is shown at many steps and comparing texts is slow.
        key = (problem_id, route.text)
        if key not in self._flaws:
            found = find_flaw(route, [other for other in self.bank[problem_id] if other.is_sound()])
            self._flaws[key] = found.number if found else None
        return self._flaws[key]

    def measure_prompt(self, problem_id: str, step: int, progress: float) -> int:
        """Return the characters of question and routes in a row; the gate does not count here."""
        shown = self.draw_routes(problem_id, step, progress).routes
        return len(self.problems[problem_id].question) + sum(len(route.text) for route in shown)

    def write_longest_prompts(self, problem_id: str) -> list[TrlPrompt]:
        """Return the longest prompts of a problem: the autonomous one, and one with long routes."""
        fade, bank = self.config.train.fade, self.bank.get(problem_id, [])
        sets = [RouteSet(problem_id=problem_id)]
        if bank and fade.kind != "none":
            longest = sorted(bank, key=lambda route: len(route.text), reverse=True)[: fade.routes]
            sets.append(RouteSet(problem_id=problem_id, routes=tuple(longest)))
        return [self.write_prompt(problem_id, shown) for shown in sets]


def draw_assisted_prompts(
    problems: Sequence[Problem], routes: Sequence[Route], config: Config
) -> list[EvalPrompt]:
    """Return a prompt with routes for each problem that has any, as training shows them."""
    count, mix = config.train.fade.routes, config.train.mix
    by_id = {problem.id: problem for problem in problems}
    bank = select_training_routes(routes, config.routes.held_out, by_id)
    sound = select_sound_routes(bank)
    prompts = []
    for name, candidates in bank.items():
        shown = draw_routes(candidates, count, seed=config.seed, row_id=name, mix=mix, others=sound)
        prompts.append(make_prompt(by_id[name], config, shown))
    return prompts


def require_routes(builder: RowBuilder, run: Run) -> None:
    """Raise `DataError` if the fade is to show routes and no training problem has any."""
    fade = builder.config.train.fade
    num_problems, num_with_routes = len(builder.problems), len(builder.bank)
    if fade.kind == "none":
        return
    if not num_with_routes:
        raise DataError(
            f"{run.path('routes.jsonl')}: none of the {num_problems} training problems has a route "
            f"to show, and train.fade asks for {fade.routes}. Guided chains and held-out sources "
            "are not shown. Collect or import routes for the training problems, or set "
            "train.fade.kind: none for plain GRPO."
        )
    if not builder.config.train.mix.show_flawed:
        num_with_sound = sum(any(map(Route.is_sound, bank)) for bank in builder.bank.values())
        log = logger.info if num_with_sound else logger.warning
        log(
            "train.mix.show_flawed: false shows sound routes only: %d of %d training problems have "
            "any, and the prompts of the others show the question only.",
            num_with_sound,
            num_problems,
        )
    elif num_with_routes < num_problems:
        logger.info(
            "%d of %d training problems have no routes; their prompts show the question only.",
            num_problems - num_with_routes,
            num_problems,
        )


def order_rows(builder: RowBuilder, arguments: GRPOConfig) -> list[str]:
    """Return the problem of every row of the whole training, each epoch shuffled by itself.

    The order is laid out in full, so that TRL makes one pass without shuffling and a resumed run
    meets the same problems. Where one optimizer step takes several generations, its prompts are
    sorted by length: TRL pads a generation to its longest prompt, and guided prompts are longer.
    """
    steps_per_generation, num_prompts = count_steps(arguments), count_prompts(arguments)
    num_rows = math.ceil(arguments.max_steps / steps_per_generation) * num_prompts
    problem_ids = list(builder.problems)
    order: list[str] = []
    # Shuffled by epoch, so that every problem comes once before any comes again.
    for epoch in range(math.ceil(num_rows / len(problem_ids))):
        # Python seeds from a text by SHA-512, the same in every process.
        rng = random.Random(f"{builder.config.seed}|{epoch}")
        order += rng.sample(problem_ids, len(problem_ids))
    if steps_per_generation >= 1:
        return order[:num_rows]
    # Sorted within a step only, so that each step keeps the problems that the shuffle gave it.
    per_step = round(num_prompts / steps_per_generation)
    by_length: list[str] = []
    for step in range(arguments.max_steps):
        progress = step / arguments.max_steps
        # In characters: close enough to sort by, and much faster than tokenizing every prompt.
        length = partial(builder.measure_prompt, step=step, progress=progress)
        by_length += sorted(order[step * per_step : (step + 1) * per_step], key=length)
    return by_length


def require_room(builder: RowBuilder, model: str, context: int | None, new_tokens: int) -> None:
    """Raise `ModelError` if the longest prompts and a completion do not fit into the context."""
    rows = [
        (problem_id, prompt)
        for problem_id in builder.problems
        for prompt in builder.write_longest_prompts(problem_id)
    ]
    encoded = encode_prompts(builder.tokenizer, [prompt for _, prompt in rows])
    require_context(
        model,
        context,
        [(problem_id, len(ids)) for (problem_id, _), ids in zip(rows, encoded, strict=True)],
        new_tokens=new_tokens,
        advice="lower train.grpo.max_completion_length, show fewer routes (train.fade.routes), or "
        "use a model with a longer context.",
    )
