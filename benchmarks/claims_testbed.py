"""How often are the routes of hard claims right: as a whole, by vote, and step by step?

    python benchmarks/claims_testbed.py
    python benchmarks/claims_testbed.py --config configs/claims-services.yaml --seeds 31 32 33 34 35

Hardware: any CPU, about a minute per seed. Nothing is trained and no model is asked.

A step is known by its visit and its topic, such as the copay of visit 2. It is right if the expert
writes the same line there. A step that a route leaves out is wrong. Of equal votes the first
counts.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from realm import load_config
from realm.bank.draw import draw_evaluation_sets
from realm.domains import load_domain
from realm.evaluate.eval_set import SPLITS
from realm.method.prompt import render_prompt

if TYPE_CHECKING:
    from realm.core.records import Problem, Route, RouteSet

RESULTS = Path(__file__).with_name("results") / "claims_testbed.json"
Step = tuple[int, str]
"""Number of the visit (0: the only one, or none) and topic of a step."""
FIGURES = {
    "problems": "problems",
    "routes": "routes",
    "one": "one route",
    "majority": "majority",
    "any": "any",
    "step": "step",
    "majority_step": "majority of steps",
    "majority_fee": "majority of fees",
    "by_visit": "by visit",
    "commonest": "commonest answer",
}


def read_steps(text: str) -> dict[Step, str]:
    """Return the lines of a route by visit and topic.

    >>> read_steps("visit 1 member active ok\\nfee 9 allows 9\\ntotal 0 plus 9 is 9\\npay 9")
    {(1, 'member'): 'visit 1 member active ok', (1, 'fee'): 'fee 9 allows 9', \
(1, 'total'): 'total 0 plus 9 is 9', (0, 'pay'): 'pay 9'}
    """
    steps: dict[Step, str] = {}
    visit = 0
    for line in text.splitlines():
        words = line.split()
        if words[0] == "visit":
            visit, words = int(words[1]), words[2:]
        # The answer and the review are of the case and not of its last visit.
        place = 0 if words[0] in ("pay", "deny", "review") else visit
        steps[place, words[0]] = line
    return steps


def vote(values: Iterable[Any]) -> Any:
    """Return the most frequent value, of equals the first."""
    return Counter(values).most_common(1)[0][0]


def measure_problem(problem: Problem, routes: Sequence[Route], chain: Route) -> dict[str, float]:
    """Return the figures of one problem, each from 0 to 1."""
    true_steps = read_steps(chain.text)
    written = [read_steps(route.text) for route in routes]
    right = [[steps.get(key) == line for key, line in true_steps.items()] for steps in written]
    voted = [vote(steps.get(key) for steps in written) == line for key, line in true_steps.items()]
    return {
        "one": fmean(bool(route.correct) for route in routes),
        "majority": vote(route.answer for route in routes) == problem.answer,
        "any": any(route.correct for route in routes),
        "step": fmean(fmean(row) for row in right),
        "majority_step": fmean(voted),
        "majority_fee": all(
            vote(steps.get(key) for steps in written) == line
            for key, line in true_steps.items()
            if key[1] == "fee"
        ),
        "by_visit": _sum_voted_payments(written, true_steps) == problem.answer,
    }


def _sum_voted_payments(written: Sequence[Mapping[Step, str]], chain: Mapping[Step, str]) -> str:
    """Return the answer of a reader who votes on each visit's payment and knows rule 22."""
    totals = [key for key in chain if key[1] == "total"]
    if not totals:
        return str(vote(list(steps.values())[-1] for steps in written))
    # "total 12 plus 9 is 21": the fourth word is what the visit pays.
    paid = sum(int(vote(steps[key].split()[3] for steps in written)) for key in totals)
    review = chain.get((0, "review"))
    return f"pay {max(0, paid - int(review.split()[1])) if review else paid}"


def measure_seed(config_path: str, seed: int) -> dict[str, dict[str, float]]:
    """Return the figures of each group of problems, and the longest prompts and chains."""
    config = load_config(config_path, {"seed": seed})
    domain = load_domain(config)
    problems = domain.problems(seed)
    bank: dict[str, list[Route]] = defaultdict(list)
    for route in domain.write_routes(problems, config.routes, seed):
        if not route.guided:
            bank[route.problem_id].append(route)
    groups: dict[str, list[Problem]] = defaultdict(list)
    for index, problem in enumerate(problems):
        is_easy = problem.split == "train" and index < config.train.skip
        groups["train, easy" if is_easy else problem.split].append(problem)
    shown = draw_evaluation_sets(
        [problem.id for problem in problems if problem.split != "train"],
        [route for routes in bank.values() for route in routes],
        held_out=config.routes.held_out,
        count=config.evaluate.routes,
        seed=seed,
    )
    found = {name: _measure_group(group, bank, domain) for name, group in groups.items()}
    return found | {"tokens": _measure_lengths(groups, shown, domain, config)}


def _measure_group(
    problems: Sequence[Problem], bank: Mapping[str, Sequence[Route]], domain: Any
) -> dict[str, float]:
    rows = [measure_problem(one, bank[one.id], domain.write_chain(one)) for one in problems]
    figures = {name: fmean(row[name] for row in rows) for name in rows[0]}
    commonest = Counter(one.answer for one in problems).most_common(1)[0][1] / len(problems)
    counts = {"problems": len(problems), "routes": len(bank[problems[0].id])}
    return counts | figures | {"commonest": commonest}


def _measure_lengths(
    groups: Mapping[str, Sequence[Problem]],
    shown: Mapping[str, RouteSet],
    domain: Any,
    config: Any,
) -> dict[str, float]:
    """Return the longest assisted prompt and the longest chain of each split that is asked."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(config.resolve_model())
    found = {}
    for name in (split for split in SPLITS if split in groups):
        prompts = [
            render_prompt(one.question, shown[one.id], assisted=config.prompt.assisted)
            for one in groups[name]
        ]
        chains = [domain.write_chain(one).text for one in groups[name]]
        for kind, texts in (("prompt", prompts), ("chain", chains)):
            found[f"{name} {kind}"] = max(map(len, tokenizer(texts)["input_ids"]))
    return found


def format_table(seeds: Sequence[dict[str, dict[str, float]]]) -> str:
    """Return the means over the seeds as a Markdown table; shares are in percent."""
    lines = [
        "| " + " | ".join(["", *FIGURES.values()]) + " |",
        "|---|" + "--:|" * len(FIGURES),
    ]
    for name in (group for group in seeds[0] if group != "tokens"):
        means = {figure: fmean(seed[name][figure] for seed in seeds) for figure in FIGURES}
        cells = [
            f"{mean:.0f}" if figure in ("problems", "routes") else f"{100 * mean:.1f}"
            for figure, mean in means.items()
        ]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    longest = {name: max(seed["tokens"][name] for seed in seeds) for name in seeds[0]["tokens"]}
    return "\n".join([*lines, "", f"Longest in tokens: {longest}"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="configs/claims-hard.yaml")
    parser.add_argument("--seeds", type=int, nargs="+", default=[21, 22, 23, 24, 25])
    arguments = parser.parse_args()
    seeds = [measure_seed(arguments.config, seed) for seed in arguments.seeds]
    print(format_table(seeds))
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    kept[Path(arguments.config).stem] = dict(zip(map(str, arguments.seeds), seeds, strict=True))
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
