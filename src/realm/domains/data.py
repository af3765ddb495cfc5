"""Stage `data`: the domain's problems, and its rule book, into the run folder."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from realm.config.root import Config
from realm.core.errors import DataError
from realm.core.jsonl import write_jsonl, write_text
from realm.core.records import Problem
from realm.core.tables import describe_bad, refuse
from realm.core.targets import user_errors
from realm.domains import Domain

if TYPE_CHECKING:
    from realm.run import Run

NEEDED_SPLITS = ("train", "test")


def run_data(run: Run) -> None:
    """Write problems.jsonl, and rules.md where the domain has a rule book."""
    config = run.config
    domain = run.domain
    problems, bad = read_domain(domain, config)
    if bad:
        print(describe_bad(bad))
    check_problems(problems, wanted_splits(config), str(config.source))
    if domain.rules is None:
        run.path("rules.md").unlink(missing_ok=True)
    else:
        write_text(run.path("rules.md"), domain.rules)
    write_jsonl(run.path("problems.jsonl"), problems)
    run.record_figures({"problems": len(problems), "rows_left_out": len(bad)})


def read_domain(domain: Domain, config: Config) -> tuple[list[Problem], list[DataError]]:
    """Return the problems, and what was wrong with the rows left out; `DataError` where that leaves nothing."""
    if config.domain.kind != "files":
        with user_errors(f"{config.source}: domain", f"{domain.name}.problems"):
            return list(domain.problems(config.seed)), []
    bad: list[DataError] = []
    problems = domain.problems(config.seed, refuse if config.domain.strict else bad.append)
    if not problems:
        why = str(bad[0]) if bad else "there are no rows."
        raise DataError(
            f"{', '.join(config.domain.paths)}: no row could be used as a problem: {why}"
        )
    return problems, bad


def wanted_splits(config: Config) -> list[str]:
    """Return the splits that must hold a problem: the needed ones, and those that the config gives a size or a share.

    Without a model nothing is trained and all problems are evaluated, so that any split will do.
    """
    if config.model is None:
        return []
    asked: dict[str, float] = {}
    if config.domain.kind == "reasoning_gym":
        asked = config.domain.sizes.model_dump()
    elif config.domain.kind == "files" and config.domain.columns.split is None:
        asked = config.domain.splits
    return list(
        dict.fromkeys([*NEEDED_SPLITS, *(split for split, share in asked.items() if share > 0)])
    )


def check_problems(problems: list[Problem], splits: list[str], where: str) -> None:
    """Raise `DataError` for an id that comes twice and for a split of `splits` that holds no problem."""
    counts = Counter(problem.split for problem in problems)
    for split in splits:
        if not counts[split]:
            found = (
                ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
                or "no problems at all"
            )
            raise DataError(
                f"{where}: domain: the split {split!r} is empty; found: {found}. Every run needs problems in "
                f"{' and '.join(NEEDED_SPLITS)}, and in each split that is asked for. Give more problems, change the sizes or "
                "the shares in domain.splits, or name the right column in domain.columns.split."
            )
    twice = [
        name for name, count in Counter(problem.id for problem in problems).items() if count > 1
    ]
    if twice:
        raise DataError(
            f"{where}: domain: {len(twice)} ids come more than once, the first is {twice[0]!r}. An id names one problem: "
            "set domain.columns.id to a column without repeats, or to null where there is none."
        )
