"""Stage `data`: write the domain's problems and its rule book into the run folder."""

from __future__ import annotations

import json
import logging
from collections import Counter
from typing import TYPE_CHECKING

from realm.core.errors import DataError
from realm.core.jsonl import write_jsonl, write_text
from realm.core.records import Problem, to_row
from realm.core.tables import describe_bad
from realm.core.targets import user_errors
from realm.domains.domain import SPLITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realm.run import Run

logger = logging.getLogger(__name__)


def run_data(run: Run) -> None:
    """Write problems.jsonl, and rules.md if the domain has a rule book."""
    domain = run.domain
    source = str(run.config.source)
    with user_errors(f"{source}: domain", f"{domain.name}.problems"):
        problems = list(domain.problems(run.config.seed))
    if domain.bad_rows:
        logger.warning("%s", describe_bad(domain.bad_rows))
    # Without a model nothing is trained and every problem is evaluated: any split will do.
    needed_splits = domain.needed_splits if run.config.model is not None else ()
    check_problems(problems, needed_splits, source)
    if domain.rules is None:
        run.path("rules.md").unlink(missing_ok=True)
    else:
        write_text(run.path("rules.md"), domain.rules)
    write_jsonl(run.path("problems.jsonl"), problems)
    run.record_figures({"problems": len(problems), "rows_left_out": len(domain.bad_rows)})


def check_problems(problems: Sequence[Problem], needed_splits: Sequence[str], source: str) -> None:
    """Raise a DataError for a malformed problem, a repeated id, or an empty split."""
    for problem in problems:
        _check_problem(problem, source)
    sizes = Counter(problem.split for problem in problems)
    for split in needed_splits:
        if not sizes[split]:
            found = ", ".join(f"{name} {size}" for name, size in sorted(sizes.items()))
            raise DataError(
                f"{source}: domain: the split {split!r} is empty; "
                f"found: {found or 'no problems'}. A run needs problems in "
                f"{' and '.join(needed_splits)}. Give more problems, change the shares in "
                "domain.splits, or name the right column in domain.columns.split."
            )
    ids = Counter(problem.id for problem in problems)
    repeated = [identity for identity, count in ids.items() if count > 1]
    if repeated:
        raise DataError(
            f"{source}: domain: {len(repeated)} ids occur more than once, the first is "
            f"{repeated[0]!r}. An id names one problem: set domain.columns.id to a column without "
            "repeats, or to null to take the hash of the question."
        )


def _check_problem(problem: Problem, source: str) -> None:
    """Raise a DataError if a problem cannot be stored and used as it is."""
    if not isinstance(problem, Problem):
        raise DataError(f"{source}: domain: problems() gave {problem!r}, not a realm.Problem.")
    where = f"{source}: domain: the problem {problem.id!r}"
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
