"""The results of an evaluation, as the Python API returns them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realm.core.errors import RunError


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How much more often `a` is right than `b` on the same problems.

    Example: `Difference(a="realm", b="distilled", mode="autonomous", split="test", n=200,
    difference=0.035, ci95=(0.01, 0.06), p=0.02)`: 3.5 points more, from 1 to 6 with 95% confidence.
    """

    a: str
    b: str
    mode: str
    split: str
    n: int
    difference: float
    ci95: tuple[float, float]
    p: float | None
    """The p-value of an exact McNemar test; None for means over several samples."""

    def __str__(self) -> str:
        low, high = (f"{100 * bound:+.1f}" for bound in self.ci95)
        p = "" if self.p is None else f", p = {self.p:.3g}"
        return (
            f"{self.a} minus {self.b}, {self.mode}, {self.split}: {100 * self.difference:+.1f} points "
            f"(95% interval {low} to {high}{p}, n = {self.n})"
        )


class Results:
    """What `realm eval` measured: the content of results.json in `data`, and look-ups in it."""

    def __init__(self, data: dict[str, Any], path: Path) -> None:
        self.data = data
        self.path = path

    @classmethod
    def read(cls, path: Path) -> Results:
        """Return the results in a results.json."""
        return cls(json.loads(path.read_text(encoding="utf-8")), path)

    def accuracy(self, method: str, *, mode: str, split: str = "test") -> float:
        """Return the share of problems that a method solves, decoding greedily.

        Args:
            method: `base`, `distilled` or `realm`.
            mode: `autonomous` or `assisted`.
            split: `test` or `test_rules`.
        """
        rows = [row for row in self.data["evaluations"] if row.get("decoding") == "greedy"]
        for row in rows:
            if (row["method"], row["mode"], row["split"]) == (method, mode, split):
                return float(row["accuracy"])
        known = [f"{row['method']} {row['mode']} {row['split']}" for row in rows]
        raise self._missing(f"{method} {mode} {split}", known)

    def difference(
        self, a: str, b: str, *, mode: str = "autonomous", split: str = "test"
    ) -> Difference:
        """Return how much more accurate method `a` is than `b`, paired by problem.

        Raises:
            RunError: The two were not both evaluated, or the report does not compare them.
        """
        rows = [row for row in self.data["comparisons"] if row.get("decoding") == "greedy"]
        for row in rows:
            if (row["mode"], row["split"]) == (mode, split) and {row["a"], row["b"]} == {a, b}:
                sign = 1 if row["a"] == a else -1
                return Difference(
                    a=a,
                    b=b,
                    mode=mode,
                    split=split,
                    n=row["n"],
                    difference=sign * row["difference"],
                    ci95=tuple(sorted(sign * bound for bound in row["ci95"])),
                    p=row["p_mcnemar"],
                )
        known = [f"{row['a']} and {row['b']} {row['mode']} {row['split']}" for row in rows]
        raise self._missing(f"{a} and {b} {mode} {split}", known)

    def _missing(self, wanted: str, known: list[str]) -> RunError:
        return RunError(f"{self.path}: no {wanted}. Found: {'; '.join(known) or 'nothing'}.")
