"""Evaluation: every model and the routes themselves on the held-out splits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from realm.core.errors import ConfigError
from realm.core.jsonl import write_json, write_jsonl
from realm.core.ranks import is_main_process, run_on_main

if TYPE_CHECKING:
    from realm.evaluate.eval_set import EvalSet
    from realm.evaluate.records import Measurement
    from realm.run import Run
    from realm.sampling import Answer


def run_evaluate(run: Run) -> None:
    """Ask every model there is every evaluation problem; write answers.jsonl and results.json.

    Answers are kept batch by batch, so an interrupted evaluation continues where it stopped.
    Without a model only the routes themselves are evaluated. Several processes share the questions.
    """
    from realm.evaluate.claims import list_eval_families, list_hard_families
    from realm.evaluate.eval_set import load_eval_set, measure_routes
    from realm.evaluate.results import build_results

    eval_set = load_eval_set(run)
    models = run_on_main(lambda: _find_models(run))
    answers, measurements = _ask_models(run, models, eval_set)
    if not is_main_process():
        return
    families = list_eval_families(list(eval_set.splits), run.config.rounds) if models else []
    results = build_results(
        [*measurements, *measure_routes(eval_set, run)],
        families + list_hard_families(models),
        seed=run.config.seed,
        is_nested=False,  # a run has one seed
        left_out=dict(eval_set.left_out),
        corrections=_count_corrections(run),
    )
    write_jsonl(run.path("answers.jsonl"), (answer.to_row() for answer in answers))
    write_json(run.path("results.json"), results.to_json())


def _count_corrections(run: Run) -> int:
    """Return how many corrections the problems and the routes of the run hold."""
    stages = run.manifest().get("stages", {})
    made = [stages.get(stage, {}).get("figures", {}) for stage in ("data", "routes")]
    return sum(figures.get("corrections", 0) for figures in made)


def check_evaluate(run: Run) -> None:
    """Raise the user's mistakes in the model and the settings, before any stage has spent time."""
    config = run.config
    if config.model is None:
        return  # the routes alone are evaluated
    from realm.checkpoint import check_model, require_length

    model = check_model(config.resolve_model(), config.prompt.system)
    require_length("evaluate.max_new_tokens", config.evaluate.max_new_tokens, model)
    names, made = _list_models(run), _find_models(run)
    for name, endpoint in config.evaluate.endpoints.items():
        where = f"evaluate.endpoints.{name}"
        if name not in names:
            raise ConfigError(f"{where}: this run has no such model. It has: {', '.join(names)}.")
        # A model that is not trained yet is served, and checked, when it is asked.
        if name in made:
            from realm.endpoint import check_endpoint

            check_endpoint(endpoint, where, made[name])


def _ask_models(
    run: Run, models: dict[str, str], eval_set: EvalSet
) -> tuple[list[Answer], list[Measurement]]:
    from realm.evaluate.modes import TASKS, ask_task
    from realm.sampling import LazyPolicy

    answers, measurements = [], []
    for method, model in models.items():
        policy = LazyPolicy(model, run.config, method)
        for name in _list_tasks(run, method, models, eval_set):
            asked, measured = ask_task(
                TASKS[name],
                run,
                eval_set,
                policy,
                run.work("eval") / f"{method}-{name}.jsonl",
                num_samples=run.config.evaluate.samples,
            )
            answers += asked
            # The modes of `realm compare` that only reuse the routes shown are left out here.
            measurements += [one for one in measured if one.mode != "best_of_routes"]
    return answers, measurements


def _list_tasks(run: Run, method: str, models: dict[str, str], eval_set: EvalSet) -> Iterator[str]:
    from realm.evaluate.measure import find_start

    settings = run.config.evaluate
    # The long prompts come first, so that a context too short shows at once.
    if eval_set.shown is not None:
        yield from ("assisted", "probe")
    yield "autonomous"
    if settings.samples and (settings.sampled_models == "all" or method == find_start(models)):
        yield "samples"


def _find_models(run: Run) -> dict[str, str]:
    """Return the models that there are, by method."""
    if run.config.model is None:
        return {}
    trained = {name: run.path(folder) for name, folder in _list_models(run).items() if folder}
    made = {name: str(path) for name, path in trained.items() if path.is_dir()}
    return {"base": run.config.resolve_model()} | made


def _list_models(run: Run) -> dict[str, str | None]:
    """Return the folders of all models of a complete run by method; `None` for the base."""
    models: dict[str, str | None] = {"base": None}
    if run.config.recipe == "r1":
        models["distilled"] = "distilled"
    # The last round's model is RUN/model.
    models |= {f"round-{n}": f"round-{n}/model" for n in range(1, run.config.rounds)}
    return models | {"realm": "model"}
