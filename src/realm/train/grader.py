"""Grade the completions of one generation: the reward terms for TRL, the metrics to watch, and a few samples to read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from realm.config.root import Config, Reward
from realm.core.jsonl import append_jsonl
from realm.core.records import Judgement, Outcome, Score
from realm.domains import Domain
from realm.method.parse import parse_checks, parse_completion
from realm.method.rewards import score
from realm.method.steps import Flaw, localization

RewardFunction = Callable[..., list[float | None]]


@dataclass(frozen=True, kw_only=True)
class Graded:
    """One completion, read and scored."""

    text: str
    judgement: Judgement
    labels: tuple[bool, ...]
    """True verdicts of the routes shown; empty for an autonomous prompt."""
    score: Score
    copied: bool | None
    """The answer is the one that most routes give; `None` where no route gives one."""
    majority_right: bool | None = None
    """What most routes answer is right; `None` where no route gives an answer."""


def reward_weights(weights: Reward) -> list[float]:
    """Return the weights of the reward functions, in their order; localization is one only where it is paid."""
    return [weights.answer, weights.verdict, weights.format] + [weights.localization] * (
        weights.localization > 0
    )


class Shown(NamedTuple):
    """What a prompt showed: the labels and flaws of its routes, the answer that most of them give, and whether it is right."""

    labels: tuple[bool, ...]
    flaws: Sequence[Flaw | None]
    majority: Any
    majority_right: bool | None


class Grader:
    """Offers TRL the reward terms as functions of their own; all of them read a batch once."""

    def __init__(
        self,
        domain: Domain,
        config: Config,
        *,
        read: Callable[[list[int]], str],
        samples_path: Path,
    ) -> None:
        """Grade with `domain`; `read` turns token ids into text, and samples of each generation go to `samples_path`."""
        self.domain, self.config, self.read, self.samples_path = domain, config, read, samples_path
        self.graded: list[Graded] = []
        """The last generation, in this process."""
        self.outcomes: list[Outcome] = []
        self._batch: list[list[int]] | None = None

    def reward_functions(self) -> list[RewardFunction]:
        """Return the functions in the order of the reward weights: answer, verdict, format, localization."""

        def answer(**batch: Any) -> list[float | None]:
            return [graded.score.answer for graded in self.grade(**batch)]

        def verdict(**batch: Any) -> list[float | None]:
            return [graded.score.verdict for graded in self.grade(**batch)]

        def format(**batch: Any) -> list[float | None]:
            return [graded.score.format for graded in self.grade(**batch)]

        def localization(**batch: Any) -> list[float | None]:
            return [graded.score.localization for graded in self.grade(**batch)]

        return [answer, verdict, format, localization][
            : len(reward_weights(self.config.train.reward))
        ]

    def grade(
        self,
        *,
        prompts: Sequence[Any],
        completion_ids: list[list[int]],
        problem_id: Sequence[str],
        gold: Sequence[Any],
        labels: Sequence[Sequence[bool]],
        flaws: Sequence[Sequence[Flaw | None]],
        majority: Sequence[Any],
        majority_right: Sequence[bool | None],
        share: Sequence[float],
        progress: Sequence[float],
        trainer_state: Any,
        log_metric: Callable[[str, float], None],
        **_: Any,
    ) -> list[Graded]:
        """Return the batch, graded; metrics and samples go out the first time.

        The token ids are read, not TRL's text: its decoding drops special tokens, and a tokenizer may hold our tags as such.
        """
        if completion_ids is self._batch:
            return self.graded
        texts = [self.read(ids) for ids in completion_ids]
        shown = [
            Shown(tuple(one), *rest)
            for one, *rest in zip(labels, flaws, majority, majority_right, strict=True)
        ]
        self.graded = self._grade(texts, gold, shown)
        self.outcomes = [
            Outcome(problem_id=name, guided=bool(graded.labels), right=graded.score.answer == 1)
            for name, graded in zip(problem_id, self.graded, strict=True)
        ]
        self._batch = completion_ids
        for name, value in metrics(self.graded).items():
            log_metric(name, value)
        log_metric("share", fmean(share))
        log_metric("progress", progress[0])
        if trainer_state.is_world_process_zero:
            self._write_samples(prompts, problem_id, step=trainer_state.global_step + 1)
        return self.graded

    def _grade(self, texts: list[str], gold: Sequence[Any], shown: Sequence[Shown]) -> list[Graded]:
        """Return each completion, read and scored; the answers are compared all at once."""
        think_end = self.config.prompt.think_end
        judgements = [
            parse_completion(text, len(one.labels), think_end=think_end)
            for text, one in zip(texts, shown, strict=True)
        ]
        said = [
            None if one.answer is None else self.domain.verifier.extract(one.answer)
            for one in judgements
        ]
        correct = self.domain.verifier.same_all(list(zip(said, gold, strict=True)))
        copied = self.domain.verifier.same_all(
            [(answer, one.majority) for answer, one in zip(said, shown, strict=True)]
        )
        return [
            self._score(text, judgement, one, right=bool(right), copied=bool(copy))
            for text, judgement, one, right, copy in zip(
                texts, judgements, shown, correct, copied, strict=True
            )
        ]

    def _score(
        self, text: str, judgement: Judgement, shown: Shown, *, right: bool, copied: bool
    ) -> Graded:
        labels = shown.labels
        checks = parse_checks(text, len(labels), think_end=self.config.prompt.think_end)
        located = localization(judgement.verdicts, checks, labels, shown.flaws)
        return Graded(
            text=text,
            judgement=judgement,
            labels=labels,
            copied=None if shown.majority is None else copied,
            majority_right=shown.majority_right,
            score=score(judgement, labels, right, self.config.train.reward, localization=located),
        )

    def _write_samples(
        self, prompts: Sequence[Any], problem_ids: Sequence[str], *, step: int
    ) -> None:
        """Append the first assisted and the first autonomous completion of the generation."""
        first = {
            bool(graded.labels): index for index, graded in reversed(list(enumerate(self.graded)))
        }
        with append_jsonl(self.samples_path) as append:
            for index in sorted(first.values()):
                graded, prompt = self.graded[index], prompts[index]
                append(
                    {
                        "step": step,
                        "problem_id": problem_ids[index],
                        "prompt": prompt if isinstance(prompt, str) else prompt[-1]["content"],
                        "completion": graded.text,
                        "labels": list(graded.labels),
                        "verdicts": list(graded.judgement.verdicts),
                        "answer": graded.score.answer,
                        "verdict": graded.score.verdict,
                        "format": graded.score.format,
                        "localization": graded.score.localization,
                        "reward": graded.score.total,
                    }
                )


def metrics(batch: Sequence[Graded]) -> dict[str, float]:
    """Return the figures of one generation; those without a case in it are left out.

    `position_bias` is how much more often the first route of a set is called sound than the last. `always_sound` and
    `always_flawed` count completions that give all their routes (two or more) the same verdict. `copy_wrong_rate` is how
    often the answer is that of the majority where the majority is wrong.
    """
    assisted = [graded for graded in batch if graded.labels]
    several = [graded for graded in assisted if len(graded.labels) > 1]
    pairs = [
        pair
        for graded in assisted
        for pair in zip(graded.judgement.verdicts, graded.labels, strict=True)
    ]
    cases: Mapping[str, list[float]] = {
        "assisted_reward": [graded.score.total for graded in assisted],
        "autonomous_reward": [graded.score.total for graded in batch if not graded.labels],
        "assisted_answer": [graded.score.answer for graded in assisted],
        "autonomous_answer": [graded.score.answer for graded in batch if not graded.labels],
        "routes_shown": [float(len(graded.labels)) for graded in batch],
        "verdict_accuracy_sound": [float(said is True) for said, label in pairs if label],
        "verdict_accuracy_flawed": [float(said is False) for said, label in pairs if not label],
        "always_sound": [
            float(all(said is True for said in graded.judgement.verdicts)) for graded in several
        ],
        "always_flawed": [
            float(all(said is False for said in graded.judgement.verdicts)) for graded in several
        ],
        "position_bias": [
            float(graded.judgement.verdicts[0] is True)
            - float(graded.judgement.verdicts[-1] is True)
            for graded in several
        ],
        "copy_rate": [float(graded.copied) for graded in assisted if graded.copied is not None],
        "copy_wrong_rate": [
            float(graded.copied is True) for graded in assisted if graded.majority_right is False
        ],
        "localization": [
            graded.score.localization
            for graded in assisted
            if graded.score.localization is not None
        ],
    }
    return {name: sum(values) / len(values) for name, values in cases.items() if values}
