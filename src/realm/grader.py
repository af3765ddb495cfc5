"""Grade the completions of one generation: the reward terms for TRL, the metrics to watch, and a few samples to read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realm.config import Config
from realm.domains import Domain
from realm.mrpv.parse import parse_completion
from realm.mrpv.rewards import score
from realm.records import Judgement, Score
from realm.runs import append_jsonl

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


class Grader:
    """Offers TRL the reward terms as functions of their own; all of them read a batch once."""

    def __init__(self, domain: Domain, config: Config, *, read: Callable[[list[int]], str], samples_path: Path) -> None:
        """Grade with `domain`; `read` turns token ids into text, and samples of each generation go to `samples_path`."""
        self.domain, self.config, self.read, self.samples_path = domain, config, read, samples_path
        self._batch: list[list[int]] | None = None
        self._graded: list[Graded] = []

    def reward_functions(self) -> list[RewardFunction]:
        """Return the functions in the order of the reward weights: answer, verdict, format."""

        def answer(**batch: Any) -> list[float | None]:
            return [graded.score.answer for graded in self.grade(**batch)]

        def verdict(**batch: Any) -> list[float | None]:
            return [graded.score.verdict for graded in self.grade(**batch)]

        def format(**batch: Any) -> list[float | None]:
            return [graded.score.format for graded in self.grade(**batch)]

        return [answer, verdict, format]

    def grade(
        self,
        *,
        prompts: Sequence[Any],
        completion_ids: list[list[int]],
        problem_id: Sequence[str],
        gold: Sequence[Any],
        labels: Sequence[Sequence[bool]],
        majority: Sequence[Any],
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
            return self._graded
        texts = [self.read(ids) for ids in completion_ids]
        self._graded = self._grade(texts, gold, [tuple(one) for one in labels], majority)
        self._batch = completion_ids
        for name, value in metrics(self._graded).items():
            log_metric(name, value)
        log_metric("share", share[0])
        log_metric("progress", progress[0])
        if trainer_state.is_world_process_zero:
            self._write_samples(prompts, problem_id, step=trainer_state.global_step + 1)
        return self._graded

    def _grade(
        self, texts: list[str], gold: Sequence[Any], labels: list[tuple[bool, ...]], majority: Sequence[Any]
    ) -> list[Graded]:
        """Return each completion, read and scored; the answers are compared all at once."""
        think_end = self.config.prompt.think_end
        judgements = [parse_completion(text, len(shown), think_end=think_end) for text, shown in zip(texts, labels, strict=True)]
        said = [None if one.answer is None else self.domain.extract(one.answer) for one in judgements]
        correct = self.domain.same_all(list(zip(said, gold, strict=True)))
        copied = self.domain.same_all(list(zip(said, majority, strict=True)))
        return [
            Graded(
                text=texts[index],
                judgement=judgements[index],
                labels=labels[index],
                copied=None if majority[index] is None else bool(copied[index]),
                score=score(judgements[index], labels[index], bool(correct[index]), self.config.train.reward),
            )
            for index in range(len(texts))
        ]

    def _write_samples(self, prompts: Sequence[Any], problem_ids: Sequence[str], *, step: int) -> None:
        """Append the first assisted and the first autonomous completion of the generation."""
        first = {bool(graded.labels): index for index, graded in reversed(list(enumerate(self._graded)))}
        with append_jsonl(self.samples_path) as append:
            for index in sorted(first.values()):
                graded, prompt = self._graded[index], prompts[index]
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
                        "reward": graded.score.total,
                    }
                )


def metrics(batch: Sequence[Graded]) -> dict[str, float]:
    """Return the figures of one generation; those without a case in it are left out.

    `position_bias` is how much more often the first route of a set is called sound than the last. `always_sound` and
    `always_flawed` count completions that give all their routes (two or more) the same verdict.
    """
    assisted = [graded for graded in batch if graded.labels]
    several = [graded for graded in assisted if len(graded.labels) > 1]
    pairs = [pair for graded in assisted for pair in zip(graded.judgement.verdicts, graded.labels, strict=True)]
    cases: Mapping[str, list[float]] = {
        "assisted_reward": [graded.score.total for graded in assisted],
        "autonomous_reward": [graded.score.total for graded in batch if not graded.labels],
        "assisted_answer": [graded.score.answer for graded in assisted],
        "autonomous_answer": [graded.score.answer for graded in batch if not graded.labels],
        "routes_shown": [float(len(graded.labels)) for graded in batch],
        "verdict_accuracy_sound": [float(said is True) for said, label in pairs if label],
        "verdict_accuracy_flawed": [float(said is False) for said, label in pairs if not label],
        "always_sound": [float(all(said is True for said in graded.judgement.verdicts)) for graded in several],
        "always_flawed": [float(all(said is False for said in graded.judgement.verdicts)) for graded in several],
        "position_bias": [
            float(graded.judgement.verdicts[0] is True) - float(graded.judgement.verdicts[-1] is True) for graded in several
        ],
        "copy_rate": [float(graded.copied) for graded in assisted if graded.copied is not None],
    }
    return {name: sum(values) / len(values) for name, values in cases.items() if values}
