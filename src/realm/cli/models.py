"""The verbs that use a model: the distilled one, or a finished one."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from realm.cli.app import add_verb
from realm.cli.options import ConfigPath, Overrides, RunFolder
from realm.cli.plan import print_line
from realm.core.errors import DataError, make_printable
from realm.core.settings import MAX_SEED

ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A run folder, an export, a model folder, a GGUF file, a hub id, or base-1m: the "
        "bundled model.",
    ),
]
SelfRoutes = Annotated[
    int,
    typer.Option(
        metavar="K",
        min=0,
        help="Sample K answers first and have the model verify them before answering.",
    ),
]
MaxNewTokens = Annotated[
    int, typer.Option(metavar="N", min=1, help="Maximum length of a completion.")
]


@add_verb("ask")
def ask_model(
    model: ModelName,
    question: Annotated[
        str, typer.Argument(metavar="QUESTION", help="The question; - reads standard input.")
    ],
    self_routes: SelfRoutes = 0,
    max_new_tokens: MaxNewTokens = 512,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, max=MAX_SEED, help="Seed of the sampling.")
    ] = 7,
) -> None:
    """Ask a model one question, optionally with its own samples as routes.

    \b
    Reads:    a run folder (its model/), a model folder in it, or any other model
    Writes:   nothing; the answer is printed
    Costs:    one completion, and K more with --self-routes K
    Example:  realm ask runs/demo "A gold member had a scan. ..." --self-routes 4
    """
    from realm.deploy.student import Student, require_question

    text = read_question(question)
    require_question(text)  # before the model is loaded
    reply = Student(model).ask(
        text, self_routes=self_routes, max_new_tokens=max_new_tokens, seed=seed
    )
    typer.echo(make_printable(reply.describe()))


@add_verb("chat")
def chat_with_model(
    model: ModelName, self_routes: SelfRoutes = 0, max_new_tokens: MaxNewTokens = 512
) -> None:
    """Ask a model several questions in the terminal; it is loaded once.

    Each question stands alone, as in the training. The reasoning is folded to its beginning;
    /more shows all of it, /routes K changes --self-routes, /quit ends.

    \b
    Reads:    a run folder (its model/), a model folder in it, or any other model;
              the questions from the terminal, or from a pipe with empty lines between
    Writes:   nothing
    Costs:    one completion for each question, and K more with --self-routes K
    Example:  realm chat runs/demo --self-routes 4
    """
    from rich.console import Console

    from realm.deploy.chat import HELP, chat, read_questions
    from realm.deploy.student import Student

    student = Student(model)
    if sys.stdin.isatty():
        typer.echo(HELP)
    console = Console(highlight=False)
    chat(student, console, read_questions(), self_routes=self_routes, max_new_tokens=max_new_tokens)


@add_verb("serve")
def serve_model(
    model: ModelName,
    host: Annotated[
        str, typer.Option(metavar="HOST", help="Address to listen at; 0.0.0.0: every network.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="PORT", min=0, max=65535, help="0: any.")] = 8000,
    self_routes: SelfRoutes = 0,
    max_new_tokens: MaxNewTokens = 512,
    upstream: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="A server that holds the weights, such as `vllm serve RUN/model`. Prompts are "
            "applied and replies read here, and requests are answered together.",
        ),
    ] = None,
) -> None:
    """Serve a model at an OpenAI-compatible endpoint, with the prompts it was trained with.

    The reply holds the answer alone as `content` and the reasoning as `reasoning_content`. There is
    no key and no encryption: leave it on this machine, or put a proxy before it.

    \b
    Reads:    a run folder (its model/), a model folder in it, or any other model
    Writes:   nothing
    Costs:    the memory of the model; requests are answered one after the other,
              with --upstream together
    Example:  realm serve runs/demo --self-routes 4
    """
    from realm.deploy.server import Answerer, require_server, run_server
    from realm.deploy.student import Student

    require_server()  # before the model is loaded
    name = Path(model).resolve().name if Path(model).exists() else model
    student = Student(model, upstream)
    run_server(Answerer(student, name, self_routes, max_new_tokens), host, port)


@add_verb("export")
def export_model(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", file_okay=False, help="A run folder with a model.")
    ],
    to: Annotated[
        Path, typer.Option("--to", metavar="DIR", help="The folder to write; it must be new.")
    ],
    adapter: Annotated[
        bool, typer.Option("--adapter", help="Write the LoRA adapter alone, for the base model.")
    ] = False,
    gguf: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE",
            help="Write a GGUF file too: f32, f16, bf16, q8_0, q5_1, q5_0, q4_1 or q4_0; with "
            "llama.cpp on the PATH (or its folder in LLAMA_CPP) also q4_k_m and others.",
        ),
    ] = None,
    push_to_hub: Annotated[
        str | None,
        typer.Option(
            metavar="OWNER/NAME", help="Upload the folder to a private repository of the hub."
        ),
    ] = None,
    check: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, help="Ask N test problems before and after, and compare. 0: none."
        ),
    ] = 50,
) -> None:
    """Write the model of a run to a folder of its own, with a model card.

    The same problems are asked before and after the export, and their answers compared.

    \b
    Reads:    RUN/model/ (else RUN/distilled/), RUN/problems.jsonl, RUN/results.json
    Writes:   DIR/: safetensors and tokenizer, or with --adapter the adapter;
              realm_prompts.json, README.md, with --gguf a GGUF file
    Costs:    N answers by the model, and N by each form that is written
    Example:  realm export runs/demo --to exported --gguf q8_0
    """
    if adapter and gguf:
        raise typer.BadParameter("a GGUF file holds merged weights: leave out --adapter.")
    from realm.config import load_config
    from realm.deploy.export import export_run, hub_repository
    from realm.run import Run

    # Opened before the export, so that a missing token shows first.
    with hub_repository(push_to_hub) if push_to_hub else nullcontext() as upload:
        checks = export_run(
            Run(run, load_config(run)), to, only_adapter=adapter, gguf=gguf, num_checked=check
        )
        typer.echo(f"exported to {to}")
        for one in checks:
            print_line("answers", one.describe())
        if upload:
            print_line("uploaded", upload(to))


@add_verb("forecast")
def forecast_gain(
    config: ConfigPath,
    run: RunFolder = None,
    set_: Overrides = None,
    pilot: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Train for N rollouts in a folder of its own, and measure what they gain.",
        ),
    ] = 0,
) -> None:
    """Tell whether reinforcement learning is likely to pay, and what would be cheaper.

    `realm train` prints the same paragraph, without a pilot, before it begins.

    \b
    Reads:    RUN/problems.jsonl, RUN/routes.jsonl, RUN/distilled/ (the config's
              model with recipe: zero)
    Writes:   nothing; with --pilot RUN/work/forecast/
    Costs:    train.headroom.problems x train.headroom.samples completions; with
              --pilot N twice that and N rollouts
    Example:  realm forecast runs/demo --pilot 512
    """
    from realm.config import load_config
    from realm.forecast import forecast_run
    from realm.run import Run

    settings = load_config(config, set_ or [])
    folder = run or settings.run_folder()
    forecast = forecast_run(Run(folder, settings), pilot_rollouts=pilot)
    typer.echo(make_printable(forecast.describe()))


def read_question(question: str) -> str:
    """Return the question of the command line, or for `-` that of standard input."""
    if question != "-":
        return question
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise DataError(f"standard input: is not UTF-8 text: {error.reason}.") from None
