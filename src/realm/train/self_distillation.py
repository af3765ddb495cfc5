"""Distillation without a teacher: the model with the rules in its prompt teaches the model without them, on what the latter
writes (TRL's `SDFTTrainer`). The rules are the privileged context; no chain of a teacher and no gold answer is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from datasets import Dataset
from transformers import PreTrainedTokenizerBase
from trl.experimental.sdft import SDFTConfig, SDFTTrainer

from realm.config.root import Config
from realm.core.errors import ConfigError
from realm.core.jsonl import write_json, write_jsonl
from realm.core.records import Problem, RouteSet
from realm.method.prompt import render_prompt
from realm.policy import load_checkpoint
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


def run_self_distillation(run: Run, problems: Sequence[Problem]) -> None:
    """Write RUN/sft.jsonl, the prompts with their privileged context, and RUN/distilled."""
    config = run.config
    arguments = sdft_arguments(config, run.work("distill"))
    dataset, tokenizer = write_rows(run, problems, arguments)
    trainer = SDFTTrainer(
        model=config.resolve_model(),
        args=arguments,
        train_dataset=dataset,
        processing_class=tokenizer,
        peft_config=lora_config(config.train.lora),
    )
    train(trainer, "distill", Path(arguments.output_dir))
    text = [
        f"Distilled from `{config.model}` by ReaLM: on-policy self-distillation (TRL's SDFT), the rules as privileged context.",
        "",
        f"- run: `{run.folder.name}`, recipe `{config.recipe}`, seed {config.seed}",
        f"- {len(dataset)} prompts, {trainer.state.global_step} steps",
    ]
    save_policy(
        trainer,
        tokenizer,
        run.path("distilled"),
        model_card(title="distilled", base_model=config.model, text=text),
    )


def write_rows(
    run: Run, problems: Sequence[Problem], arguments: SDFTConfig
) -> tuple[Dataset, PreTrainedTokenizerBase]:
    """Write RUN/sft.jsonl and RUN/sft_stats.json; return the prompts with their privileged context, and the tokenizer."""
    config = run.config
    name, rules = config.resolve_model(), _rules(run)
    network, tokenizer = load_checkpoint(name)
    asked = [
        render_prompt(
            problem.question, RouteSet(problem_id=problem.id), autonomous=config.prompt.autonomous
        )
        for problem in problems
    ]
    guided = [
        arguments.teacher_prompt_template.format(prompt=prompt, privileged_context=rules)
        for prompt in asked
    ]
    lengths = map(
        len,
        encode_prompts(
            tokenizer, [as_trl_prompt(tokenizer, text, config.prompt.system) for text in guided]
        ),
    )
    require_context(
        name,
        context_of(network.config),
        list(zip([problem.id for problem in problems], lengths, strict=True)),
        new_tokens=arguments.max_completion_length,
        advice="lower distill.sdft.max_completion_length, shorten the rule book, or take a model with a longer context.",
    )
    ids = [problem.id for problem in problems]
    write_jsonl(
        run.path("sft.jsonl"),
        ({"problem_id": id_, "prompt": prompt} for id_, prompt in zip(ids, asked, strict=True)),
    )
    write_json(
        run.path("sft_stats.json"), {"kind": "self", "rows": len(asked), "problems": len(asked)}
    )
    prompts = [as_trl_prompt(tokenizer, prompt, config.prompt.system) for prompt in asked]
    return Dataset.from_dict(
        {"prompt": prompts, "privileged_context": [rules] * len(asked)}
    ), tokenizer


def check_self_distillation(run: Run) -> None:
    """Raise a user's mistake in the settings, before any stage has spent time."""
    _rules(run)
    sdft_arguments(run.config, Path("unused"))


def sdft_arguments(config: Config, work: Path) -> SDFTConfig:
    """Return TRL's arguments: the user's `sdft:` section over our presets. No prompt is cut; the context is checked instead."""
    presets = {
        "teacher_prompt_template": "{privileged_context}\n\n{prompt}",
        "save_steps": 0.1,
        "logging_steps": 10,
        "seed": config.seed,
    }
    required = {"output_dir": str(work), "max_prompt_length": None, "remove_unused_columns": False}
    return make_arguments(
        SDFTConfig, "distill.sdft", config.distill.sdft, presets=presets, required=required
    )


def _rules(run: Run) -> str:
    config, rules = run.config, run.domain.rules
    if rules is None:
        raise ConfigError(
            f"{config.source}: distill.kind: self needs a rule book, the privileged context of its teacher, and the domain "
            f"{config.domain.kind} has none. Name one in domain.rules (domain.kind: files), or try distill.kind: guided."
        )
    return rules
