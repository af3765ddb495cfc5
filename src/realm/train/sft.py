"""Guided CoT distillation: the teacher's checked chains, taught to the student without the rules in its prompt."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from datasets import Dataset
from transformers import PreTrainedTokenizerBase
from trl import SFTConfig, SFTTrainer

from realm.bank.coverage import rule_coverage
from realm.bank.draw import draw_routes
from realm.bank.eligible import exclude_chain, select_teachable_routes, select_training_routes
from realm.config.root import Config, DistillConfig
from realm.core.errors import DataError, ModelError
from realm.core.jsonl import read_problems, read_routes, write_json, write_jsonl
from realm.core.records import Problem, Route, RouteSet
from realm.method.perturb import alter_routes
from realm.method.prompt import render_answer, render_judgement, render_prompt, render_reasoning
from realm.method.steps import check_against, without_opening_answer
from realm.policy import load_checkpoint, require_model
from realm.train.chains import (
    choose_chains,
    crowded,
    distance_from_median,
    eligible_chains,
    leak_score,
    mean_log_likelihoods,
)
from realm.train.trl import (
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

if TYPE_CHECKING:
    from realm.run import Run

_SLOT = "the-completion-goes-here"


def run_distill(run: Run) -> None:
    """Write RUN/sft.jsonl and RUN/distilled from RUN/problems.jsonl and RUN/routes.jsonl."""
    config = run.config
    problems = {
        problem.id: problem
        for problem in read_problems(run.path("problems.jsonl"))
        if problem.split == "train"
    }
    if config.distill.kind == "self":
        import_module("realm.train.self_distillation").run_self_distillation(
            run, list(problems.values())
        )
        return
    arguments = sft_arguments(config, run.work("distill"))
    dataset, tokenizer = write_rows(config, run, problems, arguments)
    train_on_rows(config, run, dataset, tokenizer, arguments)


def write_rows(
    config: Config, run: Run, problems: Mapping[str, Problem], arguments: SFTConfig
) -> tuple[Dataset, PreTrainedTokenizerBase]:
    """Choose what to teach and write RUN/sft.jsonl and RUN/sft_stats.json; return the rows as token ids, and the tokenizer."""
    routes = select_teachable_routes(
        read_routes(run.path("routes.jsonl")), config.routes.held_out, problems
    )
    name, domain = config.resolve_model(), run.domain
    network, tokenizer = load_checkpoint(name)
    opening, closing = frame(
        tokenizer, config, stop_tokens(network.generation_config.eos_token_id, tokenizer)
    )
    rows_of = partial(
        sft_rows, problems, show=domain.verifier.render, config=config, opening=opening
    )
    encode = partial(
        tokenize_rows, tokenizer=tokenizer, system=config.prompt.system, closing=closing
    )

    def length(text: str) -> int:
        return len(tokenizer(text)["input_ids"])

    def likelihood(chains: Sequence[Route]) -> list[float]:
        pad = next(
            token for token in (tokenizer.pad_token_id, tokenizer.eos_token_id) if token is not None
        )
        encoded = encode(rows_of((), chains)).to_list()
        return mean_log_likelihoods(network, encoded, run.work("distill") / "likelihood.jsonl", pad)

    chains, stats = pick_chains(routes, length, likelihood, config.distill)
    if not chains:
        raise DataError(
            f"{run.path('routes.jsonl')}: no route of a training problem reaches the gold answer, so there is nothing to distil. "
            f"Found {len(routes)} routes for {len(problems)} training problems; left out: {stats['left_out'] or 'none'}. "
            f"Collect more routes, try another distill.kind than {config.distill.kind}, or set recipe: zero."
        )
    rows = rows_of(routes, chains)
    dataset = encode(rows)
    require_room(name, context_of(network.config), arguments, rows, dataset)
    write_jsonl(run.path("sft.jsonl"), rows)
    stats = describe(rows, chains) | stats | rule_coverage(chains, routes, problems, domain.rules)
    write_json(run.path("sft_stats.json"), stats)
    print(summary(stats, config))
    return dataset, tokenizer


def check_distill(run: Run) -> None:
    """Raise a user's mistake in the settings of this stage, before any stage has spent time."""
    config = run.config
    require_model(config.resolve_model())
    if config.distill.kind == "self":
        import_module("realm.train.self_distillation").check_self_distillation(run)
    else:
        sft_arguments(config, Path("unused"))
    lora_config(config.train.lora)


def pick_chains(
    routes: Sequence[Route],
    length: Callable[[str], int],
    likelihood: Callable[[Sequence[Route]], list[float]],
    settings: DistillConfig,
) -> tuple[list[Route], dict[str, Any]]:
    """Return the chains to teach and what there is to say of the choice; one chain a problem where only its answer is taught."""
    if settings.kind == "answer_only":
        settings = settings.model_copy(update={"select_by": "length", "max_chains_per_problem": 1})
    chains, left_out = eligible_chains(routes, length, settings)
    rivals = crowded(chains, settings)
    stats: dict[str, Any] = {"kind": settings.kind, "select_by": settings.select_by}
    if rivals and settings.select_by == "likelihood":
        likelihoods = dict(zip(map(id, rivals), likelihood(rivals), strict=True))
        chosen = choose_chains(chains, lambda chain: -likelihoods[id(chain)], settings)
        kept = [likelihoods[id(chain)] for chain in chosen if id(chain) in likelihoods]
        stats |= {
            "likelihood_rivals": statistics.fmean(likelihoods.values()),
            "likelihood_chosen": statistics.fmean(kept),
        }
    else:
        chosen = choose_chains(chains, distance_from_median(chains, length), settings)
    left_out |= {"not chosen": len(chains) - len(chosen)} if len(chains) > len(chosen) else {}
    return chosen, stats | {"left_out": left_out}


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

    An assisted row shows a set of the chain's problem and teaches a check and the outcome of each route, then the chain: a cold
    start for the format that RL rewards. The check is the teacher's, or else one by the route's label and the taught chain. In
    `distill.altered_share` of these rows numbers of the routes are changed (docs/decisions/0012). `opening` begins each
    completion (see `frame`).
    """
    templates = {"autonomous": config.prompt.autonomous, "assisted": config.prompt.assisted}

    def row(chain: Route, shown: RouteSet, completion: str) -> dict[str, Any]:
        prompt = render_prompt(problems[chain.problem_id].question, shown, **templates)
        return {
            "problem_id": chain.problem_id,
            "prompt": prompt,
            "completion": opening + completion,
            "route": chain.source,
        }

    def answer(chain: Route) -> str:
        return show(problems[chain.problem_id].answer)

    def completion(chain: Route) -> str:
        if config.distill.kind == "answer_only":
            return render_answer(answer(chain))
        return render_reasoning(without_opening_answer(chain), answer(chain))

    alone = [
        row(chain, RouteSet(problem_id=chain.problem_id), completion(chain)) for chain in chains
    ]
    rng = Random(f"{config.seed}|altered")

    def altered(chain: Route, shown: RouteSet) -> RouteSet:
        wanted = rng.random() < config.distill.altered_share
        return alter_routes(shown, chain, answer(chain), show, rng) if wanted else shown

    sets = [
        (chain, altered(chain, shown))
        for chain, shown in _assisted_sets(routes, chains, config, num_alone=len(alone))
    ]
    assisted = [
        row(
            chain,
            shown,
            render_judgement(
                [
                    (route.check or check_against(route, chain, answer(chain), show), route.correct)
                    for route in shown.routes
                ],
                without_opening_answer(chain),
                answer(chain),
            ),
        )
        for chain, shown in sets
    ]
    return alone + assisted


def _assisted_sets(
    routes: Sequence[Route], chains: Sequence[Route], config: Config, *, num_alone: int
) -> list[tuple[Route, RouteSet]]:
    """Return (chain, routes to show) for each assisted row; half the sets are full, so that short ones are known as well.

    The taught chain is never among them: judging what one is about to write teaches to call all sound. A chain whose problem
    has no other route has no assisted row.
    """
    bank = select_training_routes(
        routes, config.routes.held_out, {chain.problem_id for chain in chains}
    )
    candidates = [(chain, exclude_chain(bank.get(chain.problem_id, []), chain)) for chain in chains]
    eligible = [(chain, others) for chain, others in candidates if others]
    share = config.distill.assisted_share
    if not eligible or share == 0 or config.distill.kind != "guided":
        return []
    num_rows = len(eligible) if share == 1 else round(num_alone * share / (1 - share))
    rng = Random(config.seed)
    rng.shuffle(eligible)
    most, pairs = config.train.fade.routes, []
    for number in range(num_rows):
        draw, place = divmod(number, len(eligible))
        chain, others = eligible[place]
        k = most if rng.random() < 0.5 else rng.randint(1, most)
        row = {
            "seed": config.seed,
            "row_id": chain.problem_id,
            "step": draw,
            "mix": config.train.mix,
        }
        pairs.append((chain, draw_routes(others, k, **row)))
    return [(chain, shown) for chain, shown in pairs if shown.routes]


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


def summary(stats: Mapping[str, Any], config: Config) -> str:
    """Return what the figures of RUN/sft_stats.json say, in a few lines."""
    lines = [
        f"{stats['rows']} rows teach {stats['chains']} chains of {stats['problems']} problems; {stats['assisted_rows']} rows "
        f"are assisted. Leak score {stats['leak_score']:.1%} (completions that talk about a rule list the student never saw)."
    ]
    if stats["left_out"]:
        lines.append(
            "Right chains left out: "
            + ", ".join(f"{count} {why}" for why, count in stats["left_out"].items())
            + "."
        )
    if stats["rationalized_share"]:
        lines.append(
            f"{stats['rationalized_share']:.1%} of the chains were written by an author who saw the gold answer."
        )
    if stats.get("rules_unused"):
        unused = ", ".join(map(str, stats["rules_unused"]))
        lines.append(
            f"No chain uses {len(stats['rules_unused'])} of the {stats['rules']} rules, as far as its text tells: {unused}."
        )
    if (
        config.distill.kind == "guided"
        and config.distill.assisted_share > 0
        and not stats["assisted_rows"]
    ):
        lines.append(
            "No assisted rows: no problem of a taught chain has another route to judge: RL must find the verdict format itself."
        )
    return "\n".join(lines)


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
    return make_arguments(
        SFTConfig, "distill.sft", config.distill.sft, presets=presets, required=required
    )


def require_room(
    name: str,
    context: int | None,
    arguments: SFTConfig,
    rows: Sequence[Mapping[str, Any]],
    dataset: Dataset,
) -> None:
    """Raise `ModelError` where a row is longer than the model reads, or than `max_length` would leave of it."""
    lengths = [
        (row["problem_id"], len(ids)) for row, ids in zip(rows, dataset["input_ids"], strict=True)
    ]
    advice = "lower distill.max_chain_tokens, show fewer routes (train.fade.routes), or take a model with a longer context."
    require_context(name, context, lengths, new_tokens=0, advice=advice)
    require_context(
        "distill.sft.max_length",
        arguments.max_length,
        lengths,
        new_tokens=0,
        advice="raise it, set it to null, or " + advice,
    )


def train_on_rows(
    config: Config,
    run: Run,
    dataset: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    arguments: SFTConfig,
    *,
    start: str | None = None,
    output: str = "distilled",
    how: str = "ReaLM: guided CoT distillation (arXiv 2508.12387, the project's own reading of it)",
) -> None:
    """Train `start`, or the config's model, on the completions of the rows in `dataset`, and write RUN/`output`."""
    trainer = SFTTrainer(
        model=start or config.resolve_model(),
        args=arguments,
        train_dataset=dataset,
        processing_class=tokenizer,
        peft_config=lora_config(config.train.lora),
    )
    train(trainer, Path(arguments.output_dir).name, Path(arguments.output_dir))
    epochs = trainer.state.epoch or 0
    taught = sum(label != -100 for labels in dataset["labels"] for label in labels)
    run.record_figures(
        {
            "trained_completions": round(epochs * len(dataset)),
            "trained_tokens": round(epochs * taught),
        }
    )
    text = [
        f"Trained from `{config.model}` by {how}.",
        "",
        f"- run: `{run.folder.name}`, recipe `{config.recipe}`, seed {config.seed}",
        f"- {len(dataset)} rows, {trainer.state.global_step} steps, {epochs:.2f} epochs",
    ]
    save_policy(
        trainer,
        tokenizer,
        run.path(output),
        model_card(title=output, base_model=config.model, text=text),
    )


def tokenize_rows(
    rows: Sequence[Mapping[str, Any]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    system: str | None,
    closing: str,
) -> Dataset:
    """Return `input_ids` and `labels` per row: the prompt as in use, without loss, then completion and stop token.

    Done here and not by TRL, because chat templates of reasoning models render an answered turn differently from an open
    one, so that TRL's rows would teach a context that never occurs in use.
    """
    prompts = encode_prompts(
        tokenizer, [as_trl_prompt(tokenizer, row["prompt"], system) for row in rows]
    )
    completions = tokenizer(
        [row["completion"] + closing for row in rows], add_special_tokens=False
    )["input_ids"]
    pairs = list(zip(prompts, completions, strict=True))
    return Dataset.from_dict(
        {
            "input_ids": [prompt + completion for prompt, completion in pairs],
            "labels": [[-100] * len(prompt) + completion for prompt, completion in pairs],
        }
    )


def frame(
    tokenizer: PreTrainedTokenizerBase, config: Config, stops: Sequence[str]
) -> tuple[str, str]:
    """Return what comes before and after the text of every completion: an empty private thinking, and the end of the turn.

    A template with an end of turn of its own (Gemma) is followed; otherwise the EOS token ends the completion.
    """
    prompt = as_trl_prompt(tokenizer, "question", config.prompt.system)
    closing = tokenizer.eos_token or ""
    if isinstance(prompt, str):
        rendered = prompt
    else:
        rendered = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
        answered = tokenizer.apply_chat_template(
            [*prompt, {"role": "assistant", "content": _SLOT}], tokenize=False
        )
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


def stop_tokens(
    eos_token_id: int | list[int] | None, tokenizer: PreTrainedTokenizerBase
) -> list[str]:
    """Return the texts of the tokens that end a generation."""
    ids = eos_token_id if isinstance(eos_token_id, list) else [eos_token_id]
    texts = [tokenizer.convert_ids_to_tokens(token_id) for token_id in ids if token_id is not None]
    return [text for text in [tokenizer.eos_token, *texts] if text]
