"""RFT, rejection-sampling fine-tuning (Yuan et al., arXiv 2308.01825): train the student on its own right chains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from realm.baselines.further import rollouts_of, train_further
from realm.evaluate.ask import Asked, ask_about, ask_all
from realm.train.rl import select_rl_problems

if TYPE_CHECKING:
    from realm.run import Run


def run_rft(run: Run) -> None:
    """Sample RUN/distilled as often as ReaLM does, train it on its own right chains, and write RUN/model."""
    config = run.config
    problems, rollouts = select_rl_problems(run), rollouts_of(run)
    num_samples = max(1, rollouts // len(problems))
    asked = [ask_about(problem, config) for problem in problems[:rollouts]]
    rows = ask_all(
        str(run.path("distilled")),
        asked,
        run.work("rft") / "samples.jsonl",
        config=config,
        domain=run.domain,
        description="rft: sampling the student",
        num_samples=num_samples,
        temperature=config.train.grpo.get("temperature", 1.0),
    )
    right = right_chains(rows, asked)
    print(
        f"RFT: {len(rows)} samples of {len(asked)} problems; {len(right)} right, well-formed and distinct ones are taught."
    )
    run.record_figures({"rollouts": len(rows), "right": len(right)})
    train_further(run, "rft", right, "rejection-sampling fine-tuning (arXiv 2308.01825)")


def right_chains(rows: Sequence[Mapping[str, Any]], asked: Sequence[Asked]) -> list[dict[str, Any]]:
    """Return the samples to teach: right, with all blocks, and each text of a problem once."""
    kept: dict[tuple[int, str], dict[str, Any]] = {}
    for row in rows:
        if row["correct"] and row["judgement"]["well_formed"]:
            chain = {
                "problem_id": row["problem_id"],
                "prompt": asked[row["number"]].prompt,
                "completion": row["completion"],
                "route": "self",
            }
            kept.setdefault((row["number"], " ".join(row["completion"].split())), chain)
    return list(kept.values())
