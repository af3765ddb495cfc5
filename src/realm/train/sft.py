"""Guided CoT distillation: teach the teacher's right chains without the rules in the prompt.

The stage `distill`. The idea is from ReaLM (arXiv 2508.12387); the training is TRL's SFTTrainer.
"""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from realm.bank.coverage import rule_coverage
from realm.bank.draw import draw_routes
from realm.bank.eligible import (
    exclude_chain,
    select_sound_routes,
    select_teachable_routes,
    select_training_routes,
)
from realm.checkpoint import (
    check_model,
    find_context_length,
    load_checkpoint,
    require_length,
)
from realm.core.errors import DataError
from realm.core.jsonl import read_problems, read_routes, write_json, write_jsonl
from realm.core.ranks import run_on_main
from realm.core.records import Problem, Route, RouteSet
from realm.method.prompt import render_answer, render_judgement, render_reasoning
from realm.method.steps import drop_answer_step, find_taught_flaw
from realm.method.thoughts import ThinkTags, put_chain_in_thoughts
from realm.sampling import make_prompt
from realm.train.arguments import check_lora, make_lora_config, make_sft_arguments
from realm.train.chains import compute_stats, measure_log_likelihoods, select_chains
from realm.train.trl import (
    TaughtLossTrainer,
    find_student_tags,
    find_turn_end,
    require_context,
    save_policy,
    tokenize_rows,
    train_to_end,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase
    from trl import SFTConfig

    from realm.config.root import Config
    from realm.run import Run

Lesson = tuple[Route, RouteSet, str]
"""(chain, routes that its prompt shows, completion) of one row."""

logger = logging.getLogger(__name__)


def run_distill(run: Run) -> None:
    """Write RUN/sft.jsonl and RUN/distilled from RUN/problems.jsonl and RUN/routes.jsonl."""
    problems = select_taught_problems(run)
    if run.config.distill.kind == "self":
        # TRL's trainer for it is experimental, so nothing else depends on it.
        from realm.train.self_distillation import run_self_distillation

        run_self_distillation(run, problems)
        return
    arguments = make_sft_arguments(run.config, run.work("distill"))
    dataset, tokenizer = run_on_main(partial(write_rows, run, problems, arguments))
    train_on_rows(run, dataset, tokenizer, arguments)


def select_taught_problems(run: Run) -> list[Problem]:
    """Return the problems whose chains distillation may teach."""
    problems = read_problems(run.path("problems.jsonl"))
    train = [problem for problem in problems if problem.split == "train"]
    first = {problem.id for problem in train[: run.config.distill.problems]}
    # A later round also teaches the policy's own chains, of the problems of its training.
    routes = read_routes(run.path("routes.jsonl"))
    own = {route.problem_id for route in routes if route.guided and route.source == "self"}
    return [problem for problem in train if problem.id in first | own]


def check_distill(run: Run) -> None:
    """Raise the user's mistakes in the settings of this stage, before any stage has spent time."""
    config = run.config
    model = check_model(config.resolve_model(), config.prompt.system)
    if config.distill.kind == "self":
        from realm.train.self_distillation import check_self_distillation

        check_self_distillation(run)
    else:
        arguments = make_sft_arguments(config, Path("unused"))
        require_length("distill.sft.max_length", arguments.max_length, model)
    check_lora(config.train.lora, model)


def write_rows(
    run: Run, train_problems: Sequence[Problem], arguments: SFTConfig
) -> tuple[Dataset, PreTrainedTokenizerBase]:
    """Choose what to teach and write RUN/sft.jsonl and RUN/sft_stats.json.

    Returns:
        The rows as token ids, and the tokenizer.
    """
    config, domain = run.config, run.domain
    problems = {problem.id: problem for problem in train_problems}
    routes = select_teachable_routes(
        read_routes(run.path("routes.jsonl")), config.routes.held_out, problems
    )
    name = config.resolve_model()
    model, tokenizer = load_checkpoint(name)
    tags = find_student_tags(tokenizer, config)
    make_rows = partial(
        make_sft_rows, problems, render=domain.verifier.render, config=config, tags=tags
    )
    closing = find_turn_end(model, tokenizer, config)
    encode = partial(tokenize_rows, tokenizer=tokenizer, prompts=config.prompt, closing=closing)

    def measure_likelihood(chains: Sequence[Route]) -> list[float]:
        # Padding is masked, so the stop token serves where there is no other.
        pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        # Of the very rows that would be taught, but without routes: assisted rows come later.
        rows = encode(make_rows((), chains)).to_list()
        return measure_log_likelihoods(model, rows, run.work("distill") / "likelihood.jsonl", pad)

    def count_tokens(text: str) -> int:
        return len(tokenizer(text)["input_ids"])

    chains, figures = select_chains(routes, count_tokens, measure_likelihood, config.distill)
    if not chains:
        found = f"{len(routes)} routes for {len(problems)} training problems"
        raise _explain_no_chains(run, found, figures["left_out"])
    rows = make_rows(routes, chains)
    dataset = encode(rows)
    # Checked before anything is written, so that sft.jsonl only ever holds rows that fit.
    require_room(name, find_context_length(model.config), arguments, rows, dataset)
    write_jsonl(run.path("sft.jsonl"), rows)
    stats = compute_stats(rows, chains) | figures
    stats |= rule_coverage(chains, routes, problems, domain.rules)
    write_json(run.path("sft_stats.json"), stats)
    _log_stats(stats, config)
    return dataset, tokenizer


def _explain_no_chains(run: Run, found: str, left_out: Mapping[str, int]) -> DataError:
    return DataError(
        f"{run.path('routes.jsonl')}: no route of a training problem reaches the gold answer, so "
        f"there is nothing to distil. Found {found}; left out: {left_out or 'none'}. Collect more "
        f"routes, try another distill.kind than {run.config.distill.kind}, or set recipe: zero."
    )


def make_sft_rows(
    problems: Mapping[str, Problem],
    routes: Sequence[Route],
    chains: Sequence[Route],
    *,
    render: Callable[[Any], str],
    config: Config,
    tags: ThinkTags | None = None,
) -> list[dict[str, Any]]:
    """Return the rows of sft.jsonl: each chain once without routes, then the assisted rows.

    Args:
        problems: The training problems by id.
        routes: Routes that may be taught, the source of those that assisted rows show.
        chains: The chains to teach.
        render: Returns the text of an answer.
        config: The settings.
        tags: What the completions of a student that thinks write around their chain.
    """
    golds = {chain.problem_id: render(problems[chain.problem_id].answer) for chain in chains}
    lessons = _teach_chains(chains, golds, config)
    lessons += _teach_judgements(routes, chains, golds, config)
    return [
        {
            "problem_id": chain.problem_id,
            "prompt": make_prompt(problems[chain.problem_id], config, shown).text,
            "completion": put_chain_in_thoughts(completion, tags),
            "route": chain.source,
        }
        for chain, shown, completion in lessons
    ]


def _teach_chains(
    chains: Sequence[Route], golds: Mapping[str, str], config: Config
) -> list[Lesson]:
    """Return the rows without routes: each teaches a chain, or under `answer_only` its answer."""
    lessons = []
    for chain in chains:
        gold = golds[chain.problem_id]
        completion = render_reasoning(drop_answer_step(chain), gold)
        if config.distill.kind == "answer_only":
            completion = render_answer(gold)
        lessons.append((chain, RouteSet(problem_id=chain.problem_id), completion))
    return lessons


def _teach_judgements(
    routes: Sequence[Route],
    chains: Sequence[Route],
    golds: Mapping[str, str],
    config: Config,
) -> list[Lesson]:
    """Return the assisted rows, a cold start for what RL rewards.

    Each shows routes of the chain's problem and teaches a check and a verdict for each, then the
    chain.
    """
    lessons = []
    for chain, shown in _draw_assisted_sets(routes, chains, config):
        gold = golds[chain.problem_id]
        flaws = [
            None if route.is_sound() else find_taught_flaw(route, chain, gold)
            for route in shown.routes
        ]
        completion = render_judgement(flaws, drop_answer_step(chain), gold)
        lessons.append((chain, shown, completion))
    return lessons


def _draw_assisted_sets(
    routes: Sequence[Route], chains: Sequence[Route], config: Config
) -> list[tuple[Route, RouteSet]]:
    """Return (chain, routes to show) for each assisted row.

    Half the sets are full and the others smaller, since RL will show any number of routes. The
    taught chain is never shown: judging what one is about to write teaches to call all routes
    sound. A chain whose problem has no other route has no assisted row.
    """
    share, most = config.distill.assisted_share, config.train.fade.routes
    problem_ids = {chain.problem_id for chain in chains}
    bank = select_training_routes(routes, config.routes.held_out, problem_ids)
    sound = select_sound_routes(bank)
    others = [exclude_chain(bank.get(chain.problem_id, []), chain) for chain in chains]
    pairs = [(chain, shown) for chain, shown in zip(chains, others, strict=True) if shown]
    if not pairs or share == 0 or config.distill.kind != "guided":
        return []
    # So many assisted rows that they are `share` of all rows; a share of 1 has each chain once.
    num_rows = len(pairs) if share == 1 else round(len(chains) * share / (1 - share))
    rng = Random(config.seed)
    # With fewer assisted rows than chains, chance and not the file decides who gets one.
    rng.shuffle(pairs)
    sets = []
    for number in range(num_rows):
        turn, place = divmod(number, len(pairs))
        chain, candidates = pairs[place]
        k = most if rng.random() < 0.5 else rng.randint(1, most)
        # The turn stands in for the step: a chain that comes again shows another set.
        shown = draw_routes(
            candidates,
            k,
            seed=config.seed,
            row_id=chain.problem_id,
            step=turn,
            mix=config.train.mix,
            others=sound,
        )
        # Empty if wrong routes are never shown (mix.show_flawed) and there is no other right one.
        if shown.routes:
            sets.append((chain, shown))
    return sets


def _log_stats(stats: Mapping[str, Any], config: Config) -> None:
    """Log what the figures of RUN/sft_stats.json say."""
    logger.info(
        f"{stats['rows']} rows teach {stats['chains']} chains of {stats['problems']} problems; "
        f"{stats['assisted_rows']} rows are assisted. Leak score {stats['leak_score']:.1%} "
        "(completions that talk about a rule list the student never saw)."
    )
    reasons = [f"{count} {reason}" for reason, count in stats["left_out"].items()]
    logger.info("Right chains left out: %s.", ", ".join(reasons) or "none")
    if stats["rationalized_share"]:
        share = f"{stats['rationalized_share']:.1%}"
        logger.info("The authors of %s of the chains saw the gold answer.", share)
    if unused := stats.get("rules_unused"):
        logger.info(
            f"No chain uses {len(unused)} of the {stats['rules']} rules, as far as its text tells: "
            f"{', '.join(map(str, unused))}."
        )
    is_wanted = config.distill.kind == "guided" and config.distill.assisted_share > 0
    if is_wanted and not stats["assisted_rows"]:
        logger.info(
            "No assisted rows: no problem of a taught chain has another route to judge, so RL must "
            "find the format of verdicts itself."
        )


def require_room(
    name: str,
    context: int | None,
    arguments: SFTConfig,
    rows: Sequence[Mapping[str, Any]],
    dataset: Dataset,
) -> None:
    """Raise `ModelError` if a row is longer than the model's context or TRL's `max_length`."""
    problem_ids = [row["problem_id"] for row in rows]
    lengths = list(zip(problem_ids, map(len, dataset["input_ids"]), strict=True))
    advice = (
        "lower distill.max_chain_tokens, show fewer routes (train.fade.routes), or use a model "
        "with a longer context."
    )
    require_context(name, context, lengths, advice=advice)
    advice = f"raise it, set it to null, or {advice}"
    require_context("distill.sft.max_length", arguments.max_length, lengths, advice=advice)


def train_on_rows(  # noqa: PLR0913  # what to train on, from where and to where
    run: Run,
    dataset: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    arguments: SFTConfig,
    *,
    start: str | None = None,
    output: str = "distilled",
    how: str = "ReaLM: guided CoT distillation (arXiv 2508.12387, this project's reading of it)",
) -> None:
    """Train `start`, or the config's model, on the completions of the rows; write RUN/`output`."""
    config = run.config
    trainer = TaughtLossTrainer(
        model=start or config.resolve_model(),
        args=arguments,
        # Transformers draws the order of rows under "batch_rebalance" from a seed of its own.
        train_dataset=dataset.shuffle(seed=arguments.seed),
        processing_class=tokenizer,
        peft_config=make_lora_config(config.train.lora),
    )
    train_to_end(trainer, Path(str(arguments.output_dir)).name)
    # For comparisons at equal budget: what was trained, not what there is.
    epochs = trainer.state.epoch or 0
    num_taught = sum(label != -100 for labels in dataset["labels"] for label in labels)
    run.record_figures(
        {
            "trained_completions": round(epochs * len(dataset)),
            "trained_tokens": round(epochs * num_taught),
        }
    )
    text = [
        f"Trained from `{config.model}` by {how}.",
        f"- {len(dataset)} rows, {trainer.state.global_step} steps, {epochs:.2f} epochs",
    ]
    save_policy(trainer, tokenizer, run, output, text)
