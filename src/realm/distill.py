"""Guided CoT distillation: the teacher's checked chains, taught to the student without the rules in its prompt."""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase
from trl import SFTConfig, SFTTrainer

from realm.config import Config
from realm.domains import load_domain
from realm.errors import DataError, ModelError
from realm.mrpv.prompt import render_judgement, render_prompt, render_reasoning
from realm.mrpv.sets import draw_routes
from realm.policy import load_checkpoint, require_model
from realm.records import Problem, Route, RouteSet
from realm.runs import Run, read_problems, read_routes, write_json, write_jsonl
from realm.training import (
    as_trl_prompt,
    context_of,
    encode_prompts,
    lora_config,
    make_arguments,
    model_card,
    require_context,
    save_policy,
    train,
)

CHAINS_PER_PROBLEM = 4
"""More chains of one problem teach less than chains of another problem would."""
LONG = 2.0
"""Where the config sets no limit, a chain over this many times the median length is left out."""

_LEAK = re.compile(
    r"\brules?\s*(?:no\.?|number|#|§)?\s*\d+|\bR\d{1,3}\b|\brule\s*book\b"
    r"|\b(?:according to|as per|by|under|per) the (?:rules?|guide|handbook)\b",
    re.IGNORECASE,
)
_SLOT = "the-completion-goes-here"


def run(config: Config, run: Run) -> None:
    """Write RUN/sft.jsonl and RUN/distilled from RUN/problems.jsonl and RUN/routes.jsonl."""
    problems = {problem.id: problem for problem in read_problems(run.path("problems.jsonl")) if problem.split == "train"}
    routes = usable_routes(read_routes(run.path("routes.jsonl")), problems, config.routes.held_out)
    name, arguments = config.resolve_model(), sft_arguments(config, run.work("distill"))
    network, tokenizer = load_checkpoint(name)
    context, stops = context_of(network.config), _stop_tokens(network.generation_config.eos_token_id, tokenizer)
    del network
    chains = choose_chains(routes, lambda text: len(tokenizer(text)["input_ids"]), config.distill.max_chain_tokens)
    if not chains:
        raise DataError(
            f"{run.path('routes.jsonl')}: no route of a training problem reaches the gold answer, so there is nothing to distil. "
            f"Found {len(routes)} routes for {len(problems)} training problems. Collect more routes, or set recipe: zero."
        )
    opening, closing = _frame(tokenizer, config, stops)
    rows = sft_rows(problems, routes, chains, show=load_domain(config).show, config=config, opening=opening)
    dataset = tokenize_rows(rows, tokenizer, system=config.prompt.system, closing=closing)
    require_room(name, context, arguments, rows, dataset)
    write_jsonl(run.path("sft.jsonl"), rows)
    stats = describe(rows, chains)
    write_json(run.path("sft_stats.json"), stats)
    print(
        f"{stats['rows']} rows teach {stats['chains']} chains of {stats['problems']} problems; {stats['assisted_rows']} rows "
        f"are assisted. Leak score {stats['leak_score']:.1%} (completions that talk about a rule list the student never saw)."
    )
    if config.distill.assisted_share > 0 and not stats["assisted_rows"]:
        print(
            "No assisted rows: no route of a chain's problem has a teacher's check, so RL must find the verdict format by itself."
        )
    train_on_rows(config, run, dataset, tokenizer, arguments)


def check(config: Config) -> None:
    """Raise a user's mistake in the settings of this stage, before any stage has spent time."""
    require_model(config.resolve_model())
    sft_arguments(config, Path("unused"))
    lora_config(config.train.lora)


def usable_routes(routes: Sequence[Route], problems: Mapping[str, Problem], held_out: Sequence[str]) -> list[Route]:
    """Return the routes of the training `problems` that may be taught or shown: labelled, and none of a held-out source."""
    here = [route for route in routes if route.problem_id in problems and route.source not in held_out]
    return [route for route in here if route.correct is not None]


def choose_chains(routes: Sequence[Route], length: Callable[[str], int], limit: int | None) -> list[Route]:
    """Return the chains to teach: guided positives, positives where there is no guided one; no text twice, none too long.

    Without a `limit` chains of more than twice the median length are left out. At most four chains of one problem,
    those nearest to the median length.
    """
    positives = [route for route in routes if route.correct]
    wanted = [route for route in positives if route.guided] or positives
    distinct: dict[tuple[str, str], Route] = {}
    for route in wanted:
        distinct.setdefault((route.problem_id, " ".join(route.text.split())), route)
    lengths = [(length(route.text), route) for route in distinct.values()]
    if not lengths:
        return []
    median = statistics.median(tokens for tokens, _ in lengths)
    longest = limit if limit is not None else LONG * median
    by_problem: dict[str, list[tuple[int, Route]]] = defaultdict(list)
    for tokens, route in lengths:
        if tokens <= longest:
            by_problem[route.problem_id].append((tokens, route))
    return [
        route
        for pairs in by_problem.values()
        for _, route in sorted(pairs, key=lambda pair: abs(pair[0] - median))[:CHAINS_PER_PROBLEM]
    ]


def sft_rows(
    problems: Mapping[str, Problem],
    routes: Sequence[Route],
    chains: Sequence[Route],
    *,
    show: Callable[[Any], str],
    config: Config,
    opening: str = "",
) -> list[dict[str, Any]]:
    """Return the rows of sft.jsonl: every chain once alone, and assisted rows up to their share of all rows.

    An assisted row shows a set of the chain's problem and teaches the teacher's check and the outcome of each route, then
    the chain: a cold start for the format that RL rewards. `opening` begins each completion (see `_frame`).
    """
    templates = {"autonomous": config.prompt.autonomous, "assisted": config.prompt.assisted}

    def row(chain: Route, shown: RouteSet, completion: str) -> dict[str, Any]:
        prompt = render_prompt(problems[chain.problem_id].question, shown, **templates)
        return {"problem_id": chain.problem_id, "prompt": prompt, "completion": opening + completion, "route": chain.source}

    def answer(chain: Route) -> str:
        return show(problems[chain.problem_id].answer)

    alone = [row(chain, RouteSet(problem_id=chain.problem_id), render_reasoning(chain.text, answer(chain))) for chain in chains]
    assisted = [
        row(
            chain,
            shown,
            render_judgement([(route.check or "", route.correct) for route in shown.routes], chain.text, answer(chain)),
        )
        for chain, shown in _assisted_sets(routes, chains, config, num_alone=len(alone))
    ]
    return alone + assisted


def _assisted_sets(
    routes: Sequence[Route], chains: Sequence[Route], config: Config, *, num_alone: int
) -> list[tuple[Route, RouteSet]]:
    """Return (chain, routes to show) for each assisted row; half the sets are full, so that short ones are known as well."""
    bank: dict[str, list[Route]] = defaultdict(list)
    for route in routes:
        if route.check is not None and not route.guided:
            bank[route.problem_id].append(route)
    share, eligible = config.distill.assisted_share, [chain for chain in chains if bank[chain.problem_id]]
    if not eligible or share == 0:
        return []
    num_rows = len(eligible) if share == 1 else round(num_alone * share / (1 - share))
    rng = Random(config.seed)
    rng.shuffle(eligible)
    most, pairs = config.train.fade.routes, []
    for number in range(num_rows):
        draw, place = divmod(number, len(eligible))
        chain = eligible[place]
        k = most if rng.random() < 0.5 else rng.randint(1, most)
        pairs.append((chain, draw_routes(bank[chain.problem_id], k, seed=config.seed, row_id=chain.problem_id, step=draw)))
    return pairs


def leak_score(completions: Sequence[str]) -> float:
    """Return the share of completions that talk about a rule list, as "according to rule 3"."""
    return sum(bool(_LEAK.search(text)) for text in completions) / len(completions) if completions else 0.0


def describe(rows: Sequence[Mapping[str, Any]], chains: Sequence[Route]) -> dict[str, Any]:
    """Return the figures of RUN/sft_stats.json."""
    return {
        "rows": len(rows),
        "assisted_rows": len(rows) - len(chains),
        "chains": len(chains),
        "problems": len({chain.problem_id for chain in chains}),
        "guided_share": sum(chain.guided for chain in chains) / len(chains),
        "rationalized_share": sum(chain.rationalized for chain in chains) / len(chains),
        "leak_score": leak_score([row["completion"] for row in rows]),
    }


def sft_arguments(config: Config, work: Path) -> SFTConfig:
    """Return TRL's arguments: the user's `sft:` section over our presets."""
    presets = {
        "max_length": None,
        "train_sampling_strategy": "group_by_length",
        "save_steps": 0.1,
        "logging_steps": 10,
        "seed": config.seed,
    }
    required = {"output_dir": str(work)}
    return make_arguments(SFTConfig, "distill.sft", config.distill.sft, presets=presets, required=required)


def require_room(
    name: str, context: int | None, arguments: SFTConfig, rows: Sequence[Mapping[str, Any]], dataset: Dataset
) -> None:
    """Raise `ModelError` where a row is longer than the model reads, or than `max_length` would leave of it."""
    lengths = [(row["problem_id"], len(ids)) for row, ids in zip(rows, dataset["input_ids"], strict=True)]
    advice = "lower distill.max_chain_tokens, show fewer routes (train.fade.routes), or take a model with a longer context."
    require_context(name, context, lengths, new_tokens=0, advice=advice)
    require_context(
        "distill.sft.max_length", arguments.max_length, lengths, new_tokens=0, advice="raise it, set it to null, or " + advice
    )


def train_on_rows(config: Config, run: Run, dataset: Dataset, tokenizer: PreTrainedTokenizerBase, arguments: SFTConfig) -> None:
    """Train on the completions of the rows in `dataset` and write RUN/distilled."""
    trainer = SFTTrainer(
        model=config.resolve_model(),
        args=arguments,
        train_dataset=dataset,
        processing_class=tokenizer,
        peft_config=lora_config(config.train.lora),
    )
    train(trainer, "distill", Path(arguments.output_dir))
    text = [
        f"Distilled from `{config.model}` by ReaLM: guided CoT distillation (arXiv 2508.12387, the project's own reading of it).",
        "",
        f"- run: `{run.folder.name}`, recipe `{config.recipe}`, seed {config.seed}",
        f"- {len(dataset)} rows, {trainer.state.global_step} steps, {trainer.state.epoch or 0:.2f} epochs",
    ]
    save_policy(trainer, tokenizer, run.path("distilled"), model_card(title="distilled", base_model=config.model, text=text))


def tokenize_rows(
    rows: Sequence[Mapping[str, Any]], tokenizer: PreTrainedTokenizerBase, *, system: str | None, closing: str
) -> Dataset:
    """Return `input_ids` and `labels` per row: the prompt as in use, without loss, then completion and stop token.

    Done here and not by TRL, because chat templates of reasoning models render an answered turn differently from an open
    one, so that TRL's rows would teach a context that never occurs in use.
    """
    prompts = encode_prompts(tokenizer, [as_trl_prompt(tokenizer, row["prompt"], system) for row in rows])
    completions = tokenizer([row["completion"] + closing for row in rows], add_special_tokens=False)["input_ids"]
    pairs = list(zip(prompts, completions, strict=True))
    return Dataset.from_dict(
        {
            "input_ids": [prompt + completion for prompt, completion in pairs],
            "labels": [[-100] * len(prompt) + completion for prompt, completion in pairs],
        }
    )


def _frame(tokenizer: PreTrainedTokenizerBase, config: Config, stops: Sequence[str]) -> tuple[str, str]:
    """Return what comes before and after the text of every completion: an empty private thinking, and the end of the turn.

    A template with an end of turn of its own (Gemma) is followed; otherwise the EOS token ends the completion.
    """
    prompt = as_trl_prompt(tokenizer, "question", config.prompt.system)
    closing = tokenizer.eos_token or ""
    if isinstance(prompt, str):
        rendered = prompt
    else:
        rendered = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
        answered = tokenizer.apply_chat_template([*prompt, {"role": "assistant", "content": _SLOT}], tokenize=False)
        tail = answered.rpartition(_SLOT)[2]
        ends = [tail.index(stop) + len(stop) for stop in stops if stop in tail]
        closing = tail[: min(ends)] if ends else closing
    if not closing:
        raise ModelError(
            f"{config.model}: its tokenizer has no EOS token, so a student would never learn to stop. Set one and save it again."
        )
    if config.prompt.think_end is None:
        return "", closing
    begin = config.prompt.think_end.replace("/", "", 1)
    opened = rendered.rstrip().endswith(begin)
    return ("" if opened else f"{begin}\n") + f"\n{config.prompt.think_end}\n\n", closing


def _stop_tokens(eos_token_id: int | list[int] | None, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Return the texts of the tokens that end a generation."""
    ids = eos_token_id if isinstance(eos_token_id, list) else [eos_token_id]
    texts = [tokenizer.convert_ids_to_tokens(token_id) for token_id in ids if token_id is not None]
    return [text for text in [tokenizer.eos_token, *texts] if text]
