"""Stage `data`: write the domain's problems and its rule book into the run folder."""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from typing import TYPE_CHECKING

from realm.core.errors import DataError
from realm.core.jsonl import write_jsonl, write_text
from realm.core.records import Problem, to_row
from realm.core.tables import describe_bad_rows
from realm.core.targets import user_errors
from realm.domains.corrections import CORRECTIONS, correct_problems, read_corrections
from realm.domains.domain import SPLITS, Domain
from realm.verify.judge import earns_reward, render_completion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realm.run import Run
    from realm.verify.verifier import Verifier

logger = logging.getLogger(__name__)

# Punctuation at the end of a word. Signs between numbers stay: "7 - 2" is not "7 2".
_PUNCTUATION = re.compile(r"[.,;:!?\"']+(?=\s|$)")


def run_data(run: Run) -> None:
    """Write problems.jsonl, and rules.md if the domain has a rule book."""
    domain = run.domain
    source = f"{run.config.source}: domain"
    domain.bad_rows = []
    with user_errors(source, f"{domain.name}.problems"):
        problems = list(domain.problems(run.config.seed))
    # Without a model nothing is trained and every problem is evaluated: any split will do.
    needed_splits = domain.needed_splits if run.config.model is not None else ()
    check_problems(problems, needed_splits, source)
    corrections = read_corrections(run.path(CORRECTIONS))
    problems, num_corrected = correct_problems(problems, corrections)
    if num_corrected:
        run.record_figures({"corrections": num_corrected})
        logger.info("%s: %d problems corrected or left out", CORRECTIONS, num_corrected)
    with user_errors(source, f"the verifier of {domain.name}"):
        problems = check_answers(problems, domain, source)
    if domain.bad_rows:
        logger.warning("%s", describe_bad_rows(domain.bad_rows))
    if domain.rules is None:
        run.path("rules.md").unlink(missing_ok=True)
    else:
        write_text(run.path("rules.md"), domain.rules)
    write_jsonl(run.path("problems.jsonl"), problems)
    run.record_figures(
        {
            "problems": len(problems),
            "rows_left_out": len(domain.bad_rows),
            "rows_repeated": domain.num_repeated,
        }
    )


def check_problems(problems: Sequence[Problem], needed_splits: Sequence[str], source: str) -> None:
    """Raise a DataError for a malformed problem, a repeated id, or an empty split."""
    for problem in problems:
        _check_fields(problem, source)
    sizes = Counter(problem.split for problem in problems)
    for split in needed_splits:
        if not sizes[split]:
            found = ", ".join(f"{name} {size}" for name, size in sorted(sizes.items()))
            raise DataError(
                f"{source}: the split {split!r} is empty; found: {found or 'no problems'}. "
                f"A run needs problems in {' and '.join(needed_splits)}. Give more problems, "
                "change the shares in domain.splits, or correct domain.columns.split."
            )
    ids = Counter(problem.id for problem in problems)
    repeated = [identity for identity, count in ids.items() if count > 1]
    if repeated:
        raise DataError(
            f"{source}: {len(repeated)} ids occur more than once, the first is {repeated[0]!r}. "
            "An id names one problem: set domain.columns.id to a column without repeats, or to "
            "null to take the hash of the question."
        )


def check_answers(problems: Sequence[Problem], domain: Domain, source: str) -> list[Problem]:
    """Return the problems whose gold answer can earn its reward.

    Raises:
        DataError: A gold answer cannot, and rows may not be left out; or the training split shares
            a question with another split.
    """
    verifier = domain.verifier
    good = []
    for problem in problems:
        if earns_reward(problem.answer, verifier):
            good.append(problem)
            continue
        error = DataError(
            f"{source}: the problem {problem.id!r}: its gold answer {problem.answer!r} cannot earn "
            f"the reward: a completion that states it is not recognized as right. Correct the "
            f"answer, or choose another answer kind (now {verifier.kind})."
        )
        if domain.is_strict:
            raise error
        # Not by `append`: the default is one list of the class, which all domains share.
        domain.bad_rows = [*domain.bad_rows, error]
    if not domain.allow_shared_questions:
        _check_contamination(good, verifier, source)
    return good


def _check_contamination(problems: Sequence[Problem], verifier: Verifier, source: str) -> None:
    """Raise a DataError if the training split holds a question of another split."""
    shared = find_shared(problems, verifier)
    if shared:
        first, second = shared[0]
        raise DataError(
            f"{source}: {len(shared)} questions of other splits are also in train; the first is "
            f"{second.id!r} in {second.split}, which is {first.id!r} in train. What a model learns "
            "by heart would count as solved. Remove one of each, or put them into one split. "
            "To allow them, set domain.allow_shared_questions: true."
        )


def find_shared(problems: Sequence[Problem], verifier: Verifier) -> list[tuple[Problem, Problem]]:
    """Return each problem of another split whose question is in train, after that of train.

    Questions are compared without case, white space and punctuation at the end of words. One
    question with two different answers is not counted: something else tells the problems apart.
    """
    trained: dict[str, list[Problem]] = {}
    for problem in problems:
        if problem.split == "train":
            trained.setdefault(simplify_question(problem.question), []).append(problem)
    shared = []
    for problem in problems:
        if problem.split != "train":
            same = trained.get(simplify_question(problem.question), [])
            shared += [(one, problem) for one in same if _has_same_gold(one, problem, verifier)][:1]
    return shared


def _has_same_gold(one: Problem, other: Problem, verifier: Verifier) -> bool:
    # A gold answer may be another type than an answer, so one of the two is stated and read.
    stated = render_completion(chain="", answer=one.answer, verifier=verifier)
    return verifier.same(verifier.extract(stated), other.answer) is not False


def simplify_question(question: str) -> str:
    """Return the form that questions share which differ in case, white space and punctuation.

    >>> simplify_question("What is  1 + 1 ?") == simplify_question("what is 1 + 1")
    True
    """
    return " ".join(_PUNCTUATION.sub("", question).casefold().split())


def _check_fields(problem: Problem, source: str) -> None:
    """Raise a DataError if a problem cannot be stored and used as it is."""
    if not isinstance(problem, Problem):
        raise DataError(f"{source}: problems() gave {problem!r}, not a realm.Problem.")
    where = f"{source}: the problem {problem.id!r}"
    for field in ("id", "question"):
        value = getattr(problem, field)
        if not (isinstance(value, str) and value.strip()):
            raise DataError(f"{where}: its {field} is {value!r}; it must be a text.")
    if problem.split not in SPLITS:
        raise DataError(f"{where}: its split is {problem.split!r}. Allowed: {', '.join(SPLITS)}.")
    try:
        json.dumps(to_row(problem), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{where}: its answer or meta cannot be written as JSON: {error}. Use texts, numbers, "
            "lists and dicts of them."
        ) from None
