"""Choose the chains that distillation teaches.

They are right, distinct, silent about the rule list, and likely in the student's own eyes: chains
far from what a small student would write teach it less. Every right chain that is left out is
counted with the reason.
"""

from __future__ import annotations

import hashlib
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cross_entropy

from realm.bank.eligible import collapse_spaces, group_by_problem
from realm.core.jsonl import append_jsonl, read_jsonl
from realm.core.terminal import progress

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel

    from realm.config.training import DistillConfig
    from realm.core.records import Route

BATCH_TOKENS = 4096
"""Tokens whose likelihood is measured at once: with a large vocabulary their logits are large."""

# "rule 3", "R12", "rule book", "according to the handbook"; not "as a rule of thumb" or "ruler 3".
_LEAK = re.compile(
    r"\brules?\s*(?:no\.?|number|#|§)?\s*\d+|\bR\d{1,3}\b|\brule\s*book\b"
    r"|\b(?:according to|as per|by|under|per) the (?:rules?|guide|handbook)\b",
    re.IGNORECASE,
)

TokenRow = Mapping[str, Sequence[int]]
"""`input_ids` and `labels` of one row."""


def leaks_rules(text: str) -> bool:
    """Return whether `text` talks about a rule list, as "according to rule 3" does."""
    return bool(_LEAK.search(text))


def compute_stats(rows: Sequence[Mapping[str, Any]], chains: Sequence[Route]) -> dict[str, Any]:
    """Return the figures of RUN/sft_stats.json that depend on the rows and the chains alone."""
    return {
        "rows": len(rows),
        "assisted_rows": len(rows) - len(chains),
        "chains": len(chains),
        "problems": len({chain.problem_id for chain in chains}),
        "guided_share": sum(chain.guided for chain in chains) / len(chains),
        "rationalized_share": sum(chain.rationalized for chain in chains) / len(chains),
        "leak_score": leak_score([row["completion"] for row in rows]),
    }


def leak_score(completions: Sequence[str]) -> float:
    """Return the share of completions that talk about a rule list which the student never saw."""
    return sum(map(leaks_rules, completions)) / len(completions) if completions else 0.0


def select_chains(
    routes: Sequence[Route],
    count_tokens: Callable[[str], int],
    measure_likelihood: Callable[[Sequence[Route]], list[float]],
    settings: DistillConfig,
) -> tuple[list[Route], dict[str, Any]]:
    """Return the chains to teach and the figures of the choice.

    Of a problem with more chains than are taught, it takes those of least cost: the likeliest under
    the student, or those nearest to the median length. Where only answers are taught, one chain a
    problem is enough.

    Args:
        routes: Routes that may be taught, right and wrong ones.
        count_tokens: Returns the length of a text.
        measure_likelihood: Returns the likelihood of chains under the student. It is slow, and
            called only for problems with a choice.
        settings: The section `distill`.
    """
    if settings.kind == "answer_only":
        # The chain itself is not taught, so that it may leak.
        update = {"select_by": "length", "max_chains_per_problem": 1, "drop_leaks": False}
        settings = settings.model_copy(update=update)
    chains, left_out = find_chains(routes, count_tokens, settings)
    groups = group_by_problem(chains)
    most = settings.max_chains_per_problem if settings.select_by != "all" else len(chains)
    rivals = [chain for chain in chains if len(groups[chain.problem_id]) > most]
    figures: dict[str, Any] = {"kind": settings.kind, "select_by": settings.select_by}
    is_by_likelihood = settings.select_by == "likelihood" and bool(rivals)
    if is_by_likelihood:
        costs = [-likelihood for likelihood in measure_likelihood(rivals)]
    else:
        costs = _measure_distances(rivals, chains, count_tokens)
    # By identity: two sources may have written the same text.
    cost_of = {id(chain): cost for chain, cost in zip(rivals, costs, strict=True)}
    chosen: list[Route] = []
    for group in groups.values():
        # A group without rivals has no costs, keeps its order and is taught whole.
        chosen += sorted(group, key=lambda chain: cost_of.get(id(chain), 0.0))[:most]
    if is_by_likelihood:
        kept = [-cost_of[id(chain)] for chain in chosen if id(chain) in cost_of]
        figures["likelihood_rivals"] = -statistics.fmean(costs)
        figures["likelihood_chosen"] = statistics.fmean(kept)
    if len(chains) > len(chosen):
        left_out["over max_chains_per_problem"] = len(chains) - len(chosen)
    return chosen, figures | {"left_out": left_out}


def _measure_distances(
    rivals: Sequence[Route], chains: Sequence[Route], count_tokens: Callable[[str], int]
) -> list[float]:
    """Return how far the length of each of `rivals` is from the median over all `chains`."""
    if not rivals:
        return []
    # Each text once: a text that many problems share would pull the median to its length.
    lengths = {chain.text: count_tokens(chain.text) for chain in chains}
    median = statistics.median(lengths.values())
    return [abs(lengths[chain.text] - median) for chain in rivals]


def find_chains(
    routes: Sequence[Route], count_tokens: Callable[[str], int], settings: DistillConfig
) -> tuple[list[Route], dict[str, int]]:
    """Return the chains that may be taught, and how many right routes were left out, by reason.

    Kind `unguided` takes right routes written without the rules. The others take guided chains, or
    all right routes if nobody wrote with the rules; `use_unguided_when_missing` adds unguided ones
    for problems without a guided one.
    """
    right = [route for route in routes if route.correct]
    guided = [route for route in right if route.guided]
    unguided = [route for route in right if not route.guided]
    if settings.kind == "unguided":
        chains, left_out = _drop_unfit(unguided, count_tokens, settings)
    else:
        chains, left_out = _drop_unfit(guided or right, count_tokens, settings)
        if guided and settings.use_unguided_when_missing:
            served = {chain.problem_id for chain in chains}
            missing = [route for route in unguided if route.problem_id not in served]
            more, more_left_out = _drop_unfit(missing, count_tokens, settings)
            chains, left_out = chains + more, left_out + more_left_out
    return chains, {reason: count for reason, count in left_out.items() if count}


def _drop_unfit(
    candidates: Sequence[Route], count_tokens: Callable[[str], int], settings: DistillConfig
) -> tuple[list[Route], Counter[str]]:
    """Return the candidates that may be taught, and how many may not, by reason.

    A chain whose author saw the gold answer counts only if its problem has no other, and no text
    is taught twice for one problem. Only an author who had the rules can leak them: elsewhere "R1"
    may be a resistor.
    """
    honest = {route.problem_id for route in candidates if not route.rationalized}
    left_out: Counter[str] = Counter()
    distinct: dict[tuple[str, str], Route] = {}
    for route in candidates:
        key = (route.problem_id, collapse_spaces(route.text))
        if route.rationalized and route.problem_id in honest:
            left_out["rationalized"] += 1
        elif settings.drop_leaks and route.guided and leaks_rules(route.text):
            left_out["leaks"] += 1
        elif (limit := settings.max_chain_tokens) and count_tokens(route.text) > limit:
            left_out["over max_chain_tokens"] += 1
        elif key in distinct:
            left_out["repeated"] += 1
        else:
            distinct[key] = route
    return list(distinct.values()), left_out


def measure_log_likelihoods(
    model: PreTrainedModel, rows: Sequence[TokenRow], cache: Path, pad: int
) -> list[float]:
    """Return the mean log-likelihood of each row's completion tokens under `model`.

    Args:
        model: The student.
        rows: Token ids; labels of -100 mark the prompt, which does not count.
        cache: A file of finished measurements, so that an interrupted run does not repeat them.
        pad: A token id to pad with.
    """
    # Keyed by content: what another tokenizer made of the same chain is another row.
    keys = [
        hashlib.sha256(repr((row["input_ids"], row["labels"])).encode()).hexdigest()[:24]
        for row in rows
    ]
    with append_jsonl(cache) as append:  # opened first, because opening repairs a torn last line
        known = {entry["key"]: entry["log_likelihood"] for entry in read_jsonl(cache)}
        missing = {key: row for key, row in zip(keys, rows, strict=True) if key not in known}
        with progress("likelihood of chains", len(missing)) as advance:
            for batch in _split_batches(missing):
                values = _measure_batch(model, [missing[key] for key in batch], pad)
                for key, value in zip(batch, values, strict=True):
                    known[key] = value
                    append({"key": key, "log_likelihood": value})
                advance(len(batch))
    return [known[key] for key in keys]


def _split_batches(rows: Mapping[str, TokenRow]) -> Iterator[list[str]]:
    """Yield batches of keys, the longest rows first, so that the first row is a batch's width."""
    keys = sorted(rows, key=lambda key: -len(rows[key]["input_ids"]))
    start = 0
    while start < len(keys):
        size = max(1, BATCH_TOKENS // len(rows[keys[start]]["input_ids"]))
        yield keys[start : start + size]
        start += size


@torch.inference_mode()
def _measure_batch(model: PreTrainedModel, rows: Sequence[TokenRow], pad: int) -> list[float]:
    width = max(len(row["input_ids"]) for row in rows)

    def pad_right(values: Sequence[int], filler: int) -> list[int]:
        return [*values, *[filler] * (width - len(values))]

    ids = torch.tensor([pad_right(row["input_ids"], pad) for row in rows], device=model.device)
    mask = torch.tensor([pad_right([1] * len(row["labels"]), 0) for row in rows]).to(model.device)
    labels = torch.tensor([pad_right(row["labels"], -100) for row in rows], device=model.device)
    # The logits at position t predict token t + 1: (batch, width - 1, vocabulary).
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1].float()
    # It takes the classes second, and gives labels of -100 (prompt, padding) a loss of 0.
    losses = cross_entropy(logits.transpose(1, 2), labels[:, 1:], reduction="none")
    return (-losses.sum(1) / (labels[:, 1:] != -100).sum(1)).tolist()
