"""The table of stages: what each one does, what it depends on and what it writes.

The trainings are imported when they run, so that the table loads no model library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from realm.config.root import MODEL_SETTINGS
from realm.core.folder import Stage
from realm.domains.corrections import CORRECTIONS
from realm.domains.data import run_data
from realm.evaluate import run_evaluate
from realm.evaluate.report import run_report
from realm.sources.routes import check_routes, estimate_routes, run_routes

if TYPE_CHECKING:
    from realm.run import Run


def _run_distill(run: Run) -> None:
    from realm.train.sft import run_distill

    run_distill(run)


def _check_distill(run: Run) -> None:
    from realm.train.sft import check_distill

    check_distill(run)


def _run_train(run: Run) -> None:
    from realm.train.rl import run_train

    run_train(run)


def _check_train(run: Run) -> None:
    from realm.train.rl import check_train

    check_train(run)


def _estimate_distill(run: Run) -> str | None:
    from realm.scale.plan import estimate_distill

    return estimate_distill(run)


def _estimate_train(run: Run) -> str | None:
    from realm.scale.plan import estimate_train

    return estimate_train(run)


def _estimate_eval(run: Run) -> str | None:
    from realm.scale.plan import estimate_eval

    return estimate_eval(run)


def _check_eval(run: Run) -> None:
    from realm.evaluate import check_evaluate

    check_evaluate(run)


def _domain_files(run: Run) -> list[str]:
    return list(run.domain.files)


def _route_files(run: Run) -> list[str]:
    """Return the files and the model folders that the stage `routes` reads.

    A model that is a hub id is assumed not to change.
    """
    routes = run.config.routes
    if routes.kind == "import":
        return [file.path for file in routes.files]
    if routes.kind != "collect":
        return []
    names = [routes.guide.path] if routes.guide.path else []
    for teacher in routes.teachers:
        if teacher.kind == "replay":
            names.append(teacher.path)
        if teacher.kind == "local" and run.config.resolve(teacher.model).is_dir():
            names.append(teacher.model)
    return names


STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage(
            name="data",
            function=run_data,
            main_only=True,
            settings=("seed", "domain"),
            inputs=(f"{CORRECTIONS}?",),
            outputs=("problems.jsonl", "rules.md?"),
            files=_domain_files,
        ),
        Stage(
            name="routes",
            function=run_routes,
            main_only=True,
            check=check_routes,
            estimate=estimate_routes,
            settings=("seed", "domain", "routes"),
            inputs=("problems.jsonl", "rules.md?", f"{CORRECTIONS}?"),
            outputs=("routes.jsonl", "bank.json"),
            files=_route_files,
        ),
        Stage(
            name="distill",
            function=_run_distill,
            check=_check_distill,
            estimate=_estimate_distill,
            # Assisted rows show routes as RL will: up to train.fade.routes of them, drawn by
            # train.mix.
            settings=(*MODEL_SETTINGS, "distill", "train.lora", "train.fade.routes", "train.mix"),
            inputs=("problems.jsonl", "routes.jsonl", "rules.md?"),
            outputs=("sft.jsonl", "sft_stats.json?", "distilled/"),
        ),
        Stage(
            name="train",
            function=_run_train,
            check=_check_train,
            estimate=_estimate_train,
            settings=(*MODEL_SETTINGS, "train"),
            inputs=("problems.jsonl", "routes.jsonl", "sft.jsonl?", "distilled/"),
            outputs=("model/", "fade.jsonl", "headroom.json", "rollouts/?"),
        ),
        Stage(
            name="eval",
            function=run_evaluate,
            check=_check_eval,
            estimate=_estimate_eval,
            # With several rounds the models of all of them are evaluated.
            settings=(*MODEL_SETTINGS, "rounds", "evaluate"),
            inputs=("problems.jsonl", "routes.jsonl", "distilled/?", "model/?"),
            outputs=("results.json", "answers.jsonl"),
        ),
        Stage(
            name="report",
            function=run_report,
            main_only=True,
            # The page states the limit of new tokens beside the results.
            settings=(*MODEL_SETTINGS, "evaluate.max_new_tokens", "report"),
            inputs=(
                "problems.jsonl",
                "routes.jsonl",
                "bank.json",
                "results.json",
                "answers.jsonl",
                "fade.jsonl?",
                "headroom.json?",
            ),
            outputs=("report.html",),
        ),
    )
}
