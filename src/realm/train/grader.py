"""Grade the completions of a generation: reward terms for TRL, metrics, and samples to read."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from accelerate.utils import gather_object

from realm.core.errors import ConfigError
from realm.core.jsonl import append_jsonl
from realm.core.targets import load_target, user_errors
from realm.method.gate import Outcome
from realm.method.rewards import RewardTerm, find_named_flaws, score_first_flaws, weigh_terms
from realm.verify.judge import judge_all

if TYPE_CHECKING:
    from pathlib import Path

    from realm.config.root import Config
    from realm.core.records import Judged
    from realm.train.rows import RowFacts
    from realm.verify.verifier import Verifier

RewardFunction = Callable[..., list[float | None]]
WeightedTerms = Mapping[str, tuple[float, RewardTerm]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Graded:
    """One judged completion with its reward terms.

    Example: `Graded(judged=judge("<answer>7</answer>", gold=7, verifier=verifier),
    terms={"answer": 1.0, "verdict": None, "format": 0.0}, reward=1.0, copied=None)`.
    """

    judged: Judged
    terms: dict[str, float | None]
    reward: float | None
    """The weighted sum of the terms, for the logs (TRL does its own); `None` if undecided."""
    copied: bool | None
    """The answer is the one that most routes give; `None` if no route gives one."""
    majority_correct: bool | None = None
    """What most routes answer is right; `None` if no route gives an answer."""


def load_terms(config: Config, given: WeightedTerms) -> dict[str, tuple[float, RewardTerm]]:
    """Return all reward terms by name, with their weights, in the order in which TRL gets them.

    Args:
        config: Holds the weights of the built-in terms and the user's `train.reward.extra`.
        given: Further terms, from `Run(reward_terms=...)`.

    Raises:
        ConfigError: A term has the name of another one, or its function cannot be loaded.
    """
    terms = weigh_terms(config.train.reward)
    extra: dict[str, tuple[float, RewardTerm]] = {}
    for name, term in config.train.reward.extra.items():
        setting = f"{config.source}: train.reward.extra.{name}.function"
        extra[name] = (term.weight, load_target(term.function, config.resolve("."), setting))
    for name, (weight, function) in (*extra.items(), *given.items()):
        if name in terms:
            raise ConfigError(
                f"reward term {name!r}: there is already a term of this name. "
                "Choose another name for yours."
            )
        terms[name] = (weight, _check_values(name, function))
    if not any(weight for weight, _ in terms.values()):
        raise ConfigError(
            f"{config.source}: train.reward: all weights are 0, so that no completion earns "
            "anything. Give a term a weight above 0."
        )
    return terms


def _check_values(name: str, function: RewardTerm) -> RewardTerm:
    """Return the user's `function` with its errors and odd values turned into one clear message."""
    where = f"reward term {name}"

    def checked(judged: Judged) -> float | None:
        with user_errors(where, getattr(function, "__qualname__", repr(function))):
            value = function(judged)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"it returned {value!r}; a finite number or None is needed")
        return None if value is None else float(value)

    return checked


class Grader:
    """Offers TRL each reward term as a function; all of them judge a batch only once."""

    def __init__(
        self,
        verifier: Verifier,
        config: Config,
        terms: WeightedTerms,
        *,
        read: Callable[[list[int]], str],
        samples_path: Path,
    ) -> None:
        """Set up grading.

        Args:
            verifier: Reads and compares answers.
            config: For the kind of label and the end of private thinking.
            terms: The reward terms by name, with their weights.
            read: Turns token ids into text.
            samples_path: A file that gets two samples of each generation.
        """
        self.verifier = verifier
        self.config = config
        self.terms = dict(terms)
        self.read = read
        self.samples_path = samples_path
        self.graded: list[Graded] = []
        """The last generation of this process."""
        self.outcomes: list[Outcome] = []
        """Those of the last generation, of all processes."""
        self._batch: list[list[int]] | None = None
        self._num_undecided = 0

    def make_reward_functions(self) -> list[RewardFunction]:
        """Return one function per term, in the order of the weights, named for TRL's metrics."""
        return [self._make_reward_function(name) for name in self.terms]

    def _make_reward_function(self, name: str) -> RewardFunction:
        def reward(**batch: Any) -> list[float | None]:
            return [graded.terms[name] for graded in self.grade(**batch)]

        reward.__name__ = name  # TRL logs rewards/<name>/mean, which fade.jsonl keeps
        return reward

    def grade(
        self,
        *,
        prompts: Sequence[Any],
        completion_ids: list[list[int]],
        problem_id: Sequence[str],
        facts: Sequence[RowFacts],
        trainer_state: Any,
        log_metric: Callable[[str, float], None],
        **_: Any,
    ) -> list[Graded]:
        """Return the batch, graded; the first call for a batch also logs metrics and samples.

        The arguments are TRL's and the columns of `RowBuilder.build_row`.
        """
        # TRL calls each reward function with the same lists; only the first call has work to do.
        if completion_ids is self._batch:
            return self.graded
        judged = self._judge(completion_ids, facts)
        copied = self._find_copies(judged, [row.majority for row in facts])
        self.graded = [
            self._score(one, copy, row.majority_correct)
            for one, copy, row in zip(judged, copied, facts, strict=True)
        ]
        self._batch = completion_ids
        self._log_undecided(judged)
        # `correct` and not the reward: the gate compares accuracies, whatever the weights are.
        outcomes = [
            Outcome(problem_id=name, guided=bool(one.labels), correct=one.correct)
            for name, one in zip(problem_id, judged, strict=True)
        ]
        shares = [row.share for row in facts]
        # Of all processes, so that the figures are those that one process would have.
        gathered = gather_object([*zip(self.graded, outcomes, shares, strict=True)])
        self.outcomes = [outcome for _, outcome, _ in gathered]
        figures = compute_metrics([graded for graded, _, _ in gathered])
        figures |= {
            "share": fmean(share for _, _, share in gathered),
            "progress": facts[0].progress,
        }
        for name, value in figures.items():
            log_metric(name, value)
        # global_step counts finished steps; fade.jsonl will have the number of this one.
        step = trainer_state.global_step + 1
        samples = gather_object(self._choose_samples(prompts, problem_id, step=step))
        if trainer_state.is_world_process_zero:
            self._write_samples(samples)
        return self.graded

    def _judge(
        self, completion_ids: Sequence[list[int]], facts: Sequence[RowFacts]
    ) -> list[Judged]:
        return judge_all(
            # Not TRL's text: it lacks special tokens, and our tags may be special tokens.
            [self.read(ids) for ids in completion_ids],
            golds=[row.gold for row in facts],
            verifier=self.verifier,
            routes=[row.routes for row in facts],
            flaws=[row.flaws for row in facts],
            label=self.config.train.reward.verdict_label,
            think_end=self.config.prompt.think_end,
            num_tokens=[len(ids) for ids in completion_ids],
        )

    def _find_copies(self, judged: Sequence[Judged], majority: Sequence[Any]) -> list[bool | None]:
        """Return whether each answer is the majority of its routes; `None` without a majority."""
        copied = [None if answer is None else False for answer in majority]
        # An answer that is not stated is no copy, and needs no comparison.
        places = [
            i for i, one in enumerate(judged) if one.answer is not None and majority[i] is not None
        ]
        found = self.verifier.same_all([(judged[i].answer, majority[i]) for i in places])
        for i, same in zip(places, found, strict=True):
            copied[i] = same
        return copied

    def _score(self, judged: Judged, copied: bool | None, majority_correct: bool | None) -> Graded:
        """Return the completion with its terms; an undecided one gets none of them.

        TRL counts a single missing term as 0, so an undecided answer would be punished as a wrong
        one. A completion without any term is left out of its group's baseline and has advantage 0.
        """
        terms: dict[str, float | None] = dict.fromkeys(self.terms)
        reward = None
        if judged.correct is not None:
            terms = {name: function(judged) for name, (_, function) in self.terms.items()}
            reward = sum(weight * (terms[name] or 0.0) for name, (weight, _) in self.terms.items())
        return Graded(
            judged=judged,
            terms=terms,
            reward=reward,
            copied=copied,
            majority_correct=majority_correct,
        )

    def _log_undecided(self, judged: Sequence[Judged]) -> None:
        before = self._num_undecided
        self._num_undecided += sum(one.correct is None for one in judged)
        if self._num_undecided and not before:
            logger.warning(
                "The verifier could not decide %d of %d answers in time. They neither earn nor "
                "cost anything; fade.jsonl has their share (undecided).",
                self._num_undecided,
                len(judged),
            )

    def _choose_samples(
        self, prompts: Sequence[Any], problem_ids: Sequence[str], *, step: int
    ) -> list[dict[str, Any]]:
        """Return the first assisted and the first autonomous completion of this process."""
        first: dict[bool, int] = {}
        for place, graded in enumerate(self.graded):
            first.setdefault(bool(graded.judged.labels), place)
        samples = []
        for place in sorted(first.values()):
            graded, prompt = self.graded[place], prompts[place]
            row = {
                "step": step,
                "problem_id": problem_ids[place],
                "prompt": prompt if isinstance(prompt, str) else prompt[-1]["content"],
                "completion": graded.judged.text,
                "labels": list(graded.judged.labels),
                "verdicts": list(graded.judged.verdicts),
            }
            row |= {"named": list(graded.judged.named), "flaws": list(graded.judged.flaws)}
            samples.append(row | graded.terms | {"reward": graded.reward})
        return samples

    def _write_samples(self, samples: Sequence[dict[str, Any]]) -> None:
        """Append the first sample of each of the two modes, those of all processes given."""
        first: dict[bool, dict[str, Any]] = {}
        for row in samples:
            first.setdefault(bool(row["labels"]), row)
        with append_jsonl(self.samples_path) as append:
            for row in first.values():
                append(row)


def compute_metrics(batch: Sequence[Graded]) -> dict[str, float]:
    """Return the means of one generation by name; a figure without any case is left out.

    `position_bias` is how much more often the first route of a set is called sound than the last.
    `always_sound` and `always_flawed` count completions that give all their routes (two or more)
    the same verdict. `copy_wrong_rate` is how often the answer is that of the majority where the
    majority is wrong. `undecided` is the share of answers that the verifier could not decide.
    """
    assisted = [graded for graded in batch if graded.judged.labels]
    alone = [graded for graded in batch if not graded.judged.labels]
    # With one route shown, any verdict is "always" the same.
    several = [graded.judged.verdicts for graded in assisted if len(graded.judged.labels) > 1]
    pairs = [
        pair
        for graded in assisted
        for pair in zip(graded.judged.verdicts, graded.judged.labels, strict=True)
    ]
    # Copying a right majority is no bad habit; copying a wrong one is.
    wrong_majority = [graded for graded in assisted if graded.majority_correct is False]
    cases: dict[str, list[float | bool | None]] = {
        "assisted_reward": [graded.reward for graded in assisted],
        "autonomous_reward": [graded.reward for graded in alone],
        "assisted_answer": [graded.judged.correct for graded in assisted],
        "autonomous_answer": [graded.judged.correct for graded in alone],
        "undecided": [graded.judged.correct is None for graded in batch],
        "routes_shown": [len(graded.judged.labels) for graded in batch],
        "verdict_accuracy_sound": [verdict is True for verdict, label in pairs if label is True],
        "verdict_accuracy_flawed": [verdict is False for verdict, label in pairs if label is False],
        "always_sound": [set(verdicts) == {True} for verdicts in several],
        "always_flawed": [set(verdicts) == {False} for verdicts in several],
        "position_bias": [(said[0] is True) - (said[-1] is True) for said in several],
        "copy_rate": [graded.copied for graded in assisted],
        "copy_wrong_rate": [graded.copied is True for graded in wrong_majority],
        "first_flaw_score": [score_first_flaws(graded.judged) for graded in assisted],
        "first_flaw_named": [
            is_named for graded in assisted for is_named in find_named_flaws(graded.judged)
        ],
    }
    known = {
        name: [float(value) for value in values if value is not None]
        for name, values in cases.items()
    }
    return {name: fmean(values) for name, values in known.items() if values}
