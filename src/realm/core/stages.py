"""What each stage depends on and what it writes: the table by which a run knows what is done."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What one stage depends on and writes. A name that ends in `/` is a folder, one that ends in `?` need not be there."""

    name: str
    module: str
    settings: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...]


STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage(
            name="data",
            module="realm.domains.data",
            settings=("seed", "domain"),
            outputs=("problems.jsonl", "rules.md?"),
        ),
        Stage(
            name="routes",
            module="realm.sources.routes",
            settings=("seed", "domain", "routes"),
            inputs=("problems.jsonl", "rules.md?"),
            outputs=("routes.jsonl", "bank.json"),
        ),
        Stage(
            name="distill",
            module="realm.train.sft",
            settings=(
                "seed",
                "model",
                "recipe",
                "domain.kind",
                "domain.answer",
                "prompt",
                "routes.held_out",
                "distill",
                "train.lora",
                "train.fade.routes",
                "train.mix",
            ),
            inputs=("problems.jsonl", "routes.jsonl"),
            outputs=("sft.jsonl", "sft_stats.json?", "distilled/"),
        ),
        Stage(
            name="train",
            module="realm.train.rl",
            settings=(
                "seed",
                "model",
                "recipe",
                "domain.kind",
                "domain.answer",
                "prompt",
                "routes.held_out",
                "train",
            ),
            inputs=("problems.jsonl", "routes.jsonl", "distilled/"),
            outputs=("model/", "fade.jsonl", "headroom.json", "rollouts/?"),
        ),
        Stage(
            name="eval",
            module="realm.evaluate.exam",
            settings=(
                "seed",
                "model",
                "recipe",
                "domain.kind",
                "domain.answer",
                "prompt",
                "routes.held_out",
                "evaluate",
            ),
            inputs=("problems.jsonl", "routes.jsonl", "distilled/?", "model/?"),
            outputs=("results.json", "answers.jsonl"),
        ),
        Stage(
            name="report",
            module="realm.evaluate.report",
            settings=("report",),
            inputs=(
                "problems.jsonl",
                "routes.jsonl",
                "bank.json",
                "results.json",
                "answers.jsonl",
                "fade.jsonl?",
                "headroom.json?",
            ),
            outputs=("report.html",),
        ),
    )
}
