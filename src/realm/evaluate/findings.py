"""What a comparison found: results.json, with a row per seed, rows over all seeds, and the families of claims."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from realm.bank.worth import MAJORITY
from realm.config.compare import Family
from realm.config.root import Config
from realm.core.errors import ConfigError
from realm.evaluate.cells import STAGES_OF_MODE, Cell
from realm.evaluate.methods import Method
from realm.evaluate.modes import majority_of_routes
from realm.evaluate.stats import bootstrap_interval, holm, nested_difference, wilson_interval

SCHEMA = "realm.results/1"
ASSISTED_MARGIN, AUTONOMOUS_MARGIN = 0.042, 0.026
"""The leads over the best other method that the paper reports."""

Measured = dict[tuple[str, str, str], dict[int, dict[str, Any]]]
"""By (method, mode, split): what each seed measured, as outcomes/*.json has it."""


def collect(cells: Sequence[Cell]) -> Measured:
    """Return what the cells that are done have measured, and the majority of the routes."""
    measured: Measured = {}

    def put(method: str, seed: int, entries: Sequence[dict[str, Any]]) -> None:
        for entry in entries:
            measured.setdefault((method, entry["mode"], entry["split"]), {})[seed] = entry

    for cell in cells:
        if cell.method.name == "data":
            put(MAJORITY, cell.seed, majority_of_routes(cell.run))
        for stage in dict.fromkeys(STAGES_OF_MODE[mode][-1] for mode in cell.method.modes):
            entries = json.loads(
                cell.run.path(f"outcomes/{stage}.json").read_text(encoding="utf-8")
            )
            put(
                cell.method.name,
                cell.seed,
                [entry for entry in entries if entry["mode"] in cell.method.modes],
            )
    return measured


def results(config: Config, cells: Sequence[Cell], methods: Mapping[str, Method]) -> dict[str, Any]:
    """Return the content of results.json."""
    measured = collect(cells)
    evaluations = [
        row for key, seeds in measured.items() for row in _evaluations(key, seeds, config.seed)
    ]
    comparisons = [
        row
        for family in families(config, methods)
        for row in _compare(family, measured, config.seed)
    ]
    return {
        "schema": SCHEMA,
        "evaluations": evaluations,
        "comparisons": comparisons,
        "budgets": [_budget(cell) for cell in cells if cell.method.name in methods],
        "methods": {
            name: {"what": method.what, "role": method.role} for name, method in methods.items()
        },
    }


def families(config: Config, methods: Mapping[str, Method]) -> list[Family]:
    """Return the families of claims: the config's, or the built-in ones as far as the methods allow."""
    if config.compare.families is not None:
        for family in config.compare.families:
            for contender in (family.claim, *family.against):
                _require_contender(contender, methods, config)
        return config.compare.families
    found = []

    def others(mode: str, *roles: str) -> list[str]:
        return [
            f"{name} {mode}"
            for name, method in methods.items()
            if method.role in roles and mode in method.modes
        ]

    def add(name: str, claim: str, against: list[str], **more: Any) -> None:
        method, mode = _read(claim)
        if method in methods and mode in methods[method].modes and against:
            found.append(Family(name=name, claim=claim, against=against, **more))

    distilled = methods.get("distilled")
    on_routes = [
        f"distilled {mode}"
        for mode in ("assisted", "best_of_routes", "universal_routes")
        if distilled and mode in distilled.modes
    ]
    alone = ["distilled autonomous"] if distilled and "autonomous" in distilled.modes else []
    with_routes = [f"{MAJORITY} routes", *on_routes, *others("assisted", "baseline")]
    without = [*alone, *others("rules", "start"), *others("autonomous", "baseline")]
    splits = {"test": "", "test_rules": " on test_rules"}
    for split, where in splits.items():
        add(
            f"with routes{where}",
            "realm assisted",
            with_routes,
            margin=ASSISTED_MARGIN,
            split=split,
        )
        add(
            f"without routes{where}",
            "realm autonomous",
            without,
            margin=AUTONOMOUS_MARGIN,
            split=split,
        )
    drops = [name for name in without if not name.endswith(" rules")]
    add("drop to test_rules", "realm autonomous", drops, split="drop")
    add(
        "more tokens",
        "realm self_routes",
        [
            f"realm {mode}"
            for mode in ("autonomous", "self_consistency")
            if mode in methods.get("realm", _NOBODY).modes
        ],
    )
    for mode in ("autonomous", "assisted"):
        for split, where in splits.items():
            add(f"ablations, {mode}{where}", f"realm {mode}", others(mode, "ablation"), split=split)
    return found


_NOBODY = Method(name="nobody", what="", role="start", after="data", stage=None, modes=())


def best_other(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the comparison of a family with the best of the others: the one where the lead is smallest."""
    return min(
        rows, key=lambda row: row["difference"] if row["split"] != "drop" else -row["difference"]
    )


def finding(row: Mapping[str, Any]) -> str:
    """Return what a comparison shows; where the interval holds 0 or the corrected p is no proof, that there is no evidence."""
    low, high = row["ci95"]
    if low <= 0 <= high or row["p_holm"] >= 0.05:
        return "no evidence of a difference"
    if row["split"] == "drop":
        return f"{row['a']} drops {'more' if low > 0 else 'less'}"
    ours = f"{row['a']} {row['mode'].partition(' vs ')[0]}" if row["a"] == row["b"] else row["a"]
    theirs = f"{row['b']} {row['mode'].partition(' vs ')[2]}" if row["a"] == row["b"] else row["b"]
    return f"{ours if low > 0 else theirs} is better"


def headline(family: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the outcome of a family in a sentence: the lead over the best other, and whether it is the claimed one."""
    row = best_other(rows)
    a_mode, _, b_mode = row["mode"].partition(" vs ")
    other, low, high = f"{row['b']} {b_mode or a_mode}", *(100 * bound for bound in row["ci95"])
    text = f"{family}: {row['a']} {a_mode} against the best other, {other}: "
    text += f"{100 * row['difference']:+.1f} [{low:+.1f}, {high:+.1f}] points"
    if row["split"] == "drop":
        text += " more lost from test to test_rules"
    text += f", {finding(row)}"
    if row["margin"]:
        reached = "reached" if row["difference"] >= row["margin"] and low > 0 else "not reached"
        text += f"; the claimed lead of {100 * row['margin']:.1f} is {reached}"
    return text + "."


def _read(contender: str) -> tuple[str, str]:
    """Return method and mode."""
    method, _, mode = contender.rpartition(" ")
    return method, mode


def _require_contender(contender: str, methods: Mapping[str, Method], config: Config) -> None:
    method, mode = _read(contender)
    if (method, mode) == (MAJORITY, "routes"):
        return
    if method not in methods or mode not in methods[method].modes:
        allowed = [f"{name} {mode}" for name, known in methods.items() for mode in known.modes]
        raise ConfigError(
            f"{config.source}: compare.families: {contender!r} is not measured. It reads METHOD MODE; allowed here: "
            f"{', '.join([*allowed, f'{MAJORITY} routes'])}."
        )


def _evaluations(
    key: tuple[str, str, str], seeds: Mapping[int, Mapping[str, Any]], seed: int
) -> list[dict[str, Any]]:
    """Return a row per seed and, last, one over all of them, whose seed is null."""
    method, mode, split = key
    rows = [_row(method, mode, split, number, entry) for number, entry in sorted(seeds.items())]
    over = nested_difference(
        [[(1.0, entry["outcomes"])] for _, entry in sorted(seeds.items())], seed=seed
    )
    figures = {
        name: _mean_of(rows, name)
        for name in rows[0]
        if name not in ("method", "mode", "split", "seed", "n", "accuracy", "ci95")
    }
    together = {
        "method": method,
        "mode": mode,
        "split": split,
        "seed": None,
        "seeds": sorted(seeds),
        "n": over.n,
    }
    bounds = [
        min(1.0, max(0.0, bound)) for bound in over.ci95
    ]  # seeds that differ widen it beyond what an accuracy can be
    together |= {"accuracy": over.difference, "ci95": bounds, "per_seed": over.per_seed}
    if over.difference in (0, 1):  # nothing varies that could be resampled
        together["ci95"] = wilson_interval(round(over.difference * over.n), over.n)
    return [*rows, together | figures]


def _row(method: str, mode: str, split: str, seed: int, entry: Mapping[str, Any]) -> dict[str, Any]:
    values = list(entry["outcomes"].values())
    binary = all(value in (0, 1) for value in values)
    interval = (
        wilson_interval(round(sum(values)), len(values))
        if binary
        else bootstrap_interval(values, seed=seed)
    )
    row = {
        "method": method,
        "mode": mode,
        "split": split,
        "seed": seed,
        "n": len(values),
        "accuracy": fmean(values),
        "ci95": interval,
    }
    row["decoding"] = "sampled" if mode in ("sampled", "self_consistency") else "greedy"
    tokens = {"tokens_per_problem": None} if mode == "routes" else {}
    return (
        row
        | {
            name: value
            for name, value in entry.items()
            if name not in ("mode", "split", "outcomes")
        }
        | tokens
    )


def _mean_of(rows: Sequence[Mapping[str, Any]], name: str) -> Any:
    """Return the mean over seeds of a figure, place by place where it is a list; what is no number must be the same in all."""
    values = [row[name] for row in rows if name in row]
    if isinstance(values[0], list):
        return [fmean(place) for place in zip(*values, strict=True)]
    if isinstance(values[0], int | float) and not isinstance(values[0], bool):
        mean = fmean(values)
        return (
            int(mean)
            if all(isinstance(value, int) for value in values) and mean.is_integer()
            else mean
        )
    return values[0]


def _compare(family: Family, measured: Measured, seed: int) -> list[dict[str, Any]]:
    """Return the rows of one family, over the seeds that both have; those of the family are corrected together."""
    a, a_mode = _read(family.claim)
    rows = []
    for contender in family.against:
        b, b_mode = _read(contender)
        signs = {"test": 1.0, "test_rules": -1.0} if family.split == "drop" else {family.split: 1.0}
        pairs = {
            split: (measured.get((a, a_mode, split), {}), measured.get((b, b_mode, split), {}))
            for split in signs
        }
        seeds = set.intersection(*({*first} & {*second} for first, second in pairs.values()))
        if not seeds:
            continue
        groups = [
            [
                (sign, _differences(*(side[number] for side in pairs[split])))
                for split, sign in signs.items()
            ]
            for number in sorted(seeds)
        ]
        found = nested_difference(groups, seed=seed)
        mode = a_mode if a_mode == b_mode else f"{a_mode} vs {b_mode}"
        row = {
            "family": family.name,
            "a": a,
            "b": b,
            "mode": mode,
            "split": family.split,
            "margin": family.margin,
        }
        row |= asdict(found) | {"seeds": sorted(seeds), "p_mcnemar": None, "decoding": "greedy"}
        rows.append(row)
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = p
    return rows


def _differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, float]:
    assert set(a["outcomes"]) == set(b["outcomes"]), (
        "two methods of one seed were asked different problems"
    )
    return {name: right - b["outcomes"][name] for name, right in a["outcomes"].items()}


def _budget(cell: Cell) -> dict[str, Any]:
    figures = {"rollouts": 0, "trained_completions": 0, "trained_tokens": 0} | cell.budget()
    return {
        "method": cell.method.name,
        "seed": cell.seed,
        **figures,
        "seconds": round(cell.seconds(), 1),
    }
