"""Judge a completion: the one place where text of a model becomes right, wrong or undecided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from realm.core.records import Judged, Judgement, Route, RouteSet
from realm.method.parse import parse_completion
from realm.method.prompt import render_answer, render_reasoning
from realm.method.thoughts import split_thoughts
from realm.verify.extract import find_tagged

if TYPE_CHECKING:
    from realm.verify.verifier import Verifier


def judge(  # noqa: PLR0913 (a completion has so many sides)
    completion: str,
    *,
    gold: Any,
    verifier: Verifier,
    routes: Sequence[Route] = (),
    label: str = "process",
    think_end: str | None = None,
    num_tokens: int = 0,
) -> Judged:
    """Return what one completion says and whether it is right; see `judge_all`.

    >>> from realm.verify.verifier import Verifier
    >>> verifier = Verifier("number")
    >>> judge("<reason>3 + 4 = 7</reason><answer>7</answer>", gold=7, verifier=verifier).correct
    True
    """
    [judged] = judge_all(
        [completion],
        golds=[gold],
        verifier=verifier,
        routes=[routes],
        label=label,
        think_end=think_end,
        num_tokens=[num_tokens],
    )
    return judged


def judge_all(  # noqa: PLR0913
    completions: Sequence[str],
    *,
    golds: Sequence[Any],
    verifier: Verifier,
    routes: Sequence[Sequence[Route]] | None = None,
    flaws: Sequence[Sequence[int | None]] | None = None,
    label: str = "process",
    think_end: str | None = None,
    num_tokens: Sequence[int] | None = None,
    is_exact: bool = True,
) -> list[Judged]:
    """Return what each completion says and whether it is right; all answers are compared at once.

    A completion that states no answer is wrong. One whose comparison is undecided is neither right
    nor wrong: `correct` is `None`, and whoever averages leaves it out and counts it.

    Args:
        completions: the texts that the model wrote, special tokens included.
        golds: the gold answer of each.
        verifier: reads and compares the answers.
        routes: the routes that each prompt showed, in their order; none for autonomous prompts.
        flaws: the number of the first step of each of these routes that does not hold, where it is
            known. Default: what the routes say.
        label: whether the true verdict of a route is its `process` or its `outcome` label.
        think_end: closing tag of the model's private thoughts, as "</think>", if it has some.
        num_tokens: length of each completion in tokens, if it was counted.
        is_exact: whether an answer in prose is right only as an answer tag would have to state it.
            Rewards need that; texts of other models, which nobody trains on them, do not.
    """
    routes = routes if routes is not None else [()] * len(completions)
    texts = list(completions)
    if think_end is None:  # thoughts of a model that nobody expected to think
        texts = [split_thoughts(text)[1] for text in texts]
    parsed = [
        parse_completion(text, len(shown), think_end=think_end)
        for text, shown in zip(texts, routes, strict=True)
    ]
    answers = [
        _read_answer(text, one, verifier, is_exact=is_exact)
        for text, one in zip(texts, parsed, strict=True)
    ]
    said = [index for index, answer in enumerate(answers) if answer is not None]
    correct: list[bool | None] = [False] * len(answers)
    verdicts = verifier.same_all([(answers[index], golds[index]) for index in said])
    for index, verdict in zip(said, verdicts, strict=True):
        correct[index] = verdict
    return [
        Judged(
            text=text,
            answer=answers[index],
            correct=correct[index],
            verdicts=parsed[index].verdicts,
            labels=RouteSet(problem_id="", routes=tuple(routes[index])).labels(label),
            named=parsed[index].named,
            flaws=tuple(flaws[index] if flaws else [route.flaw for route in routes[index]]),
            reasoning=parsed[index].reasoning,
            well_formed=parsed[index].well_formed,
            num_tokens=num_tokens[index] if num_tokens else 0,
        )
        for index, text in enumerate(completions)
    ]


def _read_answer(text: str, parsed: Judgement, verifier: Verifier, *, is_exact: bool) -> Any | None:
    """Return the answer of a completion; what stood in an answer tag is read as such.

    If it is to be exact, prose earns no more than a tag: else a model would learn sentences that
    are right for several gold answers.
    """
    if parsed.answer is None:
        return None
    if find_tagged(text) == parsed.answer:
        return verifier.extract(f"<answer>{parsed.answer}</answer>")
    answer = verifier.extract(parsed.answer)
    return verifier.make_exact(answer) if answer is not None and is_exact else answer


def render_completion(*, chain: str, answer: Any, verifier: Verifier) -> str:
    """Return the completion that teaches `answer`: a chain of thought, then the answer alone.

    It is the inverse of `judge`, which calls it right for the same gold answer.

    >>> from realm.verify.verifier import Verifier
    >>> print(render_completion(chain="3 + 4 = 7", answer=7, verifier=Verifier("number")))
    <reason>
    3 + 4 = 7
    </reason>
    <answer>7</answer>
    """
    rendered = verifier.render(answer)
    return render_reasoning(chain, rendered) if chain.strip() else render_answer(rendered)


def earns_reward(gold: Any, verifier: Verifier) -> bool:
    """Return whether the completion that teaches `gold` is judged right.

    >>> from realm.verify.verifier import Verifier
    >>> earns_reward("7 km", Verifier("number")), earns_reward("7 or 8", Verifier("number"))
    (True, False)
    """
    taught = render_completion(chain="", answer=gold, verifier=verifier)
    return judge(taught, gold=gold, verifier=verifier).correct is True
