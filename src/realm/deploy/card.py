"""The model card of an export."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from realm.core.errors import RunError
from realm.core.jsonl import read_problems, read_routes
from realm.evaluate.report.tables import sort_evaluations
from realm.evaluate.report.words import label, with_interval
from realm.evaluate.results import read_results

if TYPE_CHECKING:
    from realm.run import Run

UNKNOWN_LICENSE = "unknown"


def write_card(run: Run, source: Path, *, is_adapter: bool, gguf: str | None = None) -> str:
    """Return the README.md of an export: what the model is, its prompts, data and results.

    Args:
        run: The run that trained the model.
        source: The folder of the model in the run.
        is_adapter: Whether the export holds an adapter in place of whole weights.
        gguf: Name of the GGUF file of the export.
    """
    config = run.config
    base = config.model or ""
    is_hub_id = bool(re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", base))
    license_id = find_license(run)
    header = {
        "library_name": "peft" if is_adapter else "transformers",
        "pipeline_tag": "text-generation",
        "base_model": base if is_hub_id else "",
        "license": license_id,
    }
    name = run.folder.resolve().name
    start = base if is_hub_id else Path(base).name  # a path of this machine helps nobody
    kind = "A LoRA adapter" if is_adapter else "A language model"
    how = {"distilled": "distillation"}.get(source.name, "reinforcement learning")
    lines = [
        "---",
        *(f"{key}: {value}" for key, value in header.items() if value),
        "---",
        "",
        f"# {name}",
        "",
        f"{kind} that reasons in one domain by itself: `{start}` after {how} with ReaLM (recipe "
        f"`{config.recipe}`, seed {config.seed}).",
        *([f"`{gguf}` holds the same model for llama.cpp."] if gguf else []),
    ]
    if outdated := find_outdated_training(run):
        lines.append(
            "The settings and data of the run cannot be matched with the training of this model "
            f"({', '.join(outdated)}). What stands below may be of others, and of problems that it "
            "was trained on."
        )
    if license_id == UNKNOWN_LICENSE:
        lines.append("The license of the base model is not known here: set it before sharing.")
    parts = [
        _describe_prompts(run, is_adapter=is_adapter),
        _describe_data(run),
        _describe_results(run),
        _describe_how(run),
    ]
    return "\n".join([*lines, "", *("\n".join(part) + "\n" for part in parts)])


def find_outdated_training(run: Run) -> list[str]:
    """Return the stages that trained the model, but not with what the run holds now.

    Files that are gone, such as the base model, cannot be matched either.
    """
    return [stage for stage in run.find_outdated("eval") if stage in ("distill", "train")]


def find_license(run: Run) -> str:
    """Return the license that the card of the base model names; "unknown" if there is none."""
    from huggingface_hub import HfApi, ModelCard

    model = run.config.resolve_model()
    card = Path(model) / "README.md"
    # A form that a person filled in, or a request over the network: both fail in many ways.
    with suppress(Exception):
        if Path(model).is_dir():
            data = ModelCard.load(card).data
        else:
            data = HfApi().model_info(model, timeout=10).card_data
        return str(data.license or UNKNOWN_LICENSE)
    return UNKNOWN_LICENSE


def _describe_prompts(run: Run, *, is_adapter: bool) -> list[str]:
    prompts = run.config.prompt
    system = [] if prompts.system is None else ["System message:", "", *_quote(prompts.system), ""]
    use = "`realm serve`, `realm chat` and `realm ask` apply it by themselves."
    if is_adapter:
        use = "Load the adapter with PEFT (`PeftModel.from_pretrained`) onto the base model."
    return [
        "## Prompt format",
        "",
        "The user's turn is the template below with the question in it, through the chat template "
        f"of the tokenizer. {use}",
        "",
        *system,
        *_quote(prompts.autonomous),
        "",
        "With solutions to check, as `--self-routes` shows the model its own:",
        "",
        *_quote(prompts.assisted),
    ]


def _quote(text: str) -> list[str]:
    # Four backticks: a template may hold a block of its own.
    return ["````text", text, "````"]


def _describe_data(run: Run) -> list[str]:
    splits = Counter(one.split for one in read_problems(run.path("problems.jsonl")))
    counts = ", ".join(f"{count:,} {split}" for split, count in splits.items())
    lines = ["## Data", "", f"Domain of kind `{run.config.domain.kind}`; problems: {counts}."]
    routes = read_routes(run.path("routes.jsonl")) if run.path("routes.jsonl").exists() else []
    by_source = Counter((one.source, one.guided) for one in routes)
    right = Counter((one.source, one.guided) for one in routes if one.correct)
    if by_source:
        lines += ["", "| source of chains | guided by the rules | chains | right |"]
        lines.append("|---|---|---|---|")
    for (source, guided), count in sorted(by_source.items()):
        share = right[source, guided] / count
        name = source.replace("|", "\\|")
        lines.append(f"| {name} | {'yes' if guided else 'no'} | {count:,} | {share:.1%} |")
    return lines


def _describe_results(run: Run) -> list[str]:
    try:
        results = read_results(run.folder)
    except RunError:
        return ["## Results", "", "The run has not been evaluated."]
    lines = [
        "## Results",
        "",
        "Accuracy in percent on held-out problems, greedy decoding, with 95% ",
    ]
    lines[-1] += "intervals."
    lines += ["", "| split | method | mode | problems | accuracy |", "|---|---|---|---|---|"]
    for split in results.splits:
        for row in sort_evaluations(results.list_rows(split)):
            if row.mode in ("autonomous", "assisted"):
                cells = [split, label(row), row.mode, f"{row.n:,}"]
                lines.append(f"| {' | '.join(cells)} | {with_interval(row.accuracy, row.ci95)} |")
    lines += ["", "`assisted`: the prompt shows chains by others, which the model checks first."]
    return lines


def _describe_how(run: Run) -> list[str]:
    manifest = run.manifest()
    versions = manifest.get("versions", {})
    names = ("realm-slm", "torch", "transformers", "trl", "peft")
    known = ", ".join(f"{name} {versions[name]}" for name in names if name in versions)
    commit = manifest.get("commit")
    made = f"Made with {known}" + (f" at commit {commit[:12]}" if commit else "") + "."
    # Defaults included: those of a later version may differ.
    settings = {key: value for key, value in run.config.dump().items() if key != "run"}
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    command = "Write this to `config.yaml` and run `realm run config.yaml`:"
    return ["## How to reproduce", "", command, "", "```yaml", text.rstrip(), "```", "", made]
