"""A process that tries a chat template, since that is a program which came with a model."""

from __future__ import annotations

from typing import Any

from transformers.utils.chat_template_utils import render_jinja_template

from realm.core.workers import serve

_MOST_CHARS = 1_000_000
"""More than any template writes around a prompt of two letters."""


def try_template(question: dict[str, Any]) -> str:
    """Return what is wrong with a template, or an empty text."""
    try:
        found: Any = render_jinja_template(
            conversations=[[{"role": "user", "content": "Hi"}]],
            chat_template=question["template"],
            add_generation_prompt=True,
            **question["tokens"],
        )
    except BaseException as error:
        return str(error).strip().partition("\n")[0] or type(error).__name__
    num_chars = len(found[0][0])  # texts and, for each, what was marked in it
    return f"it writes {num_chars:,} characters" if num_chars > _MOST_CHARS else ""


if __name__ == "__main__":
    serve(try_template)
