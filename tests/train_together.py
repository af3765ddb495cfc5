"""Train runs of tests/tiny_rl.py with rollouts that depend on nothing but prompt, row and step.

    python tests/train_together.py FOLDER SETTINGS [fsdp2]

in one process or under `torchrun`. SETTINGS are JSON: the config's sections of each run by its
name. A run with a section `distill` is distilled, the others are trained. The prompts of each step
of training, in the order of all processes, go to FOLDER/NAME/prompts.jsonl. With KILL_AT in the
environment, process 1 kills itself at this step.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.state import DistributedType, PartialState
from accelerate.utils import gather_object

from realm.config import load_config
from realm.core.jsonl import append_jsonl
from realm.core.ranks import run_on_main
from realm.prefix.trainer import SharedPrefixTrainer
from realm.run import Run
from realm.train import rl
from tiny_rl import make_config, make_run


def write_completion(prompt: str, row: int, step: int) -> str:
    """Return a well-formed completion, right or wrong, that is the same in any number of processes.

    The prompt asks how many of nine are left.
    """
    digest = hashlib.sha256(repr((prompt, row, step)).encode()).digest()
    paid = re.search(r"Ann pays (\d) of 9", prompt)
    assert paid is not None
    verdicts = [("sound", "flawed")[byte % 2] for byte in digest[: prompt.count("<route ")]]
    lines = [f"Route {number}: {verdict}" for number, verdict in enumerate(verdicts, 1)]
    verified = "\n".join(["<verify>", *lines, "</verify>", ""]) if lines else ""
    answer = 9 - int(paid[1]) if digest[-1] % 2 else digest[-2] % 10
    return f"{verified}<reason>{digest[:4].hex()}</reason>\n<answer>{answer}</answer>"


def generate(self: Any, prompt_ids: list[list[int]], *_: Any, **__: Any) -> Any:
    """Stand in for the rollouts of `SharedPrefixTrainer`."""
    self._check_once(prompt_ids)
    offset, step = self.accelerator.process_index * len(prompt_ids), self.state.global_step
    tokenizer, completions = self.processing_class, []
    for row, ids in enumerate(prompt_ids, offset):
        text = write_completion(tokenizer.decode(ids), row, step)
        completions.append([*tokenizer(text)["input_ids"], tokenizer.eos_token_id])
    return completions, None


def spy_on_prompts(trainer: Any, inputs: Any) -> Any:
    """Write the rows as usual, and the prompts of all processes to a file of the run."""
    rows = trainer.write_rows(inputs)
    prompts = gather_object([row["prompt"] for row in rows])
    is_main = trainer.accelerator.is_main_process
    if str(trainer.state.global_step) == os.environ.get("KILL_AT") and not is_main:
        os.kill(os.getpid(), signal.SIGKILL)
    if is_main:
        path = Path(trainer.args.output_dir).parents[1] / "prompts.jsonl"
        with append_jsonl(path) as append:
            append({"step": trainer.state.global_step, "prompts": prompts})
    return rows


def write_run(folder: Path, name: str, sections: dict[str, Any]) -> None:
    make_run(folder, make_config(folder, **sections), name=name)


def train_together(folder: Path, settings: dict[str, dict[str, Any]]) -> None:
    """Train the model in FOLDER/model once for each of the settings."""
    rl.ReaLMTrainer.write_rows = rl.ReaLMTrainer._write_rows
    rl.ReaLMTrainer._write_rows = spy_on_prompts
    SharedPrefixTrainer._generate_single_turn = generate
    for name, sections in settings.items():
        run_on_main(partial(write_run, folder, name, sections))
        run = Run(folder / name, load_config(folder / "small.yaml"))
        stage = "distill" if "distill" in sections else "train"
        with run.recording(stage):
            run.call_stage(stage)


def use_fsdp2_on_cpu() -> None:
    """Let Accelerate shard weights on a CPU, which it does on GPUs only."""
    os.environ |= {
        "ACCELERATE_TORCH_DEVICE": "cpu",
        "ACCELERATE_USE_FSDP": "true",
        "FSDP_VERSION": "2",
        "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
        "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
    }
    torch.distributed.init_process_group("gloo")
    PartialState._prepare_backend = lambda self, *_, **__: ("gloo", DistributedType.MULTI_GPU)


if __name__ == "__main__":
    if sys.argv[3:] == ["fsdp2"]:
        use_fsdp2_on_cpu()
    train_together(Path(sys.argv[1]), json.loads(sys.argv[2]))
