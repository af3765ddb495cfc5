"""Make the bundled model: train its tokenizer, pretrain it on generated text, write a checkpoint.

    python pretrain/train.py --out models/base-1m

Hardware: two CPU cores need about 25 minutes with the defaults; a GPU is used if there is one.

The result is a plain Transformers checkpoint of the Qwen2 architecture. `corpus.py` generates all
text that it reads. The commands that made the bundled model are in models/base-1m/README.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import platform
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
from corpus import (
    WORDS,
    drill_arithmetic,
    drill_chain,
    drill_check,
    drill_copy,
    drill_lookup,
    drill_reading,
    drill_total,
    examples,
    judge_office,
    known_offices,
    solve_office,
)

SPECIAL = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
TAGS = [
    "<verify>",
    "</verify>",
    "<reason>",
    "</reason>",
    "<answer>",
    "</answer>",
    "</route>",
    *(f"<route {n}>" for n in range(1, 9)),
    *(f"[{n}]" for n in range(1, 25)),
]
CHAT = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
VOCABULARY = 1792
CONTEXT = 4096

Pairs = list[tuple[torch.Tensor, torch.Tensor]]
"""Input ids and labels (rows, longest) of one step, in four parts."""


def train_tokenizer(seed: int) -> Qwen2Tokenizer:
    """Return a byte-level BPE tokenizer with one token per number up to 99 and per common word.

    Transformers reads every Qwen2 checkpoint with Qwen2's own splitting, which takes digits one by
    one. So numbers are added tokens, with and without the space before them.
    """
    bare = Qwen2Tokenizer(vocab={}, merges=[])
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = bare.backend_tokenizer.pre_tokenizer
    numbers = [*(f" {n}" for n in range(100)), *(f"{n}" for n in range(10, 100))]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL) - len(TAGS) - len(numbers),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    text = [
        f"{prompt}\n{completion}"
        for prompt, completion in itertools.islice(
            examples(seed, 0.5, known=known_offices(seed)), 4000
        )
    ]
    text += [f" {word}" * 2000 + f"\n{word}" * 2000 for word in WORDS]
    tokenizer.train_from_iterator(text, trainer)
    trained = json.loads(tokenizer.to_str())["model"]
    fast = Qwen2Tokenizer(
        vocab=trained["vocab"], merges=[tuple(pair) for pair in trained["merges"]],
        unk_token=SPECIAL[0], pad_token=SPECIAL[0], eos_token=SPECIAL[1],
        extra_special_tokens=SPECIAL[2:], model_max_length=CONTEXT,
    )  # fmt: skip
    fast.add_tokens([AddedToken(text, normalized=False) for text in [*TAGS, *numbers]])
    fast.chat_template = CHAT
    split = [
        word
        for word in [*WORDS, *map(str, range(100))]
        if len(fast(f" {word}").input_ids) + len(fast(word).input_ids) != 2
    ]
    assert split == ["x-ray"] and len(fast) <= VOCABULARY, (split, len(fast))
    return fast


def build_model(tokenizer: Qwen2Tokenizer, layers: int) -> Qwen2ForCausalLM:
    """Return an untrained Qwen2: about one million parameters with four layers."""
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=VOCABULARY, hidden_size=128, intermediate_size=384, num_hidden_layers=layers,
            num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=CONTEXT,
            tie_word_embeddings=True, rope_theta=10000.0, initializer_range=0.05,
            pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
        )
    )  # fmt: skip


def encode(
    tokenizer: Qwen2Tokenizer, prompt: str, completion: str, *, learn_routes: bool
) -> tuple[list[int], int]:
    """Return the token ids of one conversation, and where those begin that are learned.

    That is the completion. With `learn_routes` it is the first route of the prompt: who can tell
    the next step of a route sees where a step is another one.
    """
    start = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], add_generation_prompt=True, tokenize=False
    )
    prompt_ids = tokenizer(start).input_ids
    ids = prompt_ids + tokenizer(completion + "<|end|>").input_ids
    first_route = tokenizer.convert_tokens_to_ids("<route 1>")
    if learn_routes and first_route in prompt_ids:
        return ids, prompt_ids.index(first_route)
    return ids, len(prompt_ids)


class Batches(IterableDataset):
    """Batches of generated text, as `make_batches` yields them. Workers draw texts of their own."""

    def __init__(
        self,
        tokenizer: Qwen2Tokenizer,
        seed: int,
        tokens: int,
        drills: float,
        *,
        learn_routes: bool,
        **text: Any,
    ) -> None:
        """Take the seed of the draws, the tokens of a step, and what `examples` takes."""
        self.tokenizer, self.seed, self.tokens = tokenizer, seed, tokens
        self.drills, self.learn_routes, self.text = drills, learn_routes, text

    def __iter__(self) -> Iterator[Pairs]:
        """Yield batches without end."""
        worker = get_worker_info()
        seed = f"{self.seed}:{worker.id if worker else 0}"
        text = examples(seed, self.drills, **self.text)
        return make_batches(self.tokenizer, text, seed, self.tokens, learn_routes=self.learn_routes)


def make_batches(
    tokenizer: Qwen2Tokenizer,
    text: Iterator[tuple[str, str]],
    seed: str,
    tokens: int,
    *,
    learn_routes: bool,
) -> Iterator[Pairs]:
    """Yield lists of four pairs of input ids and labels (rows, longest), padded on the right.

    The rows of a pair have nearly the same length, so almost nothing is padding. Length tells the
    task, so a step takes four pairs of different lengths. With one pair per step the model would
    swing from task to task and learn none. The four have about `tokens` tokens together.
    """
    rng = random.Random(seed)
    while True:
        rows = sorted(
            (encode(tokenizer, *next(text), learn_routes=learn_routes) for _ in range(3000)),
            key=lambda row: len(row[0]),
        )
        groups: list[list] = [[]]
        for row in rows:
            if (len(groups[-1]) + 1) * len(row[0]) > tokens / 4:
                groups.append([])
            groups[-1].append(row)
        rng.shuffle(groups)
        pairs = []
        for group in groups:
            width = max(len(ids) for ids, _ in group)
            ids = torch.tensor(
                [ids + [tokenizer.pad_token_id] * (width - len(ids)) for ids, _ in group]
            )
            labels = torch.tensor(
                [[-100] * start + ids[start:] + [-100] * (width - len(ids)) for ids, start in group]
            )
            pairs.append((ids, labels))
            if len(pairs) == 4:
                yield pairs
                pairs = []


def compute_loss(model: Qwen2ForCausalLM, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the summed cross-entropy of completion tokens. Only those go through the head."""
    hidden = model.model(input_ids=ids).last_hidden_state[:, :-1]
    wanted = labels[:, 1:] != -100
    return cross_entropy(
        model.lm_head(hidden[wanted]).float(), labels[:, 1:][wanted], reduction="sum"
    )


def scale_learning_rate(step: int, progress: float) -> float:
    """Return the share of the peak: 50 steps of warm-up, then flat, then linearly down to 2%.

    The fall takes the last 35% of the training, whose `progress` goes from 0 to 1.
    """
    fall = min(1.0, (1 - progress) / 0.35)
    return min(1.0, (step + 1) / 50) * max(0.02, fall)


@torch.no_grad()
def measure_accuracy(
    model: Qwen2ForCausalLM, tokenizer: Qwen2Tokenizer, seed: int, count: int = 200
) -> dict[str, float]:
    """Return greedy accuracy on drills, on new cases of little offices, and on their verdicts."""
    rng = random.Random(f"measure:{seed}")
    known = known_offices(seed)
    model.eval()
    drills = [
        drill_arithmetic,
        drill_chain,
        drill_total,
        drill_lookup,
        drill_reading,
        drill_copy,
        drill_check,
    ]
    sets = {
        drill.__name__.removeprefix("drill_"): [drill(rng) for _ in range(count)]
        for drill in drills
    }
    sets |= {
        name: [task(rng, known) for _ in range(count)]
        for name, task in (("solve", solve_office), ("judge", judge_office))
    }
    figures = {}
    for name, pairs in sets.items():
        said = []
        for start in range(0, len(pairs), 50):
            chunk = [
                tokenizer.apply_chat_template(
                    [{"role": "user", "content": prompt}],
                    add_generation_prompt=True,
                    tokenize=False,
                )
                for prompt, _ in pairs[start : start + 50]
            ]
            inputs = tokenizer(
                chunk,
                return_tensors="pt",
                padding=True,
                padding_side="left",
                return_token_type_ids=False,
            ).to(model.device)
            out = model.generate(**inputs, max_new_tokens=300, do_sample=False)
            said += tokenizer.batch_decode(
                out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
            )
        gold = [completion for _, completion in pairs]
        figures[name] = sum(
            a.split("<answer>")[-1] == b.split("<answer>")[-1]
            for a, b in zip(said, gold, strict=True)
        ) / len(pairs)
        if name == "judge":
            lines = [
                (a, b)
                for x, y in zip(said, gold, strict=True)
                for a, b in itertools.zip_longest(x.split("\n"), y.split("\n"))
                if b and b.startswith("Route")
            ]
            for verdict in ("sound", "flawed"):
                of_class = [a for a, b in lines if b.endswith(verdict)]
                figures[verdict] = sum(bool(a) and a.endswith(verdict) for a in of_class) / len(
                    of_class
                )
    model.train()
    return figures


def load_batches(args: argparse.Namespace, tokenizer: Qwen2Tokenizer) -> Iterator[Pairs]:
    """Yield the batches of the whole training: of drills alone, then of all text."""
    known = known_offices(args.offices)
    drills = Batches(
        tokenizer,
        args.seed + 10,
        args.tokens // 2,
        1.0,
        known=known,
        learn_routes=args.learn_routes,
    )
    text = {"known": known, "counting": args.counting, "learn_routes": args.learn_routes}
    mixed = Batches(tokenizer, args.seed + 20, args.tokens, args.drills, **text)
    for batches, steps in ((drills, args.drill_steps), (mixed, args.steps)):
        loader = DataLoader(batches, batch_size=None, num_workers=args.workers)
        yield from itertools.islice(loader, steps)


def main() -> None:
    """Train on drills, then on drills and cases of little offices, and write the checkpoint."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument(
        "--start",
        type=Path,
        help="continue from this checkpoint with a new optimizer and new text",
    )
    parser.add_argument(
        "--drill-steps",
        type=int,
        default=1200,
        help="first steps of drills alone, of half as many tokens",
    )
    parser.add_argument(
        "--steps", type=int, default=1300, help="steps of drills and little offices, --tokens each"
    )
    parser.add_argument("--tokens", type=int, default=9000, help="tokens of a step")
    parser.add_argument(
        "--drills", type=float, default=0.45, help="share of drills after the steps of drills alone"
    )
    parser.add_argument(
        "--counting",
        type=int,
        default=1,
        help="how many times as often as usual the drills are arithmetic",
    )
    parser.add_argument(
        "--learn-routes", action="store_true", help="learn the routes of prompts as well"
    )
    parser.add_argument("--lr", type=float, default=4e-3, help="peak learning rate of Muon")
    parser.add_argument("--layers", type=int, default=4, help="layers of a new model")
    parser.add_argument(
        "--seconds",
        type=float,
        default=math.inf,
        help="end after so many seconds; the learning rate then follows the time",
    )
    parser.add_argument(
        "--workers", type=int, default=0, help="processes that write text, for a fast GPU"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the text and the weights")
    parser.add_argument("--offices", type=int, default=0, help="seed of the offices to remember")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    started = time.time()
    if args.start:
        tokenizer = AutoTokenizer.from_pretrained(args.start, trust_remote_code=False)
        model = Qwen2ForCausalLM.from_pretrained(args.start)
    else:
        tokenizer = train_tokenizer(args.seed)
        model = build_model(tokenizer, args.layers)
    model.to(args.device).train()
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if not any(p is matrix for matrix in matrices)]
    optimizers = [
        torch.optim.Muon(matrices, lr=args.lr, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=args.lr / 2, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    seen, losses = 0, []
    total = args.drill_steps + args.steps
    for step, pairs in enumerate(load_batches(args, tokenizer)):
        spent = (time.time() - started) / args.seconds
        if spent >= 1:
            break
        for optimizer in optimizers:
            share = scale_learning_rate(step, max(step / total, spent))
            optimizer.param_groups[0]["lr"] = optimizer.defaults["lr"] * share
        count, loss = sum(int((labels != -100).sum()) for _, labels in pairs), 0.0
        for ids, labels in pairs:
            part = compute_loss(model, ids.to(args.device), labels.to(args.device)) / count
            part.backward()
            loss += part.item()
            seen += ids.numel()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        losses.append(loss)
        if (step + 1) % 20 == 0:
            mean, seconds = sum(losses[-20:]) / 20, time.time() - started
            print(
                f"step {step + 1} loss {mean:.4f} tokens {seen:,} "
                f"{seen / seconds:,.0f} tokens/s {seconds:.0f}s",
                flush=True,
            )
            assert math.isfinite(mean), "the loss is not finite"
    save_model(args, model, tokenizer, len(losses), seen, time.time() - started)


def save_model(
    args: argparse.Namespace,
    model: Qwen2ForCausalLM,
    tokenizer: Qwen2Tokenizer,
    steps: int,
    seen: int,
    seconds: float,
) -> None:
    """Write the checkpoint and training.json: how it was made, and what it can do."""
    model.save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)
    figures = measure_accuracy(
        model, AutoTokenizer.from_pretrained(args.out, trust_remote_code=False), args.offices
    )
    before = json.loads((args.start / "training.json").read_text())["runs"] if args.start else []
    run = {
        "command": " ".join(["python", "pretrain/train.py", *sys.argv[1:]]),
        "seed": args.seed,
        "steps": steps,
        "tokens": seen,
        "minutes": round(seconds / 60, 1),
        "machine": f"{args.device}, {platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__.split("+")[0],
    }
    accuracy = {name: round(value, 3) for name, value in figures.items()}
    record = {"runs": [*before, run], "parameters": model.num_parameters(), "accuracy": accuracy}
    (args.out / "training.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
