"""The Python API on bundled data: a domain, a reward term, a short training, the results.

    python examples/quickstart.py [RUN_FOLDER]

It takes less than a minute on two CPU cores. Two dozen problems and a few steps show how the parts
fit together; they teach the bundled model nothing.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import realm

EXAMPLES = Path(__file__).parent
DATA = EXAMPLES / "own_domain"
SETTINGS = {
    "model": "../../models/base-1m",
    "prompt.autonomous": "{question}",
    "prompt.assisted": "{question}\n{routes}\nJudge each route, then solve.",
    "routes.max_chars": 150,
    "distill.sft": {"max_steps": 4, "per_device_train_batch_size": 4, "learning_rate": 1e-3},
    "train.grpo": {
        "max_steps": 2,
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "max_completion_length": 48,
    },
    "train.headroom": {"problems": 2, "samples": 2},
    "evaluate.max_new_tokens": 48,
}


class ReturnDesk(realm.Domain):
    """The return desk of a shop: refund, credit, repair or refuse."""

    rules = (DATA / "rules.md").read_text(encoding="utf-8")
    verifier = realm.Verifier("label")

    def problems(self, seed: int) -> list[realm.Problem]:
        columns = {"answer": "decision", "split": "split"}
        return realm.read_problems(DATA / "problems.csv", seed=seed, columns=columns)


def brevity(judged: realm.Judged) -> float | None:
    """Return a small reward for a right answer in few words."""
    return max(0.0, 1 - judged.num_tokens / 300) if judged.correct else 0.0


def main(folder: str = "runs/quickstart") -> None:
    """Run all stages and print what training changed."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("realm").setLevel(logging.INFO)
    config = realm.load_config(DATA / "config.yaml", SETTINGS)
    run = realm.Run(folder, config, domain=ReturnDesk(), reward_terms={"brevity": (0.1, brevity)})
    run.data()
    run.routes()
    run.distill()
    run.train()
    results = run.evaluate()
    print(results.difference("realm", "distilled", mode="autonomous"))


if __name__ == "__main__":
    main(*sys.argv[1:])
