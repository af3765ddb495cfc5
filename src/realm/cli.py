"""The command line: each verb reads the config, runs one stage or all of them, and prints what came of it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from realm.config import load_config
from realm.errors import ConfigError, RealmError
from realm.rounds import next_round
from realm.runs import STAGES, Run

app = typer.Typer(
    name="realm",
    help="Teach a small language model to reason in your domain by itself.\n\n"
    "`realm run CONFIG` does all stages in order: data, routes, distill, train, eval, report. Each is also a verb of its own. "
    "What is done is skipped; what was interrupted continues.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

HELP = {
    "data": (
        "Write the domain's problems, split and with their gold answers.",
        {
            "reads": "the config; the files of domain.path where domain.kind is files",
            "writes": "RUN/problems.jsonl, and RUN/rules.md where the domain has a rule book",
            "costs": "seconds",
        },
        "realm data configs/demo.yaml --set domain.sizes.train=500",
    ),
    "routes": (
        "Collect routes for each problem, outside chains of thought, and mark each one right or wrong.",
        {
            "reads": "RUN/problems.jsonl; the files of routes.files where routes.kind is import",
            "writes": "RUN/routes.jsonl",
            "costs": "seconds; no calls of a model",
        },
        "realm routes configs/demo.yaml",
    ),
    "import": (
        "Take answers that models already wrote as the routes: the stage `routes` for a config with routes.kind import.",
        {
            "reads": "RUN/problems.jsonl (made first where missing), the files of routes.files",
            "writes": "RUN/routes.jsonl",
            "costs": "seconds; no calls of a model",
        },
        "realm import configs/wikitq.yaml",
    ),
    "distill": (
        "Teach the model the teacher's checked chains, without the rules in the prompt (TRL's SFTTrainer).",
        {
            "reads": "RUN/problems.jsonl, RUN/routes.jsonl, the model that the config names",
            "writes": "RUN/sft.jsonl, RUN/distilled/",
            "costs": "fine-tuning: minutes for the bundled model on a CPU, a GPU for a real one",
        },
        "realm distill configs/demo.yaml --set distill.sft.learning_rate=1e-3",
    ),
    "train": (
        "Train with reinforcement learning on prompts whose routes fade out (TRL's GRPOTrainer).",
        {
            "reads": "RUN/problems.jsonl, RUN/routes.jsonl, RUN/distilled/ (the config's model where recipe is zero)",
            "writes": "RUN/model/, RUN/fade.jsonl, RUN/headroom.json, RUN/rollouts/",
            "costs": "the longest stage: minutes for the bundled model on a CPU, GPU hours for a real one",
        },
        "realm train configs/demo.yaml --set train.fade.kind=cosine",
    ),
    "eval": (
        "Measure the models and the routes themselves, with and without routes in the prompt, and print the table.",
        {
            "reads": "RUN/problems.jsonl, RUN/routes.jsonl, the model, RUN/distilled/ and RUN/model/ where they are there",
            "writes": "RUN/results.json, RUN/answers.jsonl",
            "costs": "one answer per model, mode and problem",
        },
        "realm eval configs/demo.yaml --set evaluate.limit.test=200",
    ),
    "report": (
        "Put the results, the fade curve and side-by-side transcripts on one page that opens offline.",
        {
            "reads": "RUN/results.json, RUN/answers.jsonl, RUN/fade.jsonl and RUN/headroom.json where they are there",
            "writes": "RUN/report.html",
            "costs": "seconds",
        },
        "realm report configs/demo.yaml",
    ),
    "run": (
        "Do all stages in order, each skipped when its settings and inputs have not changed, and print the results.",
        {
            "reads": "the config and what it names",
            "writes": "all files of the run folder",
            "costs": "what the stages cost; --dry-run shows which of them are left",
        },
        "realm run configs/demo.yaml",
    ),
    "compare": (
        "Compare methods over several seeds at equal budgets, and test the claims.",
        {
            "reads": "the config, its section `compare`; docs/compare.md says which methods there are",
            "writes": "RUN/cells/METHOD-SEED/, RUN/results.json, RUN/report.html",
            "costs": "seeds x methods trainings; done cells are kept, and the time left is printed after each",
        },
        "realm compare configs/compare.yaml --set compare.seeds=2",
    ),
    "ask": (
        "Ask a model one question, by itself or with its own samples as routes.",
        {
            "reads": "a run folder (its model/), a model folder in it, or any other model",
            "writes": "nothing; the answer goes to standard output",
            "costs": "one completion, and K more with --self-routes K",
        },
        'realm ask runs/demo "A gold member had a scan. ..." --self-routes 4',
    ),
}

LONG_STAGES = ("distill", "train")

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="The settings, a YAML file.", show_default=False)]
RunFolder = Annotated[
    Path | None,
    typer.Option("--run", metavar="DIR", file_okay=False, help="The run folder.  [default: the config's `run`, or runs/NAME]"),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one setting, as train.fade.kind=cosine; repeatable."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and stop.")]
Force = Annotated[bool, typer.Option("--force", help="Do it again even where it is done.")]


def main() -> None:
    """Run the command line."""
    app(prog_name="realm")


@contextmanager
def told_plainly() -> Iterator[None]:
    """Turn a user's mistake into one message and exit code 2, and Ctrl-C into one line and exit code 1."""
    try:
        yield
    except RealmError as error:
        typer.echo(f"realm: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("\nrealm: interrupted; the same command continues.", err=True)
        raise typer.Exit(1) from None


def _be_quiet() -> None:
    """Turn off what the libraries below would send or say unasked."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _add_verb(verb: str, body: Callable[[Run, bool, bool], None]) -> None:
    def command(
        config: ConfigPath, run: RunFolder = None, set_: Overrides = None, dry_run: DryRun = False, force: Force = False
    ) -> None:
        with told_plainly():
            _be_quiet()
            settings = load_config(config, set_ or [])
            body(Run(run or settings.run_folder(), settings), dry_run, force)

    _register(verb, command)


def _register(verb: str, command: Callable[..., None]) -> None:
    what, facts, example = HELP[verb]
    table = "\n".join(f"  {name:<7} {text}" for name, text in facts.items())
    app.command(verb, help=f"{what}\n\n\b\n{table}\n\nexample:  {example}", short_help=what)(command)


def run_stage(run: Run, stage: str, *, dry_run: bool, force: bool) -> None:
    """Do one stage unless it is done, and say so in one line."""
    if not run.part_of(stage):
        _say(stage, f"not part of the recipe {run.config.recipe!r}")
    elif not force and run.is_done(stage):
        _say(stage, "done before; settings and inputs unchanged")
    elif dry_run:
        _say(stage, f"would run: {_listed(run.reads(stage)) or 'the config'} -> {_listed(run.stages[stage].outputs)}")
    else:
        started = time.monotonic()
        with run.recording(stage):
            _say(stage, "running")
            import_module(run.stages[stage].module).run(run.config, run)
        outputs = ", ".join(run.manifest()["stages"][stage]["outputs"])
        _say(stage, f"done in {time.monotonic() - started:.0f} s: {outputs}")


def _one_stage(stage: str) -> Callable[[Run, bool, bool], None]:
    def body(run: Run, dry_run: bool, force: bool) -> None:
        _warn_of_outdated(run, stage)
        run_stage(run, stage, dry_run=dry_run, force=force)
        if stage == "eval" and not dry_run:
            _print_results(run)

    return body


def _all_stages(run: Run, dry_run: bool, force: bool) -> None:
    for stage in STAGES:
        if stage == LONG_STAGES[0] and not dry_run:
            _check_long_stages(run, force)
        run_stage(run, stage, dry_run=dry_run, force=force)
    for number in range(2, run.config.rounds + 1):
        run = next_round(run, number)
        typer.echo(f"round {number} of {run.config.rounds}, in {run.folder}: routes of the policy's own")
        for stage in run.stages:
            run_stage(run, stage, dry_run=dry_run, force=force)
    if not dry_run:
        typer.echo(f"\nrun folder  {run.folder}\nmodel       {run.path('model')}\nreport      {run.path('report.html')}\n")
        _print_results(run)


def _check_long_stages(run: Run, force: bool) -> None:
    """Let the long stages that are left look at their settings and the model: a mistake must not show after hours."""
    left = [stage for stage in LONG_STAGES if run.part_of(stage) and (force or not run.is_done(stage))]
    if left:
        _say("check", f"model and settings of {' and '.join(left)}")
    for stage in left:
        import_module(STAGES[stage].module).check(run.config)


def _import_routes(run: Run, dry_run: bool, force: bool) -> None:
    if run.config.routes.kind != "import":
        raise ConfigError(
            f"{run.config.source}: routes.kind: found {run.config.routes.kind!r}; `realm import` needs 'import' and the files "
            "in routes.files. See configs/wikitq.yaml for an example."
        )
    run_stage(run, "data", dry_run=dry_run, force=False)
    run_stage(run, "routes", dry_run=dry_run, force=force)


def _ask(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A run folder, a model folder or a hub id.", show_default=False)],
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="The question; - reads it.", show_default=False)],
    self_routes: Annotated[int, typer.Option(metavar="K", min=0, help="Judge so many own samples first.")] = 0,
    max_new_tokens: Annotated[int, typer.Option(metavar="N", min=1, help="Length of a completion at most.")] = 512,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the samples.")] = 7,
) -> None:
    with told_plainly():
        _be_quiet()
        text = sys.stdin.read() if question == "-" else question
        reply = import_module("realm.ask").ask(model, text, self_routes=self_routes, max_new_tokens=max_new_tokens, seed=seed)
        typer.echo(reply.describe())


def _compare(run: Run, dry_run: bool, force: bool) -> None:
    import_module("realm.compare.running").compare(run.config, run.folder, dry_run=dry_run, force=force)


def _print_results(run: Run) -> None:
    import_module("realm.evaluate").print_results(run)


def _warn_of_outdated(run: Run, stage: str) -> None:
    """Say which earlier stages no longer match the config: this stage builds on what they wrote back then."""
    earlier = list(STAGES)[: list(STAGES).index(stage)]
    recorded = run.manifest().get("stages", {})
    outdated = [name for name in earlier if name in recorded and run.part_of(name) and not run.is_done(name)]
    if outdated:
        typer.echo(
            f"realm: {', '.join(outdated)}: done with other settings or inputs; `realm run` brings all up to date.", err=True
        )


def _listed(names: Sequence[str]) -> str:
    """Return the names of a run's files in one line, in brackets what need not be there."""
    return ", ".join(f"[{name.rstrip('?')}]" if name.endswith("?") else name for name in names)


def _say(stage: str, text: str) -> None:
    typer.echo(f"{stage:<8} {text}")
    sys.stdout.flush()


_add_verb("import", _import_routes)
for _stage in STAGES:
    _add_verb(_stage, _one_stage(_stage))
_add_verb("run", _all_stages)
_add_verb("compare", _compare)
_register("ask", _ask)
