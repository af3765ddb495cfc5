"""The verbs that run stages, `watch`, which follows them, and `review`, which corrects labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from realm.cli.app import add_run_verb, add_verb
from realm.cli.options import ConfigPath, DryRun, Force, Overrides, RunFolder
from realm.cli.plan import (
    do_stage,
    print_plan,
    show_problems,
    show_results,
    show_run_comparison,
    show_search,
)
from realm.core.errors import DataError, make_printable

if TYPE_CHECKING:
    from realm.run import Run


@add_run_verb("data")
def write_problems(run: Run, dry_run: bool, force: bool) -> None:
    """Write the problems of the domain, with their splits and gold answers, and say what they are.

    Prints the size of each split, the answers, the length of the questions, questions that occur
    twice, and five problems. A training question in another split is an error.

    \b
    Reads:    the config, and the files that its `domain` names
    Writes:   RUN/problems.jsonl, and RUN/rules.md if the domain has a rule book
    Costs:    seconds
    Example:  realm data configs/demo.yaml --set domain.settings.sizes.train=500
    """
    do_stage(run, "data", dry_run, force)
    if not dry_run:
        show_problems(run)


@add_run_verb("routes")
def collect_routes(run: Run, dry_run: bool, force: bool) -> None:
    """Collect routes (chains of thought by others) for each problem and label them.

    \b
    Reads:    RUN/problems.jsonl; `routes.files`, or the guide for teachers
    Writes:   RUN/routes.jsonl, RUN/bank.json; RUN/teacher.sqlite with all replies
    Costs:    seconds; with teachers what they charge: --dry-run estimates it, and
              routes.budget_usd caps it
    Example:  realm routes configs/demo.yaml
    """
    do_stage(run, "routes", dry_run, force)


@add_run_verb("distill")
def distill_model(run: Run, dry_run: bool, force: bool) -> None:
    """Train the model on the teacher's right chains, without the rules in the prompt.

    \b
    Reads:    RUN/problems.jsonl, RUN/routes.jsonl, the model of the config
    Writes:   RUN/sft.jsonl, RUN/distilled/
    Costs:    minutes for the bundled model on a CPU, a GPU for a real one
    Example:  realm distill configs/demo.yaml --set distill.sft.learning_rate=1e-3
    """
    do_stage(run, "distill", dry_run, force)


@add_run_verb("train")
def train_model(run: Run, dry_run: bool, force: bool) -> None:
    """Train with reinforcement learning on prompts whose routes fade out.

    \b
    Reads:    RUN/problems.jsonl, RUN/routes.jsonl, RUN/distilled/ (the config's
              model with recipe: zero)
    Writes:   RUN/model/, RUN/fade.jsonl, RUN/headroom.json, RUN/rollouts/
    Costs:    the longest stage: minutes for the bundled model on a CPU, GPU hours
              for a real one
    Example:  realm train configs/demo.yaml --set train.fade.kind=cosine
    """
    do_stage(run, "train", dry_run, force)


@add_run_verb("eval")
def evaluate_models(run: Run, dry_run: bool, force: bool) -> None:
    """Evaluate the models and the routes, and print the results.

    Each model answers with and without routes in its prompt. Without a model, only the routes are
    evaluated, on all problems.

    \b
    Reads:    RUN/problems.jsonl, RUN/routes.jsonl, the model, and RUN/distilled/
              and RUN/model/ if they exist
    Writes:   RUN/results.json, RUN/answers.jsonl
    Costs:    one answer per model, mode and problem
    Example:  realm eval configs/demo.yaml --set evaluate.limit.test=200
    """
    do_stage(run, "eval", dry_run, force)
    if not dry_run:
        show_results(run)


@add_run_verb("report")
def write_report(run: Run, dry_run: bool, force: bool) -> None:
    """Write the results, the training curves and example answers to a page that opens offline.

    \b
    Reads:    RUN/bank.json, RUN/results.json, RUN/answers.jsonl, and RUN/fade.jsonl
              and RUN/headroom.json if they exist
    Writes:   RUN/report.html
    Costs:    seconds
    Example:  realm report configs/demo.yaml
    """
    do_stage(run, "report", dry_run, force)


@add_run_verb("run")
def run_all(run: Run, dry_run: bool, force: bool) -> None:
    """Run all stages in order, skip those that are up to date, and print the results.

    \b
    Reads:    the config and the files that it names
    Writes:   all files of the run folder
    Costs:    the sum of the stages; --dry-run shows what is left and the memory it needs
    Example:  realm run configs/demo.yaml
    """
    if dry_run:
        for stage in run.stages:
            print_plan(run, stage, force)
        run.check_stages(run.stages, force=force)
        return
    run.run_all(force=force)
    made = {
        "run folder": run.folder,
        "model": run.path("model"),
        "report": run.path("report.html"),
    }
    lines = [f"{name:<11} {path}" for name, path in made.items() if path.exists()]
    typer.echo("\n" + "\n".join(lines) + "\n")
    show_results(run)


@add_verb("demo", main_only=False, continues=True)
def run_demo(
    run: RunFolder = None,
    set_: Overrides = None,
    dry_run: DryRun = False,
    force: Force = False,
) -> None:
    """Run all stages on the bundled model and a made-up insurer's claims, without a network.

    `realm init --example claims` writes the config, the domain and the model, to change them.

    \b
    Reads:    nothing
    Writes:   runs/demo/
    Costs:    about ten minutes on two CPU cores
    Example:  realm demo --set evaluate.limit.test=200
    """
    from realm.scaffold import DEMO_CONFIG

    run_all(DEMO_CONFIG, run, set_, dry_run, force)


@add_verb("compare", main_only=False, continues=True)
def compare(
    targets: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN|CONFIG",
            help="Folders of finished runs, the first one being what the others are compared with; "
            "or one config with a section `compare`.",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Compare this model of the runs, such as distilled.  [default: the last one]",
        ),
    ] = None,
    run: RunFolder = None,
    set_: Overrides = None,
    dry_run: DryRun = False,
    force: Force = False,
) -> None:
    """Compare finished runs; or methods over several seeds.

    With two or more run folders: the accuracy of their models on the same problems, the paired
    differences, the tokens per answer, and the settings that differ.

    With one config: train and evaluate each method with each seed, with equal budgets, and test
    the claims. The options below --model belong to this.

    \b
    Reads:    RUN/manifest.json, RUN/problems.jsonl, RUN/answers.jsonl of each run;
              or the config and its section `compare`; docs/compare.md lists the
              methods
    Writes:   nothing; or RUN/cells/METHOD-SEED/, RUN/results.json, RUN/report.html
    Costs:    seconds; or seeds x methods trainings: finished ones are kept, and the
              remaining time is printed after each
    Example:  realm compare runs/a runs/b
              realm compare configs/claims-services.yaml --set compare.seeds=2
    """
    if len(targets) > 1:
        if run or set_ or dry_run or force:
            raise typer.BadParameter(
                "--run, --set, --dry-run and --force are for one config; several run folders are "
                "only read."
            )
        show_run_comparison(targets, model)
        return
    if model:
        raise typer.BadParameter("--model is for several run folders.")
    from realm.config import load_config
    from realm.evaluate.compare import require_methods, run_comparison
    from realm.evaluate.report.tables import print_results
    from realm.run import Run

    settings = load_config(targets[0], set_ or [])
    comparison = Run(run or settings.run_folder(), settings)
    require_methods(comparison, targets[0])
    if not dry_run:
        comparison.check_folder("compare", force=force)
    results = run_comparison(comparison, dry_run=dry_run, force=force)
    if results is not None:
        print_results(results)
        places = (comparison.path("results.json"), comparison.path("report.html"))
        typer.echo(f"\nresults  {places[0]}\nreport   {places[1]}")


@add_verb("tune", main_only=False, continues=True)
def tune(
    config: ConfigPath,
    minutes: Annotated[
        float,
        typer.Option(
            metavar="N",
            min=0,
            help="Begin no trial that would end later, all trials so far counted.",
        ),
    ] = 60,
    run: RunFolder = None,
    set_: Overrides = None,
    dry_run: DryRun = False,
) -> None:
    """Search for better learning rates, length of distillation and fade.

    Each trial distils and trains as `realm run` does, and answers the validation problems alone.
    No test problem is used. The first trial has the settings of the config. Settings are only
    called better if they beat it beyond chance.

    \b
    Reads:    the config and the files that it names; needs the package optuna:
              pip install "realm-slm[tune]"
    Writes:   RUN/tune/: study.db, tune.json, and the distilled models of the trials
    Costs:    N minutes of training; the first trial always ends
    Example:  realm tune configs/demo.yaml --minutes 120
    """
    from realm.config import load_config
    from realm.run import Run
    from realm.study.tune import list_choices, tune_run

    settings = load_config(config, set_ or [])
    tuned = Run(run or settings.run_folder(), settings)
    if dry_run:
        for name, choice in list_choices(tuned).items():
            values = ", ".join(map(str, choice.values))
            typer.echo(f"{name}: {values} (the config: {choice.start})")
        return
    show_search(tune_run(tuned, minutes=minutes), tuned)


@add_verb("watch")
def watch_run(
    run: Annotated[Path, typer.Argument(metavar="RUN", file_okay=False, help="A run folder.")],
    once: Annotated[bool, typer.Option("--once", help="Print the state and exit.")] = False,
) -> None:
    """Follow a run from another terminal: its stage and step, curves, the last completions.

    \b
    Reads:    RUN/manifest.json, RUN/fade.jsonl, RUN/rollouts/; while it distils the
              newest checkpoint in RUN/work/
    Writes:   nothing
    Costs:    nothing
    Example:  realm watch runs/demo
    """
    from realm.watch import watch

    watch(run, once=once)


@add_verb("review", continues=True)
def review_run(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", exists=True, file_okay=False, help="A run folder.")
    ],
    split: Annotated[
        str | None, typer.Option(metavar="SPLIT", help="Only problems of this split.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only problems with a route of this source.")
    ] = None,
    only: Annotated[
        Literal["right", "wrong", "unparsed"] | None,
        typer.Option(
            metavar="OUTCOME",
            help="Only problems with a route or an answer that is right, wrong or unparsed.",
        ),
    ] = None,
    show_list: Annotated[
        bool, typer.Option("--list", help="Print the problems that look mislabelled, and exit.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Show the problems that were seen before as well.")
    ] = False,
) -> None:
    """Read problems, routes and answers in the terminal, and correct their labels.

    Shows first what is most likely mislabelled. Every correction is kept at once; q ends, and the
    same command goes on with the problems that are left. `realm run RUN` applies the corrections.

    \b
    Reads:    RUN/problems.jsonl, RUN/routes.jsonl; RUN/answers.jsonl if it exists
    Writes:   RUN/corrections.jsonl, RUN/reviewed.jsonl; with --list nothing
    Costs:    nothing; the stages that the corrections change run again
    Example:  realm review runs/demo --only wrong
    """
    from realm.config import load_config
    from realm.review.suspects import describe_cases, load_cases, select_cases
    from realm.review.terminal import read_seen, review_cases
    from realm.run import Run

    opened = Run(run, load_config(run))
    cases = select_cases(load_cases(opened), split, source, only)
    if not cases:
        raise DataError(f"{run}: no problem is left with --split, --source and --only as given.")
    seen = set() if again else read_seen(run)
    left = [case for case in cases if case.problem.id not in seen]
    if show_list:
        typer.echo(make_printable(describe_cases(left, show_all=only is not None)))
    elif left:
        review_cases(opened, left)
    else:
        typer.echo(f"All {len(cases):,} problems were seen before; --again shows them.")
