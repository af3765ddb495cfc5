"""The verbs that use a finished model: `ask`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from realm.cli.app import add_verb
from realm.core.errors import DataError, make_printable
from realm.core.settings import MAX_SEED


@add_verb("ask")
def ask_model(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A run folder, a model folder, a GGUF file or a hub id."
        ),
    ],
    question: Annotated[
        str, typer.Argument(metavar="QUESTION", help="The question; - reads standard input.")
    ],
    self_routes: Annotated[
        int,
        typer.Option(
            metavar="K",
            min=0,
            help="Sample K answers first and have the model verify them before answering.",
        ),
    ] = 0,
    max_new_tokens: Annotated[
        int, typer.Option(metavar="N", min=1, help="Maximum length of a completion.")
    ] = 512,
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
    from realm.ask import ask_question

    reply = ask_question(
        model,
        read_question(question),
        self_routes=self_routes,
        max_new_tokens=max_new_tokens,
        seed=seed,
    )
    typer.echo(make_printable(reply.describe()))


def read_question(question: str) -> str:
    """Return the question of the command line, or for `-` that of standard input."""
    if question != "-":
        return question
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise DataError(f"standard input: is not UTF-8 text: {error.reason}.") from None
