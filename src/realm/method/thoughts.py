"""Set the private thoughts of a model apart from what it says.

Reasoning models write their thoughts before their reply, each family with its own marks. Imports,
teachers and verifiers all read texts through this one function, so that a draft inside the
thoughts is never taken for the answer. A student that thinks is taught its chains inside its tags.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from realm.core.errors import ConfigError

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


def is_thought_tag(token: str) -> bool:
    """Return whether a token opens or closes private thoughts."""
    return bool(THOUGHT_TAG.fullmatch(token) or _SPECIAL.fullmatch(token))


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
        # inspect_ai and OpenRouter name the field of a part of type `reasoning` by its kind.
        names = ("thinking", "reasoning", "summary", "text")
        value = next((part[name] for name in names if part.get(name)), None)
        (thoughts if is_thought else texts).append("".join(read_parts(value)))
    return "".join(thoughts), "".join(texts)


@dataclass(frozen=True)
class ThinkTags:
    """What a completion writes around its private thoughts.

    Example: `ThinkTags("<think>\\n", "</think>")`.
    """

    start: str
    """With its line break; without the tag if the chat template writes it."""
    end: str


def find_think_tags(rendered: str, start: str | None, end: str | None) -> ThinkTags | None:
    """Return the tags that completions write; None for a student that does not think in private.

    Args:
        rendered: A rendered prompt. Some chat templates open the thoughts at its end.
        start: `prompt.think_start`; may be None if the template opens the thoughts.
        end: `prompt.think_end`; None for a student that does not think.

    Raises:
        ConfigError: The template and the settings do not fit.

    >>> find_think_tags("<|assistant|>", "<think>", "</think>")
    ThinkTags(start='<think>\\n', end='</think>')
    >>> find_think_tags("<|assistant|><think>\\n", None, "</think>")
    ThinkTags(start='', end='</think>')
    """
    prompt = rendered.rstrip()
    opened = next(
        (tag[0] for tag in THOUGHT_TAG.finditer(prompt) if tag.end() == len(prompt)), None
    )
    if end is not None and prompt.endswith(end):
        raise ConfigError(
            f"prompt.think_end: the chat template ends the thoughts itself ({end!r} ends the "
            "prompt), so that completions hold none. Remove prompt.think_start and "
            "prompt.think_end, or save a template that leaves thinking on."
        )
    if end is None:
        if opened is not None and "/" not in opened:
            raise ConfigError(
                f"prompt.think_end: the chat template opens private thoughts with {opened!r}, and "
                "no setting says what ends them. Try prompt.think_end: "
                f'"{opened[0]}/{opened[1:]}"'
            )
        return None
    if start is not None and prompt.endswith(start):
        opened = start
    if opened is not None and opened != (start or end.replace("/", "", 1)):
        raise ConfigError(
            f"prompt.think_start: the chat template opens private thoughts with {opened!r}, which "
            f"does not fit think_start: {start} and think_end: {end}. Name its own tags."
        )
    if opened is None and start is None:
        raise ConfigError(
            "prompt.think_start: needed and missing, since the chat template does not open private "
            f'thoughts. Name the tag before {end!r}, such as "{end.replace("/", "", 1)}"'
        )
    if opened is None:
        return ThinkTags(f"{start}\n", end)
    return ThinkTags("" if rendered.endswith("\n") else "\n", end)


def put_chain_in_thoughts(completion: str, tags: ThinkTags | None) -> str:
    """Return a rendered completion as a student that thinks in private writes it.

    Its chain goes inside the student's own tags, first; the checks of routes and the answer
    follow, where they are read. Without `tags` the completion stays as it is.

    >>> tags = ThinkTags("<think>\\n", "</think>")
    >>> print(put_chain_in_thoughts("<reason>\\n3 + 4 = 7\\n</reason>\\n<answer>7</answer>", tags))
    <think>
    3 + 4 = 7
    </think>
    <BLANKLINE>
    <answer>7</answer>
    """
    if tags is None:
        return completion
    # Our own rendering: it has one block of reasoning, or none if only the answer is taught.
    before, _, rest = completion.partition("<reason>\n")
    chain, _, after = rest.rpartition("\n</reason>\n")
    reply = before + after
    return f"{tags.start}{chain}\n{tags.end}\n\n{reply}"


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
