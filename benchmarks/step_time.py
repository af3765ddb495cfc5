"""Time and peak memory of a whole GRPO step: prompts shared, and stock TRL, in one run.

    python benchmarks/step_time.py --shapes 300x80x8,1000x128x8        tables, then one line of JSON
    python benchmarks/step_time.py --scaling                           over prompt length, group size and routes shown
    python benchmarks/step_time.py --device cuda                       Qwen2.5-0.5B's shape in bfloat16

A shape is PxCxG: prompt tokens, completion tokens (all completions run to full length) and completions a prompt. On the CPU the
model is a random Qwen2 of hidden size 128. Steps of both engines alternate and medians count; the first step of each is thrown
away. Peak memory is each engine's own, measured in a process of its own, less what that process held before training.
On a machine that others use too, set OMP_WAIT_POLICY=PASSIVE, as `realm` does: threads that spin while they wait cost seconds.
The floor is the arithmetic that the step needs, each prompt encoded once, at the rate of this machine's matrix products.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    PrinterCallback,
    Qwen2Config,
    Qwen2ForCausalLM,
    TrainerCallback,
)
from trl import GRPOConfig, GRPOTrainer

from realm.core.quiet import quiet_libraries
from realm.prefix.trainer import SharedPrefixTrainer

ENGINES = ("ours", "trl")
SMALL = {
    "vocab_size": 256,
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
}
QWEN_05B = {
    "vocab_size": 151936,
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
}
KEY_HEADS = {"cpu": 4, "cuda": 2}
QUESTION, ROUTE = 96, 96
"""Tokens of a prompt without routes, and of each route it shows."""


@dataclass(frozen=True)
class Shape:
    P: int
    C: int
    G: int
    prompts: int
    ragged: bool = False
    """Prompt lengths spread evenly over P minus a quarter to P plus a quarter."""

    def lengths(self) -> list[int]:
        if not self.ragged:
            return [self.P] * self.prompts
        spread = [2 * number / max(1, self.prompts - 1) - 1 for number in range(self.prompts)]
        return [round(self.P * (1 + place / 4)) for place in spread]


class Clock(TrainerCallback):
    """Seconds of the last whole step, and of the generation in it."""

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        self.begun = now()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.step = now() - self.begun


def now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def make_trainer(engine: str, shape: Shape, device: str) -> tuple[GRPOTrainer, Clock]:
    """Return a trainer of one step a call of `train`, and its clock."""
    quiet_libraries()
    sizes = SMALL if device == "cpu" else QWEN_05B
    torch.manual_seed(0)
    config = Qwen2Config(
        **sizes,
        num_key_value_heads=KEY_HEADS[device],
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        pad_token_id=0,
        eos_token_id=1,
    )
    model = Qwen2ForCausalLM(config).to(torch.float32 if device == "cpu" else torch.bfloat16)
    words = {"pad": 0, "end": 1} | {
        f"t{number}": number for number in range(2, sizes["vocab_size"])
    }
    backend = Tokenizer(models.WordLevel(words, unk_token="pad"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="end", pad_token="pad", unk_token="pad"
    )
    draw = random.Random(0)
    prompts = [
        " ".join(f"t{draw.randrange(2, sizes['vocab_size'])}" for _ in range(length))
        for length in shape.lengths()
    ]
    groups = shape.prompts if device == "cpu" else 1
    arguments = GRPOConfig(
        output_dir=tempfile.mkdtemp(), use_cpu=device == "cpu", bf16=device != "cpu", gradient_checkpointing=False,
        report_to="none", disable_tqdm=True, save_strategy="no", logging_strategy="no", shuffle_dataset=False, max_steps=1,
        per_device_train_batch_size=groups * shape.G, gradient_accumulation_steps=shape.prompts // groups,
        steps_per_generation=shape.prompts // groups, num_generations=shape.G, max_completion_length=shape.C, beta=0.0,
        learning_rate=1e-5, seed=0,
    )  # fmt: skip
    kind = GRPOTrainer if engine == "trl" else SharedPrefixTrainer
    clock = Clock()
    trainer = kind(
        model=model,
        reward_funcs=lambda completion_ids, **_: [
            len(set(ids)) / len(ids) for ids in completion_ids
        ],
        args=arguments,
        train_dataset=Dataset.from_dict({"prompt": prompts}),
        processing_class=tokenizer,
        callbacks=[clock],
        **({} if engine == "trl" else {"shared_prefix": "on"}),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.eos_token_ids = [-1]  # no token ends a completion
    trainer.generation_config.eos_token_id = trainer.generation_kwargs["eos_token_id"] = None
    generate = trainer._generate_single_turn

    def timed(*args: Any, **kwargs: Any) -> Any:
        begun = now()
        found = generate(*args, **kwargs)
        clock.generation = now() - begun
        assert {len(ids) for ids in args[0]} == set(shape.lengths())
        assert {len(ids) for ids in found[0]} == {shape.C}
        return found

    trainer._generate_single_turn = timed
    return trainer, clock


def time_steps(shape: Shape, device: str, repeats: int) -> dict[str, dict[str, float]]:
    """Return the median seconds of a step and of its generation, by engine."""
    made = {engine: make_trainer(engine, shape, device) for engine in ENGINES}
    seen: dict[str, list[tuple[float, float]]] = {engine: [] for engine in ENGINES}
    for _ in range(repeats + 1):
        for engine, (trainer, clock) in made.items():
            trainer.train()
            seen[engine].append((clock.step, clock.generation))
    return {
        engine: {
            "step": median(s for s, _ in times[1:]),
            "generation": median(g for _, g in times[1:]),
        }
        for engine, times in seen.items()
    }


def measure_alone(engine: str, shape: Shape, device: str) -> dict[str, float]:
    """Return the seconds of a second step and the peak memory of two, in MB, of this process.

    A small training before them loads what the libraries load on first use.
    """
    make_trainer(engine, Shape(P=8, C=2, G=2, prompts=1), device)[0].train()
    trainer, clock = make_trainer(engine, shape, device)
    before = forget_peak(device)
    trainer.train()
    trainer.train()
    return {"step": clock.step, "peak_mb": (peak(device) - before) / 2**20}


def forget_peak(device: str) -> int:
    """Let the peak begin anew, and return the memory in use."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    with open("/proc/self/clear_refs", "w", encoding="utf-8") as file:
        file.write("5")
    return peak(device)


def peak(device: str) -> int:
    """Return the most memory that was in use: on the CPU the resident memory of this process, as Linux tells it."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    with open("/proc/self/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


def in_own_process(engine: str, shape: Shape, device: str) -> dict[str, float]:
    command = [
        sys.executable,
        __file__,
        "--device",
        device,
        "--alone",
        json.dumps({"engine": engine, **asdict(shape)}),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def flops(shape: Shape, device: str) -> dict[str, float]:
    """Return the operations that generation and training need when each prompt is encoded once."""
    sizes = SMALL if device == "cpu" else QWEN_05B
    hidden, layers = sizes["hidden_size"], sizes["num_hidden_layers"]
    keys = hidden * KEY_HEADS[device] / sizes["num_attention_heads"]
    layer, read = (
        2 * (2 * hidden * hidden + 2 * hidden * keys + 3 * hidden * sizes["intermediate_size"]),
        4 * hidden * keys,
    )
    forward = 0.0
    for length in shape.lengths():
        fed = shape.G * (shape.C - 1)
        pairs = length * (length + 1) / 2 + fed * length + fed * shape.C / 2
        forward += (
            layers * (layer * (length + fed) + 4 * hidden * pairs)
            + 2 * hidden * sizes["vocab_size"] * shape.G * shape.C
        )
        forward -= (length - 1) * (
            layer - read + 4 * hidden * length / 2
        )  # only the keys and values of the last layer are read
    return {"generation": forward, "training": 3 * forward}


def matmul_rate(device: str) -> float:
    """Return the operations a second of this machine's best square matrix product."""
    kind, best = (torch.float32, 0.0) if device == "cpu" else (torch.bfloat16, 0.0)
    for size in (1024, 2048) if device == "cpu" else (4096, 8192):
        one, other = (
            torch.randn(size, size, device=device, dtype=kind),
            torch.nn.Linear(size, size, device=device, dtype=kind),
        )
        for _ in range(10):
            begun = now()
            with torch.no_grad():
                other(one)
            best = max(best, 2 * size**3 / (now() - begun))
    return best


def compare(shapes: list[Shape], device: str, repeats: int) -> list[dict[str, float]]:
    """Measure and print both engines at each shape, and return the rows of the last line."""
    rate = matmul_rate(device)
    waiting = os.environ.get("OMP_WAIT_POLICY", "not set")
    print(
        f"\n{device}, {torch.get_num_threads()} threads, OMP_WAIT_POLICY {waiting}, torch {torch.__version__}"
    )
    print(f"matrix products {rate / 1e9:.0f} GFLOP/s, {shapes[0].prompts} prompts a step\n")
    print("| P | C | G | ours s | generating | TRL s | generating | speedup | training alone | floor s | ours/floor"
          " | MFU of training | ours MB | TRL MB |")  # fmt: skip
    print("|" + "--:|" * 14)
    rows = []
    for shape in shapes:
        times, needed = time_steps(shape, device, repeats), flops(shape, device)
        peaks = {engine: in_own_process(engine, shape, device)["peak_mb"] for engine in ENGINES}
        ours, trl = times["ours"], times["trl"]
        training = {
            engine: times[engine]["step"] - times[engine]["generation"] for engine in ENGINES
        }
        floor = sum(needed.values()) / rate
        cells = [f"{shape.P}{' ragged' * shape.ragged}", shape.C, shape.G]
        cells += [
            f"{times[engine][part]:.2f}" for engine in ENGINES for part in ("step", "generation")
        ]
        cells += [f"{trl['step'] / ours['step']:.2f}", f"{training['trl'] / training['ours']:.2f}"]
        cells += [
            f"{floor:.2f}",
            f"{ours['step'] / floor:.1f}",
            f"{needed['training'] / training['ours'] / rate:.0%}",
        ]
        cells += [f"{peaks[engine]:.0f}" for engine in ENGINES]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)
        rows.append(
            {"P": shape.P, "C": shape.C, "G": shape.G, "ours_s": round(ours["step"], 3), "trl_s": round(trl["step"], 3),
             "speedup": round(trl["step"] / ours["step"], 2), "ours_peak_mb": round(peaks["ours"]),
             "trl_peak_mb": round(peaks["trl"]), "floor_s": round(floor, 3)}
        )  # fmt: skip
    return rows


def scale(device: str) -> None:
    """Measure and print both engines over prompt length, group size and the number of routes shown."""
    base = Shape(P=512, C=64, G=8, prompts=1)
    series = {
        "P": [replace(base, P=length) for length in (256, 512, 1024, 2048, 4096)],
        "G": [replace(base, P=2048, G=size) for size in (4, 8, 16, 32)],
        "K": [replace(base, P=QUESTION + ROUTE * routes) for routes in (0, 2, 4, 8)],
    }
    for name, shapes in series.items():
        print(
            f"\n| {name} | P | C | G | P + GC | ours s | TRL s | ours MB | TRL MB |\n|" + "--:|" * 9
        )
        for shape in shapes:
            found = {engine: in_own_process(engine, shape, device) for engine in ENGINES}
            first = (shape.P - QUESTION) // ROUTE if name == "K" else getattr(shape, name)
            print(
                f"| {first} | {shape.P} | {shape.C} | {shape.G} | {shape.P + shape.G * shape.C} "
                f"| {found['ours']['step']:.2f} | {found['trl']['step']:.2f} "
                f"| {found['ours']['peak_mb']:.0f} | {found['trl']['peak_mb']:.0f} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--shapes",
        default=None,
        help="PxCxG,...; an r after it (300x80x8r) makes the prompts differ in length",
    )
    parser.add_argument("--prompts", type=int, default=8, help="prompts a step")
    parser.add_argument("--repeats", type=int, default=3, help="measured steps of each engine")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--scaling", action="store_true", help="also over prompt length, group size and routes"
    )
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.alone:
        asked = json.loads(said.alone)
        print(json.dumps(measure_alone(asked.pop("engine"), Shape(**asked), said.device)))
        return
    texts = (
        said.shapes or ("300x80x8,1000x128x8,16x80x8" if said.device == "cpu" else "2048x256x8")
    ).split(",")
    shapes = [
        Shape(
            *map(int, text.removesuffix("r").split("x")),
            prompts=said.prompts,
            ragged=text.endswith("r"),
        )
        for text in texts
    ]
    rows = compare(shapes, said.device, said.repeats)
    if said.scaling:
        scale(said.device)
    print(json.dumps({"device": said.device, "shapes": rows}))


if __name__ == "__main__":
    main()
