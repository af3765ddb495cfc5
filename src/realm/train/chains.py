"""Choose the chains that distillation teaches: checked, distinct, of moderate length, and likely in the student's own eyes."""

from __future__ import annotations

import hashlib
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from realm.config.root import DistillConfig
from realm.core.jsonl import append_jsonl, read_jsonl
from realm.core.progress import progress
from realm.core.records import Route

LONG = 2.0
"""Where the config sets no limit, a chain over this many times the median length is left out."""
BATCH_TOKENS = 4096
"""Tokens whose likelihood is measured at once; a large vocabulary makes their logits large."""

_LEAK = re.compile(
    r"\brules?\s*(?:no\.?|number|#|§)?\s*\d+|\bR\d{1,3}\b|\brule\s*book\b"
    r"|\b(?:according to|as per|by|under|per) the (?:rules?|guide|handbook)\b",
    re.IGNORECASE,
)


def leaks(text: str) -> bool:
    """Tell whether `text` talks about a rule list, as "according to rule 3"."""
    return bool(_LEAK.search(text))


def leak_score(completions: Sequence[str]) -> float:
    """Return the share of completions that talk about a rule list which the student never saw."""
    return sum(map(leaks, completions)) / len(completions) if completions else 0.0


def eligible_chains(
    routes: Sequence[Route], length: Callable[[str], int], settings: DistillConfig
) -> tuple[list[Route], dict[str, int]]:
    """Return the chains that may be taught, and how many positives were left out for which reason.

    Kind `unguided` takes the positives written without the guide; the others take the guided ones, or all where nobody wrote
    with a guide; with `use_unguided_when_missing` also the unguided ones of problems that would have none. A chain whose author was shown the gold
    answer counts only where its problem has no other. No text comes twice for one problem. Without `max_chain_tokens` a chain
    over twice the median length is too long, guided and filling chains each among their like.
    """
    positives = [route for route in routes if route.correct]
    if settings.kind == "unguided":
        chains, left_out = _teachable(
            [route for route in positives if not route.guided], length, settings
        )
    else:
        guided = [route for route in positives if route.guided]
        chains, left_out = _teachable(guided or positives, length, settings)
        if guided and settings.use_unguided_when_missing:
            served = {chain.problem_id for chain in chains}
            filling = [
                route for route in positives if not route.guided and route.problem_id not in served
            ]
            more, more_out = _teachable(filling, length, settings)
            chains, left_out = chains + more, left_out + more_out
    return chains, {reason: count for reason, count in left_out.items() if count}


def _teachable(
    wanted: Sequence[Route], length: Callable[[str], int], settings: DistillConfig
) -> tuple[list[Route], Counter[str]]:
    """Return those of `wanted` that may be taught, and how many may not for which reason."""
    honest = {route.problem_id for route in wanted if not route.rationalized}
    left_out: Counter[str] = Counter()
    distinct: dict[tuple[str, str], Route] = {}
    for route in wanted:
        key = (route.problem_id, " ".join(route.text.split()))
        if route.rationalized and route.problem_id in honest:
            left_out["rationalized"] += 1
        elif settings.drop_leaks and leaks(route.text):
            left_out["leaks"] += 1
        elif key in distinct:
            left_out["repeated"] += 1
        else:
            distinct[key] = route
    lengths = {key: length(route.text) for key, route in distinct.items()}
    longest = settings.max_chain_tokens or LONG * statistics.median(lengths.values() or [0])
    chains = [route for key, route in distinct.items() if lengths[key] <= longest]
    left_out["too long"] = len(distinct) - len(chains)
    return chains, left_out


def crowded(chains: Sequence[Route], settings: DistillConfig) -> list[Route]:
    """Return the chains of the problems that have more of them than are taught: those between which there is a choice."""
    counts = Counter(chain.problem_id for chain in chains)
    return (
        []
        if settings.select_by == "all"
        else [
            chain for chain in chains if counts[chain.problem_id] > settings.max_chains_per_problem
        ]
    )


def choose_chains(
    chains: Sequence[Route], cost: Callable[[Route], float], settings: DistillConfig
) -> list[Route]:
    """Return at most `max_chains_per_problem` chains of each problem, those of the least `cost`; all of them with `select_by: all`."""
    by_problem: dict[str, list[Route]] = defaultdict(list)
    for chain in chains:
        by_problem[chain.problem_id].append(chain)
    if settings.select_by == "all":
        return [chain for group in by_problem.values() for chain in group]
    return [
        chain
        for group in by_problem.values()
        for chain in (
            sorted(group, key=cost)[: settings.max_chains_per_problem]
            if len(group) > settings.max_chains_per_problem
            else group
        )
    ]


def distance_from_median(
    chains: Sequence[Route], length: Callable[[str], int]
) -> Callable[[Route], float]:
    """Return the cost of a chain under `select_by: length`: how far its length is from the median."""
    lengths = {chain.text: length(chain.text) for chain in chains}
    median = statistics.median(lengths.values() or [0])
    return lambda chain: abs(lengths[chain.text] - median)


def mean_log_likelihoods(
    model: PreTrainedModel, rows: Sequence[Mapping[str, Sequence[int]]], cache: Path, pad: int
) -> list[float]:
    """Return the mean log-likelihood of each row's completion tokens under `model`: of its `labels`, given its `input_ids`.

    What is measured is appended to `cache` batch by batch, and a row that is in there is not measured again.
    """
    keys = [
        hashlib.sha256(repr((row["input_ids"], row["labels"])).encode()).hexdigest()[:24]
        for row in rows
    ]
    with append_jsonl(cache) as append:  # opened first, because opening repairs a torn last line
        known = {entry["key"]: entry["log_likelihood"] for entry in read_jsonl(cache)}
        left = list(
            {key: row for key, row in zip(keys, rows, strict=True) if key not in known}.items()
        )
        with progress("likelihood of chains", len(left)) as advance:
            for batch in _batches(sorted(left, key=lambda pair: -len(pair[1]["input_ids"]))):
                for (key, _), value in zip(
                    batch, _measure(model, [row for _, row in batch], pad), strict=True
                ):
                    known[key] = value
                    append({"key": key, "log_likelihood": value})
                advance(len(batch))
    return [known[key] for key in keys]


def _batches(
    pairs: list[tuple[str, Mapping[str, Sequence[int]]]],
) -> Iterator[list[tuple[str, Mapping[str, Sequence[int]]]]]:
    """Yield batches of the pairs, longest rows first, so that the first row says how wide a batch is."""
    start = 0
    while start < len(pairs):
        size = max(1, BATCH_TOKENS // len(pairs[start][1]["input_ids"]))
        yield pairs[start : start + size]
        start += size


@torch.inference_mode()
def _measure(
    model: PreTrainedModel, rows: Sequence[Mapping[str, Sequence[int]]], pad: int
) -> list[float]:
    width = max(len(row["input_ids"]) for row in rows)

    def padded(name: str, filler: int) -> torch.Tensor:
        return torch.tensor(
            [[*row[name], *[filler] * (width - len(row[name]))] for row in rows],
            device=model.device,
        )

    mask = torch.tensor(
        [[1] * len(row["labels"]) + [0] * (width - len(row["labels"])) for row in rows],
        device=model.device,
    )
    logits = (
        model(input_ids=padded("input_ids", pad), attention_mask=mask, use_cache=False)
        .logits[:, :-1]
        .float()
    )
    labels = padded("labels", -100)[:, 1:]
    losses = cross_entropy(logits.transpose(1, 2), labels, reduction="none")
    return (-losses.sum(1) / (labels != -100).sum(1)).tolist()
