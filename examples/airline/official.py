"""Read RuleArena's official airline problems. They are for evaluation only.

The files are in github.com/SkyRiver-2000/RuleArena (MIT licence, arXiv 2412.08972), in
airline/synthesized_problems. Each line holds the question (`prompt` or `question`) and its `info`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .generate import make_problem
from .pricing import Bag, Trip

if TYPE_CHECKING:
    import realm

_PLACES = re.compile(r" flying from (.+) to (.+) with the following items:")


def read_official(path: Path, level: int | None) -> Iterator[realm.Problem]:
    """Yield the problems of a file as the split `test`; with `level`, those of that level only."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file):
            row = json.loads(line)
            trip = _make_trip(row)
            identity = row.get("id", f"{path.stem}-{number:03d}")
            problem = make_problem(identity, "test", row.get("question") or row["prompt"], trip)
            if row.get("answer", problem.answer) != problem.answer:
                raise ValueError(f"{path}: {identity}: the rule book here gives {problem.answer}")
            # Theirs, if stated: a trip of level 2 to Cuba has two bags.
            problem.meta["level"] = row.get("level", problem.meta["level"])
            if level in (None, problem.meta["level"]):
                yield problem


def _make_trip(row: dict[str, Any]) -> Trip:
    info = row["info"]
    places = _PLACES.search(row.get("question") or row["prompt"])
    if places is None:
        raise ValueError(f"no places in the question {row!r}")
    items = list(enumerate(info["bag_list"], 1))
    return Trip(
        cabin=info["customer_class"],
        region=info["routine"],
        is_outbound=info["direction"] == 0,
        origin=places[1],
        destination=places[2],
        ticket=info["base_price"],
        bags=tuple(  # without the carry-on
            Bag(number=number, size=tuple(item["size"]), weight=item["weight"])
            for number, item in items[1:]
        ),
    )
