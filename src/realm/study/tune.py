"""`realm tune`: search for better settings of the two trainings, on validation problems only.

Optuna proposes the settings and keeps what was tried in RUN/tune/study.db. Each trial is a run
folder inside RUN/tune/, which links the problems and the routes of RUN.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from realm.config.root import MODEL_SETTINGS
from realm.core.errors import DataError, ModelError, require_package
from realm.core.folder import Stage, hash_path, remove_path
from realm.core.jsonl import read_json, read_problems, write_json
from realm.core.ranks import count_processes, is_main_process, run_on_main
from realm.sampling import LazyPolicy, make_prompt, sample_and_judge
from realm.sources.routes import require_routes
from realm.stages import STAGES
from realm.study.search import Choice, Search, TriedSettings, summarize_search

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

    from realm.core.records import Problem
    from realm.run import Run

logger = logging.getLogger(__name__)

RATES = (0.25, 0.5, 1, 2, 4)
"""Factors of a learning rate. It is what trainings are most sensitive to."""
LENGTHS = (0.5, 1, 2)
"""Factors of the length of distillation."""
ENDS = (0.35, 0.5, 0.65, 0.8, 0.95)
"""Values of `train.fade.end`."""
NUM_RANDOM = 5
"""Trials, the first one included, before Optuna's model of the results proposes settings."""
MOST_REPEATS = 50
"""Proposals that were tried before, after which the search ends."""
FEW_PROBLEMS = 100
"""With fewer validation problems the 95% interval of an accuracy is up to 20 points wide."""
SHARED = ("problems.jsonl", "routes.jsonl", "rules.md")
# A forecast at each trial would only cost time.
_NO_HEADROOM = {"train.headroom.problems": 1, "train.headroom.samples": 2}


def run_validate(run: Run) -> None:
    """Ask the trained model each validation problem alone, and write validation.json."""
    problems = _read_validation(run)
    groups = sample_and_judge(
        run,
        LazyPolicy(run.path("model"), run.config),
        [make_prompt(problem, run.config) for problem in problems],
        run.work("validate") / "answers.jsonl",
        mode="validation",
    )
    if is_main_process():
        right = [answer.judged.correct is True for (answer,) in groups]
        write_json(run.path("validation.json"), right)


VALIDATE = Stage(
    name="validate",
    function=run_validate,
    settings=(
        *MODEL_SETTINGS,
        "evaluate.max_new_tokens",
        "evaluate.batch_tokens",
        "evaluate.endpoints",
    ),
    inputs=("problems.jsonl", "model/"),
    outputs=("validation.json",),
)


def tune_run(run: Run, *, minutes: float) -> Search:
    """Try settings for about so many minutes, those of earlier calls included.

    A trial begins if one that takes the mean time so far still fits. The first one has the settings
    of the config and always runs.

    Raises:
        ConfigError: Optuna is missing, or the config trains nothing.
        DataError: There are no validation problems.
    """
    require_package("optuna", "realm tune")
    choices = list_choices(run)
    run.check_stages(run.stages)
    run.data()
    run.routes()
    require_routes(run)
    problems = _read_validation(run)
    if len(problems) < FEW_PROBLEMS:
        logger.warning(
            "%d validation problems tell only large differences apart; %d or more are better.",
            len(problems), FEW_PROBLEMS,
        )  # fmt: skip
    folder = run.derive(run.path("tune"), run.config, {})
    with folder.lock() if is_main_process() else nullcontext():
        store = TrialStore(run, choices)
        # Only the main process opens the store. All of them train.
        while settings := run_on_main(partial(store.propose, minutes)):
            started = time.monotonic()
            is_start = all(settings[name] == choice.start for name, choice in choices.items())
            right, error = _run_trial(run, settings, may_fail=not is_start)
            seconds = time.monotonic() - started
            run_on_main(partial(store.keep, right, seconds, error))
            run_on_main(partial(_log_progress, store, minutes))
        search = run_on_main(lambda: summarize_search(store.list_trials(), run.config.seed))
        if is_main_process():
            write_json(run.path("tune/tune.json"), search.to_json())
    return search


def list_choices(run: Run) -> dict[str, Choice]:
    """Return what is tried of each setting.

    Raises:
        ConfigError: The config trains nothing, or its settings are wrong.
    """
    if not run.has_stage("train"):
        run.config.resolve_model()  # raises that there is none
    from realm.train.arguments import make_grpo_arguments, make_sft_arguments  # loads torch

    config, choices = run.config, dict[str, Choice]()
    if run.has_stage("distill") and config.distill.kind != "self":
        sft = make_sft_arguments(config, Path("unused"))
        choices["distill.sft.learning_rate"] = _vary(sft.learning_rate, RATES)
        if sft.max_steps > 0:
            steps = [max(1, round(sft.max_steps * factor)) for factor in LENGTHS]
            choices["distill.sft.max_steps"] = Choice.around(sft.max_steps, steps)
        else:
            choices["distill.sft.num_train_epochs"] = _vary(sft.num_train_epochs, LENGTHS)
    grpo = make_grpo_arguments(config, Path("unused"), num_problems=1)
    choices["train.grpo.learning_rate"] = _vary(grpo.learning_rate, RATES)
    fade = config.train.fade
    if fade.kind not in ("none", "constant"):  # which never fade
        ends = [end for end in ENDS if end > fade.start]
        choices["train.fade.end"] = Choice.around(fade.end, ends)
    return choices


def _vary(value: float, factors: Sequence[float]) -> Choice:
    # Three digits: 2e-3 / 4 is 0.0005 and not 0.0005000000000000001.
    return Choice.around(value, [float(f"{value * factor:.3g}") for factor in factors])


class TrialStore:
    """The trials of one search, kept by Optuna in RUN/tune/study.db.

    A killed call leaves a trial that never ended. The next call proposes its settings again, and
    finds its finished stages and its checkpoints.
    """

    def __init__(self, run: Run, choices: Mapping[str, Choice]) -> None:
        self.choices = choices
        self._run = run

    @cached_property
    def study(self) -> Study:
        """The study of this config; another one if its settings, problems or routes change."""
        import optuna
        from optuna.trial import TrialState
        from sqlalchemy.engine import URL

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        path = self._run.path("tune/study.db").absolute()
        study = optuna.create_study(
            study_name=self._make_key(),
            storage=URL.create("sqlite", database=str(path)).render_as_string(),
            direction="maximize",
            load_if_exists=True,
        )
        # With the same seed a later call would draw the same random settings again.
        seed = self._run.config.seed + len(study.trials)
        study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=NUM_RANDOM)
        for trial in study.get_trials(states=(TrialState.RUNNING,)):
            study.tell(trial.number, state=TrialState.FAIL)
            if len(trial.params) == len(self.choices):
                study.enqueue_trial(trial.params)
        if not study.get_trials(states=(TrialState.WAITING, TrialState.COMPLETE)):
            study.enqueue_trial(
                {name: choice.values.index(choice.start) for name, choice in self.choices.items()}
            )
        return study

    def propose(self, minutes: float) -> dict[str, float] | None:
        """Return settings to try next; `None` if the budget is spent or nothing new is proposed."""
        from optuna.distributions import IntDistribution
        from optuna.trial import TrialState

        trials = self.list_trials()
        if trials and self.count_left(minutes) < 1:
            return None
        tried = [trial.settings for trial in trials]
        # Places and not values: Optuna then knows which values are neighbours.
        places: dict[str, BaseDistribution] = {
            name: IntDistribution(0, len(one.values) - 1) for name, one in self.choices.items()
        }
        for _ in range(MOST_REPEATS):
            self._trial = self.study.ask(places)
            settings = self._read_settings(self._trial.params)
            if settings not in tried:
                return settings
            self.study.tell(self._trial, state=TrialState.FAIL)
        logger.info("All settings near the best were tried.")
        return None

    def keep(self, right: Sequence[bool], seconds: float, error: str) -> None:
        """Keep the result of the settings that were proposed last."""
        self._trial.set_user_attr("right", "".join(str(int(one)) for one in right))
        self._trial.set_user_attr("seconds", round(seconds, 1))
        self._trial.set_user_attr("error", error)
        self.study.tell(self._trial, fmean(right))

    def list_trials(self) -> list[TriedSettings]:
        """Return the finished trials in their order, that of the config first."""
        from optuna.trial import TrialState

        return [
            TriedSettings(
                settings=self._read_settings(trial.params),
                right=tuple(digit == "1" for digit in trial.user_attrs["right"]),
                seconds=trial.user_attrs["seconds"],
                error=trial.user_attrs["error"],
            )
            for trial in self.study.get_trials(states=(TrialState.COMPLETE,))
        ]

    def count_left(self, minutes: float) -> int:
        """Return how many trials of the mean time still fit into a budget."""
        seconds = [trial.seconds for trial in self.list_trials()]
        return int((60 * minutes - sum(seconds)) / max(fmean(seconds), 0.1))

    def _read_settings(self, params: Mapping[str, int]) -> dict[str, float]:
        return {name: one.values[params[name]] for name, one in self.choices.items()}

    def _make_key(self) -> str:
        """Return a name for all that the results depend on."""
        run = make_trial_run(self._run, "key", {})
        parts: list[Any] = [run.find_settings(stage) for stage in run.stages]
        parts += [hash_path(self._run.path(name)) for name in ("problems.jsonl", "routes.jsonl")]
        parts.append({name: asdict(one) for name, one in self.choices.items()})
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def make_trial_run(run: Run, name: str, settings: Mapping[str, float]) -> Run:
    """Return a run inside RUN/tune/ with other settings; it has the stages of a trial."""
    stages = {"distill": STAGES["distill"], "train": STAGES["train"], "validate": VALIDATE}
    config = run.config.with_settings({**settings, **_NO_HEADROOM})
    return run.derive(run.path("tune") / name, config, stages)


def _run_trial(
    run: Run, settings: Mapping[str, float], *, may_fail: bool
) -> tuple[list[bool], str]:
    """Train and validate with these settings; return what is right, and why there is no model.

    Trials with the same settings of `distill` share its model. The model of the trial is removed
    in the end: ten of a real size would fill a disk.
    """
    parts = [f"{value:g}" for name, value in settings.items() if name.startswith("distill.")]
    start = make_trial_run(run, "_".join(["distilled", *parts]), settings)
    parts = [f"{value:g}" for value in settings.values()]
    trial = make_trial_run(run, "_".join(["trial", *parts]), settings)
    try:
        with _quiet_stages():
            _link(run, start, SHARED)
            if run.has_stage("distill"):
                start.do("distill")
            _link(start, trial, (*SHARED, "sft.jsonl", "distilled"))
            trial.do("train")
            trial.do("validate")
    except ModelError as error:
        if not may_fail or count_processes() > 1:
            raise
        return [False] * len(_read_validation(run)), str(error)
    right = run_on_main(lambda: read_json(trial.path("validation.json")))
    for name in ("model", "rollouts", "work") if is_main_process() else ():
        remove_path(trial.path(name))
    return right, ""


def _link(source: Run, target: Run, names: Sequence[str]) -> None:
    for name in names if is_main_process() else ():
        if source.path(name).exists():
            target.adopt(source.path(name), name)


@contextmanager
def _quiet_stages() -> Iterator[None]:
    """Leave the stages their progress bars only: the trials would repeat all other lines."""
    package = logging.getLogger("realm")
    level = package.level
    package.setLevel(logging.ERROR)
    try:
        yield
    finally:
        package.setLevel(level)


def _read_validation(run: Run) -> list[Problem]:
    problems = read_problems(run.path("problems.jsonl"))
    chosen = [problem for problem in problems if problem.split == "validation"]
    if not chosen:
        raise DataError(
            f"{run.path('problems.jsonl')}: the split validation is empty, and settings are chosen "
            "on it, so that the test problems stay unseen. Give some problems the split "
            "validation, by a split column or by the shares in domain.splits."
        )
    return chosen


def _log_progress(store: TrialStore, minutes: float) -> None:
    trials = store.list_trials()
    last, best = trials[-1], max(trial.accuracy for trial in trials)
    low, high = last.ci95
    left = 60 * minutes - sum(trial.seconds for trial in trials)
    num_left = store.count_left(minutes)
    rest = f"about {num_left} more in {left / 60:.0f} min" if num_left else "the budget is spent"
    reached = f"{last.accuracy:.1%} [{low:.1%}, {high:.1%}] in {last.seconds:.0f} s"
    logger.info("[trial %d] %s: %s; best %.1f%%; %s", len(trials), last.describe(trials[0]),
                last.error or reached, 100 * best, rest)  # fmt: skip
