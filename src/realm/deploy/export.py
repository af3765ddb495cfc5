"""`realm export`: a trained model as a folder of its own, and a check that it answers as before."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realm.core.errors import ModelError, RunError
from realm.core.jsonl import read_problems, write_json, write_text
from realm.core.records import RouteSet
from realm.deploy.card import find_outdated_training, write_card
from realm.deploy.gguf import write_gguf
from realm.deploy.student import PROMPTS_FILE, find_model_and_prompts
from realm.method.prompt import render_prompt
from realm.verify.judge import judge_all

if TYPE_CHECKING:
    from realm.core.records import Judged, Problem
    from realm.run import Run

logger = logging.getLogger(__name__)

_NOT_OF_THE_MODEL = {"README.md", "training_args.bin"}
"""Files of a model folder that an export leaves out; the card is written anew."""


@dataclass(frozen=True, kw_only=True)
class AnswerCheck:
    """How the answers of an exported model compare with those of the run's model.

    Example: `AnswerCheck(name="model", asked=50, same_texts=50, same_answers=50, right_before=41,
    right_after=41)`.
    """

    name: str
    """What was exported: `model`, `adapter`, or the name of the GGUF file."""
    asked: int
    same_texts: int
    """Number of completions that are equal to the letter."""
    same_answers: int
    right_before: int
    right_after: int

    def describe(self) -> str:
        """Return the comparison in one sentence."""
        return (
            f"{self.name}: {self.same_answers} of {self.asked} answers are the same "
            f"({self.same_texts} completions to the letter); right before the export: "
            f"{self.right_before}, after it: {self.right_after}"
        )


def export_run(
    run: Run,
    target: Path,
    *,
    only_adapter: bool = False,
    gguf: str | None = None,
    num_checked: int = 50,
) -> list[AnswerCheck]:
    """Write the model of a run to a new folder, with its prompts and a card, and check its answers.

    Args:
        run: A run with a trained model.
        target: The folder; it must be empty or not exist.
        only_adapter: Write the LoRA adapter alone, for the base model.
        gguf: A GGUF type such as "q8_0": write a GGUF file beside the weights.
        num_checked: How many test problems the model is asked before and after; 0: none.

    Raises:
        RunError: The run has no model or no adapter, or `target` holds files.
        ModelError: The model cannot be written in this form.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RunError(f"{target}: is there already. Choose another folder with --to.")
    source = Path(find_model_and_prompts(str(run.folder))[0])
    if outdated := find_outdated_training(run):
        logger.warning(
            f"{run.folder}: {', '.join(outdated)}: the settings and data of the run cannot be "
            "matched with the training of this model. Its results may be of problems that it was "
            "trained on. `realm run` trains it anew."
        )
    # Written beside its place and renamed, so that a kill leaves no folder that looks complete.
    part = target.absolute().with_name(f".{target.absolute().name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        if only_adapter:
            _write_adapter(run, source, part)
        else:
            for path in source.iterdir():
                if path.is_file() and path.name not in _NOT_OF_THE_MODEL:
                    shutil.copy2(path, part)
        write_json(part / PROMPTS_FILE, run.config.prompt.model_dump())
        file = part / f"{target.absolute().name}-{gguf.lower()}.gguf" if gguf else None
        if gguf and file:
            write_gguf(source, file, gguf.lower())
        checks = _check_answers(run, source, part, file, num_checked) if num_checked else []
        card = write_card(run, source, is_adapter=only_adapter, gguf=file.name if file else None)
        said = [f"- {check.describe()}" for check in checks]
        if said:
            card += "\n".join(["", "## Answers before and after the export", "", *said, ""])
        write_text(part / "README.md", card)
        if target.exists():
            target.rmdir()
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return checks


def _write_adapter(run: Run, source: Path, folder: Path) -> None:
    """Write the adapter that turns the base model into the run's model.

    Reinforcement learning trains an adapter of the distilled model, so that the two add up.
    """
    parts = [run.path("distilled/adapter"), run.path("model/adapter")]
    if run.config.recipe == "zero" or source.name == "distilled":
        parts = [source / "adapter"]
    if missing := [path for path in parts if not path.is_dir()]:
        raise RunError(
            f"{missing[0]}: there is no such adapter: without train.lora all weights are trained. "
            "Export the merged weights, without --adapter."
        )
    if run.config.rounds > 1:
        raise RunError(
            f"{run.folder}: the rounds of this run trained an adapter each. Export the merged "
            "weights, without --adapter."
        )
    from peft import PeftModel

    from realm.checkpoint import load_checkpoint

    base = run.config.resolve_model()
    model, tokenizer = load_checkpoint(base)
    adapted: Any = PeftModel.from_pretrained(model, parts[0], adapter_name="first")
    name = "first"
    if len(parts) > 1:
        adapted.load_adapter(parts[1], adapter_name="second")
        name = "sum"
        try:
            adapted.add_weighted_adapter(
                ["first", "second"], [1.0, 1.0], name, combination_type="cat"
            )
        except ValueError as error:
            raise ModelError(
                f"{source}: the adapters of the two trainings do not add up ({error}). Export the "
                "merged weights, without --adapter."
            ) from error
    adapted.peft_config[name].base_model_name_or_path = base
    adapted.save_pretrained(folder, selected_adapters=[name])
    # PEFT puts an adapter that is not called "default" into a folder of its name.
    for path in (folder / name).iterdir():
        path.rename(folder / path.name)
    (folder / name).rmdir()
    tokenizer.save_pretrained(folder)


def _check_answers(
    run: Run, source: Path, folder: Path, gguf: Path | None, num_checked: int
) -> list[AnswerCheck]:
    """Ask the run's model and what was exported the same problems, and compare the answers."""
    problems = [one for one in read_problems(run.path("problems.jsonl")) if one.split == "test"]
    problems = problems[:num_checked]
    before = _answer(run, source, problems)
    with tempfile.TemporaryDirectory() as work:
        exported = {"model": folder}
        if (folder / "adapter_config.json").exists():
            exported = {"adapter": _merge_adapter(run, folder, Path(work) / "merged")}
        if gguf:
            # A link, since reading a GGUF file writes a converted copy beside it.
            link = Path(work) / gguf.name
            link.symlink_to(gguf.absolute())
            exported[gguf.name] = link
        return [
            _compare(run, name, before, _answer(run, model, problems))
            for name, model in exported.items()
        ]


def _merge_adapter(run: Run, adapter: Path, folder: Path) -> Path:
    from peft import PeftModel

    from realm.checkpoint import load_checkpoint

    model, tokenizer = load_checkpoint(run.config.resolve_model())
    merged: Any = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    merged.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _answer(run: Run, model: Path, problems: Sequence[Problem]) -> list[Judged]:
    """Return the judged greedy answers of a model, without routes."""
    from realm.policy import Policy

    prompts, settings = run.config.prompt, run.config.evaluate
    logger.info("export   asking %s %d problems", model.name, len(problems))
    policy = Policy(model, keep=[prompts.think_end] if prompts.think_end else [])
    texts = [
        render_prompt(one.question, RouteSet(problem_id=one.id), autonomous=prompts.autonomous)
        for one in problems
    ]
    completions = policy.generate(
        [policy.render(text, prompts.system) for text in texts],
        max_new_tokens=settings.max_new_tokens,
        batch_tokens=settings.batch_tokens,
        seed=run.config.seed,
    )
    return judge_all(
        [completion.text for completion in completions],
        golds=[one.answer for one in problems],
        verifier=run.domain.verifier,
        think_end=prompts.think_end,
    )


def _compare(run: Run, name: str, before: Sequence[Judged], after: Sequence[Judged]) -> AnswerCheck:
    pairs = list(zip(before, after, strict=True))
    return AnswerCheck(
        name=name,
        asked=len(pairs),
        same_texts=sum(one.text == other.text for one, other in pairs),
        same_answers=sum(one.answer == other.answer for one, other in pairs),
        right_before=sum(one.correct is True for one in before),
        right_after=sum(one.correct is True for one in after),
    )


@contextmanager
def hub_repository(name: str) -> Iterator[Any]:
    """Yield a function that uploads a folder to a private repository of the hub.

    Entered before the export, so that a missing token shows first.

    Raises:
        RunError: The hub refuses it, or cannot be reached.
    """
    from huggingface_hub import HfApi

    api = HfApi()

    def upload(folder: Path) -> str:
        return str(api.upload_folder(folder_path=folder, repo_id=name))

    try:
        # Private: what a run was trained on may not be meant for everybody.
        api.create_repo(name, private=True, exist_ok=True)
        yield upload
    except (OSError, ValueError) as error:  # of huggingface_hub and its HTTP client
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RunError(
            f"--push-to-hub {name}: {reason}. Give OWNER/NAME, and put a token that may write into "
            "HF_TOKEN."
        ) from error
