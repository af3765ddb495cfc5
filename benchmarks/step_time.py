"""How long does one training step take: prompts shared, in stock TRL, and in bfloat16?

    python benchmarks/step_time.py                                  the bundled model's shape
    python benchmarks/step_time.py --model 100m --shapes 220x40x4 --prompts 2 --repeats 3
    python benchmarks/step_time.py --shapes 300x80x8,1000x128x8 --engines shared,stock --memory

Hardware: any CPU, or one CUDA device with --device cuda. Two minutes with the defaults.

A shape is PxCxG: P prompt tokens, C completion tokens (all completions run to full length) and G
completions per prompt. Models have random weights. The engines, each also with "+bf16" (autocast):

    shared   a GRPO step of `SharedPrefixTrainer`
    stock    a GRPO step of TRL's `GRPOTrainer`
    sft      one pass of supervised training over as many rows of P + C tokens as there are prompts

All engines live in one process and take turns, so that a busy machine slows all alike. On the CPU
the clock counts processor seconds of this process, not wall time. Medians count, and the first
step of each engine does not. Peak memory (--memory) is measured in a process of its own per engine.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from statistics import median
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, PrinterCallback, Qwen2Config, Qwen2ForCausalLM
from trl import GRPOConfig, GRPOTrainer

from realm.core.terminal import quiet_libraries
from realm.prefix.trainer import SharedPrefixTrainer

ENGINES = ("shared", "shared+bf16", "stock", "stock+bf16", "sft", "sft+bf16")
MODELS = {
    "1m": {  # models/base-1m
        "vocab_size": 1792,
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
    },
    "100m": {
        "vocab_size": 32000,
        "hidden_size": 768,
        "intermediate_size": 2048,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "num_key_value_heads": 4,
    },
    "135m": {  # SmolLM2-135M
        "vocab_size": 49152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
    },
    "500m": {  # Qwen2.5-0.5B
        "vocab_size": 151936,
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
    },
}


class Shape(NamedTuple):
    """Tokens of a prompt and of a completion, completions per prompt, prompts of a step, and
    micro-batches of a step of stock TRL."""

    prompt: int
    completion: int
    group: int
    prompts: int
    parts: int


class Engine(NamedTuple):
    """A step, and the seconds of the generation in the last one."""

    run_step: Callable[[], None]
    generation: list[float]
    is_half: bool


def read_clock(device: str) -> float:
    """Return processor seconds of this process, or wall seconds on a GPU that has nothing to do."""
    if device == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def make_model(sizes: dict[str, int]) -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    tokens = {"pad_token_id": 0, "eos_token_id": 1}
    settings = {"max_position_embeddings": 8192, "tie_word_embeddings": True}
    return Qwen2ForCausalLM(Qwen2Config(**sizes, **settings, **tokens))


def make_tokenizer(vocab_size: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer for which "t7 t8" is two tokens."""
    words = {"pad": 0, "end": 1} | {f"t{number}": number for number in range(2, vocab_size)}
    backend = Tokenizer(models.WordLevel(words, unk_token="pad"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="end", pad_token="pad", unk_token="pad"
    )


def make_grpo(name: str, sizes: dict[str, int], shape: Shape, device: str) -> Engine:
    """Return an engine whose step is one optimizer step of GRPO, generation included."""
    draw = random.Random(0)
    prompts = [
        " ".join(f"t{draw.randrange(2, sizes['vocab_size'])}" for _ in range(shape.prompt))
        for _ in range(shape.prompts)
    ]
    is_shared = name.startswith("shared")
    parts = 1 if is_shared else shape.parts
    arguments = GRPOConfig(
        output_dir=tempfile.mkdtemp(), use_cpu=device == "cpu", bf16=False, learning_rate=1e-6,
        gradient_checkpointing=False, report_to="none", disable_tqdm=True, save_strategy="no",
        logging_strategy="no", shuffle_dataset=False, max_steps=1, beta=0.0, seed=0,
        per_device_train_batch_size=shape.prompts * shape.group // parts,
        gradient_accumulation_steps=parts, steps_per_generation=parts,
        num_generations=shape.group,
        max_completion_length=shape.completion, ddp_find_unused_parameters=False,
    )  # fmt: skip
    more = {"shared_prefix": "on"} if is_shared else {}
    trainer: Any = (SharedPrefixTrainer if is_shared else GRPOTrainer)(
        model=make_model(sizes),
        reward_funcs=lambda completion_ids, **_: [
            len(set(ids)) / len(ids) for ids in completion_ids
        ],
        args=arguments,
        # Under torchrun (see scaling.py) each process takes its own share of the rows.
        train_dataset=Dataset.from_dict({"prompt": prompts * arguments.world_size}),
        processing_class=make_tokenizer(sizes["vocab_size"]),
        **more,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.eos_token_ids = [-1]  # no token ends a completion
    trainer.generation_config.eos_token_id = trainer.generation_kwargs["eos_token_id"] = None
    # Accelerate's precision belongs to the process, so bf16 comes from an autocast around the
    # step, which the trainer does not know of: its check of the first batch would fail.
    trainer._is_checked = True
    generate = trainer._generate_single_turn
    generation: list[float] = []

    def timed(*args: Any, **kwargs: Any) -> Any:
        started = read_clock(device)
        found = generate(*args, **kwargs)
        generation.append(read_clock(device) - started)
        assert {len(ids) for ids in args[0]} == {shape.prompt}
        assert {len(ids) for ids in found[0]} == {shape.completion}
        return found

    trainer._generate_single_turn = timed
    return Engine(trainer.train, generation, name.endswith("bf16"))


def make_sft(name: str, sizes: dict[str, int], shape: Shape, device: str) -> Engine:
    """Return an engine whose step is one optimizer step on complete rows."""
    model = make_model(sizes).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
    width = shape.prompt + shape.completion
    rows = torch.randint(2, sizes["vocab_size"], (shape.prompts, width), device=device)
    generation: list[float] = []

    def run_step() -> None:
        generation.append(0.0)
        model(rows, labels=rows, use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return Engine(run_step, generation, name.endswith("bf16"))


def make_engine(name: str, model: str, shape: Shape, device: str) -> Engine:
    make = make_sft if name.startswith("sft") else make_grpo
    return make(name, MODELS[model], shape, device)


def autocast(engine: Engine, device: str) -> AbstractContextManager[Any]:
    return torch.autocast(device, torch.bfloat16, enabled=engine.is_half)


def time_engines(
    engines: dict[str, Engine], repeats: int, device: str
) -> dict[str, tuple[float, float]]:
    """Return the median seconds of a step and of its generation, by engine."""
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(repeats + 1):
        for name, engine in engines.items():
            with autocast(engine, device):
                started = read_clock(device)
                engine.run_step()
                seconds[name].append(read_clock(device) - started)
    return {
        name: (median(seconds[name][1:]), median(engine.generation[1:]))
        for name, engine in engines.items()
    }


def measure_peak(name: str, model: str, shape: Shape, device: str) -> float:
    """Return the peak memory in MB of two steps, measured in a process of its own."""
    asked = json.dumps([name, model, shape, device])
    command = [sys.executable, __file__, "--alone", asked]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def print_peak(name: str, model: str, shape: Shape, device: str) -> None:
    """Print the peak memory of two steps less what was in use before them (Linux or CUDA)."""
    # Warm up with a tiny step, so that lazy imports of libraries are not timed.
    make_engine(name, "1m", Shape(8, 2, 2, 1, 1), device).run_step()
    engine = make_engine(name, model, shape, device)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        with open("/proc/self/clear_refs", "w", encoding="utf-8") as file:
            file.write("5")  # the peak begins anew
        before = read_peak_of_process()
    with autocast(engine, device):
        engine.run_step()
        engine.run_step()
    after = torch.cuda.max_memory_allocated() if device == "cuda" else read_peak_of_process()
    print((after - before) / 2**20)


def read_peak_of_process() -> int:
    with open("/proc/self/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


def main() -> None:
    """Print a table, and all figures as one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=MODELS, default="1m", help="sizes of the model")
    parser.add_argument("--shapes", default="220x80x8", help="PxCxG, several after commas")
    parser.add_argument("--prompts", type=int, default=8, help="prompts of a step")
    parser.add_argument(
        "--parts", type=int, default=1, help="micro-batches of a step of stock TRL, to save memory"
    )
    parser.add_argument("--engines", default=",".join(ENGINES), help="which ones, after commas")
    parser.add_argument("--repeats", type=int, default=5, help="measured steps of each engine")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--memory", action="store_true", help="measure the peak memory as well")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    options = parser.parse_args()
    quiet_libraries()
    if options.alone:
        name, model, shape, device = json.loads(options.alone)
        print_peak(name, model, Shape(*shape), device)
        return
    print(f"{options.device}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
          f"model {options.model}, {options.prompts} prompts a step\n")  # fmt: skip
    print("| engine | P | C | G | step s | generating s | the rest s | peak MB |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    rows = []
    for text in options.shapes.split(","):
        shape = Shape(*map(int, text.split("x")), options.prompts, options.parts)
        names = options.engines.split(",")
        engines = {name: make_engine(name, options.model, shape, options.device) for name in names}
        for name, (step, generation) in time_engines(
            engines, options.repeats, options.device
        ).items():
            peak = "-"
            if options.memory:
                peak = f"{measure_peak(name, options.model, shape, options.device):.0f}"
            figures = f"{step:.3f} | {generation:.3f} | {step - generation:.3f} | {peak}"
            print(f"| {name} | {' | '.join(map(str, shape[:3]))} | {figures} |", flush=True)
            rows.append({"engine": name, **shape._asdict(), "step": step, "generation": generation})
    print(json.dumps({**vars(options), "rows": rows}))


if __name__ == "__main__":
    main()
