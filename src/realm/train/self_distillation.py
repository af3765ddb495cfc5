"""Distillation without a teacher (`distill.kind: self`), by TRL's SDFTTrainer.

The model with the rules in its prompt teaches the model without them, on what the latter writes.
No chain of a teacher and no gold answer is read.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from datasets import Dataset
from trl.experimental.sdft import SDFTConfig, SDFTTrainer

from realm.checkpoint import find_context_length, load_checkpoint
from realm.core.errors import ConfigError
from realm.core.jsonl import write_json, write_jsonl
from realm.core.ranks import run_on_main
from realm.sampling import make_prompt
from realm.train.arguments import make_arguments, make_lora_config
from realm.train.trl import (
    as_trl_prompt,
    encode_prompts,
    require_context,
    save_policy,
    train_to_end,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerBase

    from realm.config.root import Config
    from realm.core.records import Problem
    from realm.run import Run


def run_self_distillation(run: Run, problems: Sequence[Problem]) -> None:
    """Write RUN/sft.jsonl, the prompts of the student, and RUN/distilled."""
    config = run.config
    arguments = make_sdft_arguments(config, run.work("distill"))
    dataset, tokenizer = run_on_main(partial(write_prompts, run, problems, arguments))
    trainer = SDFTTrainer(
        model=config.resolve_model(),
        args=arguments,
        train_dataset=dataset,
        processing_class=tokenizer,
        peft_config=make_lora_config(config.train.lora),
    )
    train_to_end(trainer, "distill")
    text = [
        f"Distilled from `{config.model}` by ReaLM: on-policy self-distillation (TRL's SDFT), the "
        "rules as privileged context.",
        f"- {len(dataset)} prompts, {trainer.state.global_step} steps",
    ]
    save_policy(trainer, tokenizer, run, "distilled", text)


def check_self_distillation(run: Run) -> None:
    """Raise the user's mistakes in the settings, before any stage has spent time."""
    _require_rules(run)
    make_sdft_arguments(run.config, Path("unused"))


def write_prompts(
    run: Run, problems: Sequence[Problem], arguments: SDFTConfig
) -> tuple[Dataset, PreTrainedTokenizerBase]:
    """Write RUN/sft.jsonl and RUN/sft_stats.json.

    Returns:
        The prompts with the rules as their privileged context, and the tokenizer.
    """
    config, rules = run.config, _require_rules(run)
    name, system = config.resolve_model(), config.prompt.system
    model, tokenizer = load_checkpoint(name)
    rows, lengths = [], []
    for problem in problems:
        prompt = make_prompt(problem, config).text
        rows.append({"problem_id": problem.id, "prompt": prompt})
        guided = arguments.teacher_prompt_template.format(prompt=prompt, privileged_context=rules)
        # The teacher's prompt is the longer one, so it decides whether the row fits.
        [ids] = encode_prompts(tokenizer, [as_trl_prompt(tokenizer, guided, system)])
        lengths.append((problem.id, len(ids)))
    require_context(
        name,
        find_context_length(model.config),
        lengths,
        new_tokens=arguments.max_completion_length or 0,
        advice="lower distill.sdft.max_completion_length, shorten the rule book, or use a model "
        "with a longer context.",
    )
    write_jsonl(run.path("sft.jsonl"), rows)
    stats = {"kind": "self", "rows": len(rows), "problems": len(rows)}
    write_json(run.path("sft_stats.json"), stats)
    prompts = [as_trl_prompt(tokenizer, row["prompt"], system) for row in rows]
    columns = {"prompt": prompts, "privileged_context": [rules] * len(prompts)}
    return Dataset.from_dict(columns), tokenizer


def make_sdft_arguments(config: Config, work: Path) -> SDFTConfig:
    """Return TRL's arguments: the user's `distill.sdft` over our presets.

    No prompt is cut; instead the context is checked beforehand.
    """
    return make_arguments(
        SDFTConfig,
        "distill.sdft",
        config.distill.sdft,
        presets={
            "teacher_prompt_template": "{privileged_context}\n\n{prompt}",
            "save_steps": 0.1,
            "logging_steps": 10,
            "seed": config.seed,
        },
        required={
            "output_dir": str(work),
            "max_prompt_length": None,
            # SDFTTrainer reads `privileged_context`, a column that no model takes.
            "remove_unused_columns": False,
        },
    )


def _require_rules(run: Run) -> str:
    if run.domain.rules is None:
        config = run.config
        raise ConfigError(
            f"{config.source}: distill.kind: self needs a rule book, the privileged context of its "
            f"teacher, and the domain {config.domain.kind} has none. Name one in domain.rules "
            "(domain.kind: files), or try distill.kind: guided."
        )
    return run.domain.rules
