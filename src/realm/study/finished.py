"""`realm compare RUN RUN`: compare finished runs on the problems that all of them were asked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from realm.config.compare import Family
from realm.config.yaml import PATHS
from realm.core.errors import RunError
from realm.core.jsonl import explain_damage, read_jsonl, read_problems
from realm.core.manifest import read_manifest
from realm.evaluate.eval_set import SPLITS, make_problem_key
from realm.evaluate.records import Measurement
from realm.evaluate.results import Results, build_results
from realm.sampling import Answer

MODES = ("autonomous", "assisted")
_LONGEST_VALUE = 60
"""Characters of a setting in the table; a prompt would fill a screen."""
Part = tuple[str, str]
"""A mode and a split."""


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """One evaluated model of a run folder, and how it was made.

    Example: `read_finished_run(Path("runs/a"), "a").model` is "realm", the last model of the run.
    """

    name: str
    folder: Path
    model: str
    """Its name in results.json: base, distilled, realm or round-1."""
    answers: Mapping[Part, Mapping[str, Answer]]
    """The answers by mode and split, and in each by problem."""
    settings: Mapping[str, Any]
    """The settings by their dotted names, and the commit."""
    seconds: float
    """What its two trainings took."""


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """What a comparison of finished runs has found."""

    runs: Sequence[FinishedRun]
    results: Results
    """The rows have the name of a run as their method. Each run is compared with the first one."""
    differing: Mapping[str, Sequence[str]]
    """The settings that differ, with the value of each run."""
    notes: Sequence[str]
    """What a reader must know: problems left out, and prompts that differ."""


def compare_runs(folders: Sequence[Path], model: str | None = None) -> RunComparison:
    """Compare each run with the first one, on the problems that all of them were asked.

    Args:
        folders: The run folders, at least two.
        model: The model to compare, such as "distilled". None: the last one of each run.

    Raises:
        RunError: A folder is not that of an evaluated run, or no test problem is in all of them.
    """
    runs = [
        read_finished_run(folder, name, model)
        for folder, name in zip(folders, name_runs(folders), strict=True)
    ]
    measurements: list[Measurement] = []
    notes: list[str] = []
    for split in SPLITS:
        for mode in MODES:
            asked = [run.answers.get((mode, split), {}) for run in runs]
            shared = [key for key in asked[0] if all(key in answers for answers in asked)]
            if (mode, split) == ("autonomous", "test") and not shared:
                raise RunError(_explain_no_shared_problems(runs))
            if shared:
                measurements += [_measure(run, mode, split, shared) for run in runs]
            notes += _list_notes(runs, mode, split, shared)
    first = runs[0]
    results = build_results(
        measurements,
        [
            Family(name=split, claim=f"{other.name} {mode}", against=[f"{first.name} {mode}"],
                   split=split)
            for split in SPLITS
            for other in runs[1:]
            for mode in MODES
        ],
        seed=first.settings["seed"],
        is_nested=False,
    )  # fmt: skip
    return RunComparison(
        runs=runs, results=results, differing=find_differing(runs), notes=list(dict.fromkeys(notes))
    )


def name_runs(folders: Sequence[Path]) -> list[str]:
    """Return the end of each path, as much of it as tells the folders apart.

    >>> name_runs([Path("runs/a/x"), Path("runs/b/x")])
    ['a/x', 'b/x']

    Raises:
        RunError: Two of them are the same folder.
    """
    paths = [folder.resolve() for folder in folders]
    for place, path in enumerate(paths):
        if path in paths[:place]:
            raise RunError(f"{folders[place]}: is given twice. Name each run once.")
    depth = 1
    while len({path.parts[-depth:] for path in paths}) < len(paths):
        depth += 1
    return ["/".join(path.parts[-depth:]) for path in paths]


def read_finished_run(folder: Path, name: str, model: str | None = None) -> FinishedRun:
    """Return a model of a run folder, see `compare_runs`.

    Raises:
        RunError: The folder is not that of an evaluated run, or has no such model.
    """
    manifest = read_manifest(folder)
    _require_evaluated(folder, manifest)
    key_of = {}
    for problem in read_problems(folder / "problems.jsonl"):
        # A corrected label makes another problem of it: outcomes against two labels are no pair.
        label = json.dumps(problem.answer, sort_keys=True)
        key_of[problem.id] = f"{make_problem_key(problem)}:{label}"
    path = folder / "answers.jsonl"
    answers: dict[str, dict[Part, dict[str, Answer]]] = {}
    with explain_damage(path, "eval"):
        for row in read_jsonl(path):
            if row["mode"] in MODES:
                one = Answer.from_row(row)
                part = answers.setdefault(one.method, {}).setdefault((one.mode, one.split), {})
                part[key_of[one.problem_id]] = one
    if not answers:
        raise RunError(
            f"{folder}: its evaluation asked no model, only the routes were measured. Name a model "
            f"with `realm run {folder} --set model=...`."
        )
    if model is not None and model not in answers:
        raise RunError(f"{folder}: no model {model!r} was evaluated. Found: {', '.join(answers)}.")
    # Rows are written in the order of training.
    model = model or list(answers)[-1]
    stages = manifest["stages"]
    settings = dict(_flatten(manifest["config"], Path(manifest["source"]).parent))
    return FinishedRun(
        name=name,
        folder=folder,
        model=model,
        answers=answers[model],
        settings=settings | {"commit": manifest.get("commit")},
        seconds=sum(stages[stage]["seconds"] for stage in ("distill", "train") if stage in stages),
    )


def _require_evaluated(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Raise `RunError` unless the results of a run are there, and are those of its last model."""
    if (folder / "cells").is_dir():
        raise RunError(
            f"{folder}: holds a comparison of methods, whose results are in its report.html. "
            "Compared here are folders of `realm run`."
        )
    if not manifest:
        what = "is a file" if folder.is_file() else "is no run folder"
        raise RunError(
            f"{folder}: {what}. Several runs to compare are named by their folders, such as "
            "runs/a runs/b; a single config compares methods."
        )
    stages = manifest.get("stages", {})
    made = {name: hash_ for stage in stages.values() for name, hash_ in stage["outputs"].items()}
    if "eval" not in stages:
        raise RunError(f"{folder}: is not evaluated yet. Run `realm eval {folder}` first.")
    read = stages["eval"]["inputs"]
    is_new = "model/" in made and "model/" not in read
    if is_new or any(read.get(name, hash_) != hash_ for name, hash_ in made.items()):
        raise RunError(
            f"{folder}: its problems, routes or models have changed since the evaluation. Run "
            f"`realm eval {folder}` again."
        )


def _flatten(settings: Mapping[str, Any], folder: Path, prefix: str = "") -> Iterator[Any]:
    """Yield (dotted name, value) of all settings; paths as absolute ones if they exist."""
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if name == "run":
            continue  # it differs in any case
        if isinstance(value, dict) and value:
            yield from _flatten(value, folder, f"{name}.")
        elif name in PATHS and isinstance(value, str) and (folder / value).exists():
            yield name, str((folder / value).resolve())
        else:
            yield name, value


def _measure(run: FinishedRun, mode: str, split: str, keys: Sequence[str]) -> Measurement:
    answers = [run.answers[mode, split][key] for key in keys]
    correct = [answer.judged.correct for answer in answers]
    return Measurement(
        method=run.name,
        mode=mode,
        split=split,
        outcomes={key: float(one is True) for key, one in zip(keys, correct, strict=True)},
        tokens_per_problem=fmean(answer.judged.num_tokens for answer in answers),
        prompt_tokens_per_problem=fmean(answer.prompt_tokens for answer in answers),
        figures={"undecided": correct.count(None)},
    )


def _list_notes(
    runs: Sequence[FinishedRun], mode: str, split: str, shared: Sequence[str]
) -> Iterator[str]:
    asked = [run.answers.get((mode, split), {}) for run in runs]
    if any(len(answers) > len(shared) for answers in asked):
        counts = ", ".join(
            f"{len(answers) - len(shared):,} of {run.name}"
            for run, answers in zip(runs, asked, strict=True)
        )
        yield (
            f"{split}: {len(shared):,} problems were asked in all runs with the same question and "
            f"label; left out: {counts}."
        )
    differing = sum(len({answers[key].prompt for answers in asked}) > 1 for key in shared)
    if differing:
        reason = "the prompt template or the model's chat template"
        if mode == "assisted":
            reason = f"the routes shown, {reason}"
        yield (
            f"{split}, {mode}: {differing:,} of {len(shared):,} prompts differ between the runs, "
            f"in {reason}; the difference is also due to that."
        )


def _explain_no_shared_problems(runs: Sequence[FinishedRun]) -> str:
    asked = " and ".join(
        f"{len(run.answers.get(('autonomous', 'test'), {})):,} of {run.name}" for run in runs
    )
    settings = find_differing(runs)
    reasons = [name for name in settings if name == "seed" or name.startswith("domain.")]
    hint = f" These settings differ: {', '.join(reasons)}." if reasons else ""
    return (
        f"no test problem is in all runs, with the same question and label ({asked}), so that "
        f"nothing can be paired.{hint} Evaluate runs of the same problems: the same seed and the "
        "same section `domain`."
    )


def find_differing(runs: Sequence[FinishedRun]) -> dict[str, list[str]]:
    """Return the settings that are not the same in all runs, with the value of each run."""
    found = {}
    for name in dict.fromkeys(name for run in runs for name in run.settings):
        values = [json.dumps(run.settings.get(name), sort_keys=True) for run in runs]
        if len(set(values)) > 1:
            found[name] = [_shorten(value) for value in values]
    return found


def _shorten(value: str) -> str:
    return value if len(value) <= _LONGEST_VALUE else f"{value[: _LONGEST_VALUE - 3]}..."
