"""Set the private thoughts of a model apart from what it says.

Reasoning models write their thoughts before their reply, each family with its own marks. Imports,
teachers and verifiers all read texts through this one function, so that a draft inside the
thoughts is never taken for the answer.
"""

from __future__ import annotations

import re
from typing import Any

# `<think>` (DeepSeek, Qwen), `<thinking>`, `<thought>` and `<reasoning>` (prompted models),
# `[THINK]` (Mistral), `◁think▷` (Kimi). Each names a closing tag in group 1.
THOUGHT_TAG = re.compile(
    r"[<\[◁] ?(/?) ?(?:seed:)?(?:think|thinking|thoughts?|reasoning|scratchpad) ?[>\]▷]",
    re.IGNORECASE,
)
# `<|begin_of_thought|>` (Sky-T1, OpenThinker), `<|START_THINKING|>` (Command A): as `<think>`.
_SPECIAL = re.compile(r"<\|(begin_of|end_of|start|end)_(?:thought|thinking)\|>", re.IGNORECASE)
_REPLY_MARK = re.compile(
    r"<\|(?:begin_of|end_of|start|end)_(?:solution|response)\|>", re.IGNORECASE
)

# gpt-oss (the harmony format) writes `<|channel|>analysis<|message|>...` and then
# `<|channel|>final<|message|>...`; other channels, as `commentary`, are no answer either.
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)[^<]*<\|message\|>")
_CONTROL = re.compile(r"<\|(?:start|end|return|call|message|channel|constrain)\|>(?:assistant)?")

# The same text after a decoder dropped the special tokens.
_BARE_START, _BARE_FINAL = "analysis", "assistantfinal"
_UNFINISHED = re.compile(r"analysis[A-Z]")


def split_thoughts(text: str) -> tuple[str, str]:
    """Return `(thoughts, reply)` of a text, both stripped.

    Everything up to the last closing tag is thought, whether a tag opened it or the chat template
    did. A thought that never ends leaves no reply: the reply is empty, and states no answer.

    >>> split_thoughts("<think>2 + 2</think>The answer is 4")
    ('2 + 2', 'The answer is 4')
    >>> split_thoughts("2 + 2 is 4</think>The answer is 4")
    ('2 + 2 is 4', 'The answer is 4')
    >>> split_thoughts("<think>Perhaps the answer is 4")
    ('Perhaps the answer is 4', '')
    """
    if "<|channel|>" in text:
        return _split_channels(text)
    if text.startswith(_BARE_START) and _BARE_FINAL in text:
        thoughts, _, reply = text.removeprefix(_BARE_START).rpartition(_BARE_FINAL)
        return thoughts.strip(), reply.strip()
    if _UNFINISHED.match(text):
        return text.removeprefix(_BARE_START).strip(), ""
    text = _SPECIAL.sub(lambda tag: "<think>" if tag[1][0] in "bBsS" else "</think>", text)
    text = _REPLY_MARK.sub("", text)
    tags = list(THOUGHT_TAG.finditer(text))
    if not tags:
        return "", text.strip()
    if not tags[-1][1]:
        return _join_parts(THOUGHT_TAG.split(text)[::2]), ""
    end = tags[-1].end()
    return _join_parts(THOUGHT_TAG.split(text[:end])[::2]), text[end:].strip()


def read_parts(content: Any) -> tuple[str, str]:
    """Return `(thoughts, text)` of a message's content: a text, null, or a list of typed parts.

    >>> read_parts([{"type": "thinking", "thinking": "2 + 2"}, {"type": "text", "text": "4"}])
    ('2 + 2', '4')
    """
    if not isinstance(content, list):
        return "", content if isinstance(content, str) else ""
    thoughts: list[str] = []
    texts: list[str] = []
    for part in content:
        if not isinstance(part, dict):
            continue
        is_thought = str(part.get("type")).startswith(("thinking", "reasoning"))
        # Mistral nests a list of parts in a part of type `thinking`; Anthropic puts a text there.
        # inspect_ai puts the text of a part of type `reasoning` into a field of that name.
        value = part.get("thinking") or part.get("reasoning") or part.get("text")
        (thoughts if is_thought else texts).append("".join(read_parts(value)))
    return "".join(thoughts), "".join(texts)


def _split_channels(text: str) -> tuple[str, str]:
    """Return `(thoughts, reply)` of a text in the harmony format."""
    thoughts: list[str] = []
    replies: list[str] = []
    # The pattern has one group, so the pieces alternate: text, channel, text, channel, text.
    pieces = _CHANNEL.split(text)
    for channel, content in zip(pieces[1::2], pieces[2::2], strict=True):
        into = replies if channel == "final" else thoughts
        into.append(_CONTROL.sub("", content))
    return _join_parts([pieces[0], *thoughts]), _join_parts(replies)


def _join_parts(parts: list[str]) -> str:
    """Return the parts that hold something, with an empty line between them."""
    stripped = (part.strip() for part in parts)
    return "\n\n".join(part for part in stripped if part)
