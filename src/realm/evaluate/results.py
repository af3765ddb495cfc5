"""The results of an evaluation or a comparison: how results.json is made, and read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from realm.core.errors import RunError
from realm.core.jsonl import explain_damage, read_json
from realm.core.records import to_row
from realm.evaluate.measure import select_hard
from realm.evaluate.records import HARD, HARD_SPLITS, Comparison, Evaluation, Measurement
from realm.evaluate.stats import (
    bootstrap_interval,
    holm,
    nested_difference,
    paired_difference,
    widen_to_seeds,
    wilson_interval,
)
from realm.sampling import lists_to_tuples

if TYPE_CHECKING:
    from realm.config.compare import Family

# Counts up when the rows change their form, so that an older file is refused.
SCHEMA = "realm.results/2"
SeedOutcomes = dict[tuple[str, str], dict[int, dict[str, float]]]
"""By ("METHOD MODE", split) and seed: the outcome of each problem."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """What an evaluation or a comparison measured, as results.json holds it.

    Example:
        results = run.evaluate()
        results.accuracy("realm")                            # 0.82
        print(results.difference("realm", "distilled"))      # +3.1 [+0.4, +5.9] points, ...
    """

    evaluations: Sequence[Evaluation]
    comparisons: Sequence[Comparison]
    budgets: Sequence[Mapping[str, Any]] = field(default_factory=list)
    """What each method of a comparison was trained on, by seed."""
    methods: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Summary and role of each method of a comparison."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Number of problems by split that were not asked, because they have no route to show."""
    corrections: int = 0
    """Number of problems and routes whose labels a person corrected, see `realm review`."""

    @property
    def splits(self) -> list[str]:
        """The evaluated splits, `test` first; not its hard problems."""
        return sorted({row.split for row in self.evaluations} - {*HARD_SPLITS})

    @property
    def families(self) -> dict[str, list[Comparison]]:
        """The comparisons by family; not those of hard problems, which have their own table."""
        found: dict[str, list[Comparison]] = {}
        for row in self.comparisons:
            found.setdefault(row.family, []).append(row)
        found.pop(HARD, None)
        return found

    @property
    def probes(self) -> list[Evaluation]:
        """The rows of the probe, over all seeds of a comparison; their `source` is the kind."""
        rows = [row for row in self.evaluations if row.mode == "probe"]
        return [row for row in rows if row.seed is None] or rows

    def list_rows(self, split: str) -> list[Evaluation]:
        """Return a row for each method and mode of a split, over all seeds of a comparison."""
        rows = [row for row in self.evaluations if row.split == split and row.mode != "probe"]
        return [row for row in rows if row.seed is None] or rows  # a run has one seed only

    def find(self, method: str, mode: str, split: str = "test") -> Evaluation | None:
        """Return the row of a method in a mode, or `None` if it was not measured."""
        for row in self.list_rows(split):
            if (row.method, row.mode, row.source) == (method, mode, None):
                return row
        return None

    def accuracy(self, method: str, mode: str = "autonomous", split: str = "test") -> float:
        """Return the accuracy of a method, as a share.

        Raises:
            RunError: It was not measured.
        """
        row = self.find(method, mode, split)
        if row is None:
            known = dict.fromkeys(f"{row.method} {row.mode}" for row in self.list_rows(split))
            raise RunError(
                f"{method} {mode} was not measured on {split}. Measured: {', '.join(known)}."
            )
        return row.accuracy

    def difference(
        self, a: str, b: str, *, mode: str = "autonomous", split: str = "test"
    ) -> Comparison:
        """Return how much method `a` differs from method `b` in one mode, on the same problems.

        Raises:
            RunError: They were not compared.
        """
        for row in self.comparisons:
            if (row.a_mode, row.b_mode, row.split) == (mode, mode, split):
                if (row.a, row.b) == (a, b):
                    return row
                if (row.a, row.b) == (b, a):
                    return row.swap()
        known = dict.fromkeys(row.title for row in self.comparisons if row.split == split)
        raise RunError(
            f"{a} - {b}, {mode}, was not compared on {split}. Compared: {'; '.join(known)}."
        )

    def to_json(self) -> dict[str, Any]:
        """Return the content of results.json."""
        return {
            "schema": SCHEMA,
            **asdict(self),
            "evaluations": [to_row(row) for row in self.evaluations],
            "comparisons": [to_row(row) for row in self.comparisons],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Results:
        """Return the results that `to_json` wrote."""
        known = {one.name: content[one.name] for one in fields(cls) if one.name in content}
        evaluations = [Evaluation(**lists_to_tuples(row)) for row in content["evaluations"]]
        comparisons = [Comparison(**lists_to_tuples(row)) for row in content["comparisons"]]
        return cls(**known | {"evaluations": evaluations, "comparisons": comparisons})


def read_results(folder: str | Path) -> Results:
    """Return the results of a run folder.

    Raises:
        RunError: There is no results.json, or another version wrote it.
    """
    path = Path(folder) / "results.json"
    try:
        content = read_json(path, "eval")
    except FileNotFoundError:
        raise RunError(f"{path}: there are no results yet. Run `realm eval` first.") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise RunError(f"{path}: not results of schema {SCHEMA}. Run `realm eval --force`.")
    with explain_damage(path, "eval"):
        return Results.from_json(content)


def build_results(
    measurements: Sequence[Measurement],
    families: Sequence[Family],
    *,
    seed: int,
    is_nested: bool,
    **more: Any,
) -> Results:
    """Return the results of what was measured, also on the hard problems alone.

    `families` names the comparisons; those of which a side was not measured are left out.

    With `is_nested` the seeds are treated as sampled, and each family is corrected. Otherwise there
    is one seed, and nothing is corrected. `seed` is that of the bootstraps, and `more` are further
    fields of `Results`.
    """
    by_row: dict[tuple[str | None, ...], list[Measurement]] = {}
    outcomes: SeedOutcomes = {}
    measurements = [*measurements, *select_hard(measurements)]
    # By seed, so that `seeds` and `per_seed` of a row are in one order.
    for one in sorted(measurements, key=lambda one: one.seed):
        by_row.setdefault((one.method, one.mode, one.split, one.source), []).append(one)
        if one.source is None:  # comparisons are about the routes that prompts show
            side = outcomes.setdefault((f"{one.method} {one.mode}", one.split), {})
            side[one.seed] = one.outcomes
    evaluations = []
    for group in by_row.values():
        rows = [_evaluate_seed(one, seed) for one in group]
        evaluations += [*rows, _evaluate_seeds(group, rows, seed)] if is_nested else rows
    comparisons = []
    for family in families:
        comparisons += _compare_family(family, outcomes, seed, is_nested=is_nested)
    return Results(evaluations=evaluations, comparisons=comparisons, **more)


def _evaluate_seed(one: Measurement, seed: int) -> Evaluation:
    """Return the row of one seed: a Wilson interval for right or wrong, else a bootstrap."""
    values = list(one.outcomes.values())
    if all(value in (0, 1) for value in values):
        interval = wilson_interval(round(sum(values)), len(values))
    else:
        interval = bootstrap_interval(values, seed=seed)
    return Evaluation(
        method=one.method,
        mode=one.mode,
        split=one.split,
        seed=one.seed,
        n=len(values),
        accuracy=fmean(values),
        ci95=interval,
        tokens_per_problem=one.tokens_per_problem,
        prompt_tokens_per_problem=one.prompt_tokens_per_problem,
        source=one.source,
        figures=one.figures,
    )


def _evaluate_seeds(
    group: Sequence[Measurement], rows: Sequence[Evaluation], seed: int
) -> Evaluation:
    """Return the row over all seeds: the means, with an interval over problems and seeds."""
    over = nested_difference([[(1.0, one.outcomes)] for one in group], seed=seed)
    # Seeds that differ can widen the interval beyond what an accuracy can be.
    low, high = (min(1.0, max(0.0, bound)) for bound in over.ci95)
    if over.difference in (0, 1):  # nothing varies that could be resampled
        low, high = wilson_interval(round(over.difference * over.n), over.n)
    return replace(
        rows[0],
        seed=None,
        n=over.n,
        accuracy=over.difference,
        ci95=(low, high),
        seeds=tuple(one.seed for one in group),
        per_seed=over.per_seed,
        tokens_per_problem=_mean_of([row.tokens_per_problem for row in rows]),
        prompt_tokens_per_problem=_mean_of([row.prompt_tokens_per_problem for row in rows]),
        figures=_combine_figures([row.figures for row in rows]),
    )


def _combine_figures(by_seed: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the means of the figures that all seeds have, with intervals over the seeds."""
    shared = [name for name in by_seed[0] if all(name in figures for figures in by_seed)]
    means = {name: _mean_of([figures[name] for figures in by_seed]) for name in shared}
    for name in shared:
        share = name.removesuffix("_ci95")
        if share != name and len(by_seed) > 1:
            low, high = widen_to_seeds(means[name], [figures[share] for figures in by_seed])
            means[name] = [max(0.0, low), min(1.0, high)]
    return means


def _mean_of(values: Sequence[Any]) -> Any:
    """Return the mean over the seeds, by place if the values are lists; longer lists are cut."""
    if values[0] is None:
        return None
    if isinstance(values[0], Sequence):
        return [fmean(place) for place in zip(*values, strict=False)]
    mean = fmean(values)
    # Counts such as k and samples stay whole numbers if all seeds agree.
    return int(mean) if isinstance(values[0], int) and mean.is_integer() else mean


def _compare_family(
    family: Family, outcomes: SeedOutcomes, seed: int, *, is_nested: bool
) -> list[Comparison]:
    """Return the comparisons of a family that were measured, corrected together if nested."""
    found = (
        _compare_pair(family, other, outcomes, seed, is_nested=is_nested)
        for other in family.against
    )
    rows = [row for row in found if row is not None]
    if not is_nested:
        return rows
    corrected = holm([row.p for row in rows if row.p is not None])
    return [replace(row, p_holm=p) for row, p in zip(rows, corrected, strict=True)]


def _compare_pair(
    family: Family, contender: str, outcomes: SeedOutcomes, seed: int, *, is_nested: bool
) -> Comparison | None:
    """Return the comparison of the claim with one other, over the seeds that both have."""
    # A drop is the accuracy on test less that on test_rules.
    signs = {"test": 1.0, "test_rules": -1.0} if family.split == "drop" else {family.split: 1.0}
    sides = [
        (sign, outcomes.get((family.claim, split), {}), outcomes.get((contender, split), {}))
        for split, sign in signs.items()
    ]
    seeds = sorted(set.intersection(*(set(ours) & set(theirs) for _, ours, theirs in sides)))
    if not seeds:
        return None  # one side is not measured, such as a model that is not trained yet
    if is_nested:
        groups = [
            [(sign, _subtract(ours[one], theirs[one])) for sign, ours, theirs in sides]
            for one in seeds
        ]
        found = nested_difference(groups, seed=seed)
        # A few seeds that differ can widen it beyond what a difference, or two of them, can be.
        low, high = (max(-len(sides), min(len(sides), bound)) for bound in found.ci95)
        found = replace(found, ci95=(low, high))
    else:
        [(_, ours, theirs)], [one] = sides, seeds
        assert set(ours[one]) == set(theirs[one]), "two methods were asked different problems"
        mine = [ours[one][key] for key in theirs[one]]  # in the same order
        found = paired_difference(mine, list(theirs[one].values()), seed=seed)
    a, a_mode = split_contender(family.claim)
    b, b_mode = split_contender(contender)
    return Comparison(
        **asdict(found),
        family=family.name,
        a=a,
        a_mode=a_mode,
        b=b,
        b_mode=b_mode,
        split=family.split,
        margin=family.margin,
        seeds=tuple(seeds),
    )


def _subtract(a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, float]:
    assert set(a) == set(b), "two methods of one seed were asked different problems"
    return {key: right - b[key] for key, right in a.items()}


def split_contender(contender: str) -> tuple[str, str]:
    """Return method and mode of "METHOD MODE"."""
    method, _, mode = contender.rpartition(" ")
    return method, mode
