"""The claims that are tested, and the pilot that says which differences the tests can see."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from realm.bank.draw import draw_evaluation_sets
from realm.bank.worth import MAJORITY
from realm.config.compare import Family
from realm.core.errors import ConfigError
from realm.core.jsonl import read_problems, read_routes, write_json, write_jsonl
from realm.evaluate.ask import LazyPolicy, Sampling, make_prompt, sample_and_judge
from realm.evaluate.results import split_contender
from realm.evaluate.stats import smallest_detectable

if TYPE_CHECKING:
    from realm.config.root import Config
    from realm.evaluate.methods import Method
    from realm.run import Run

ASSISTED_MARGIN, AUTONOMOUS_MARGIN = 0.042, 0.026
"""The leads over the best other method that the paper reports."""
ROUTES = f"{MAJORITY} routes"
EVAL_CLAIMS: dict[str, list[str]] = {
    "realm autonomous": ["distilled autonomous", "base autonomous"],
    "distilled autonomous": ["base autonomous"],
    "realm sampled": ["distilled sampled", "base sampled"],
    "distilled sampled": ["base sampled"],
    # The last of these is the autonomy gap.
    "realm assisted": ["distilled assisted", ROUTES, "realm autonomous"],
}
PILOT_SAMPLES = 4


def list_eval_families(splits: Sequence[str]) -> list[Family]:
    """Return the comparisons of `realm eval`, one table a split."""
    return [
        Family(name=split, claim=claim, against=against, split=split)
        for split in splits
        for claim, against in EVAL_CLAIMS.items()
    ]


def list_families(config: Config, methods: Mapping[str, Method]) -> list[Family]:
    """Return the families of `realm compare`: the config's, or the built-in ones.

    Raises:
        ConfigError: A family of the config names what is not measured.
    """
    if config.compare.families is not None:
        for family in config.compare.families:
            for contender in (family.claim, *family.against):
                _require_contender(contender, methods, config)
        return config.compare.families
    measured = [f"{name} {mode}" for name, method in methods.items() for mode in method.modes]

    def of_role(mode: str, role: str) -> list[str]:
        names = [name for name, method in methods.items() if method.role == role]
        return [f"{name} {mode}" for name in names if f"{name} {mode}" in measured]

    on_routes = [f"distilled {mode}" for mode in ("assisted", "best_of_routes", "universal_routes")]
    with_routes = [ROUTES, *on_routes, *of_role("assisted", "baseline")]
    drops = ["distilled autonomous", *of_role("autonomous", "baseline")]
    without = [drops[0], *of_role("rules", "start"), *drops[1:]]
    more_tokens = ["realm autonomous", "realm self_consistency"]
    splits = {"test": "", "test_rules": " on test_rules"}
    table: list[tuple[str, str, list[str], str, float]] = []
    for split, where in splits.items():
        table.append((f"with routes{where}", "realm assisted", with_routes, split, ASSISTED_MARGIN))
        table.append(
            (f"without routes{where}", "realm autonomous", without, split, AUTONOMOUS_MARGIN)
        )
    table.append(("drop to test_rules", "realm autonomous", drops, "drop", 0.0))
    table.append(("more tokens", "realm self_routes", more_tokens, "test", 0.0))
    for mode in ("autonomous", "assisted"):
        for split, where in splits.items():
            name, others = f"ablations, {mode}{where}", of_role(mode, "ablation")
            table.append((name, f"realm {mode}", others, split, 0.0))
    families = []
    for name, claim, against, split, margin in table:
        known = [one for one in against if one == ROUTES or one in measured]
        if claim in measured and known:
            families.append(
                Family(name=name, claim=claim, against=known, split=split, margin=margin)
            )
    return families


def _require_contender(contender: str, methods: Mapping[str, Method], config: Config) -> None:
    method, mode = split_contender(contender)
    if contender == ROUTES or (method in methods and mode in methods[method].modes):
        return
    allowed = [f"{name} {mode}" for name, known in methods.items() for mode in known.modes]
    raise ConfigError(
        f"{config.source}: compare.families: {contender!r} is not measured. It has the form METHOD "
        f"MODE; allowed here: {', '.join([*allowed, ROUTES])}."
    )


def run_pilot(run: Run) -> None:
    """Sample the start on validation problems, and measure how often two samples disagree.

    Two methods are taken to disagree as often, so this says which difference will show.
    """
    config = run.config
    problems = read_problems(run.path("problems.jsonl"))
    chosen = [problem for problem in problems if problem.split == "validation"]
    chosen = chosen[: config.compare.pilot_problems]
    shown = draw_evaluation_sets(
        [problem.id for problem in chosen],
        read_routes(run.path("routes.jsonl")),
        held_out=config.routes.held_out,
        count=config.evaluate.routes,
        seed=config.seed,
    )
    assisted = [problem for problem in chosen if shown[problem.id].routes]
    prompts = {
        "autonomous": [make_prompt(problem, config) for problem in chosen],
        "assisted": [make_prompt(problem, config, shown[problem.id]) for problem in assisted],
    }
    policy, rows, found = LazyPolicy(run.path("distilled"), config), [], {}
    for mode, asked in prompts.items():
        if not asked:
            continue
        file = run.work("pilot") / f"{mode}.jsonl"
        sampling = Sampling(PILOT_SAMPLES, temperature=1.0)
        groups = sample_and_judge(run, policy, asked, file, mode=mode, sampling=sampling)
        right = [[answer.judged.correct is True for answer in group] for group in groups]
        found[mode] = {
            "problems": len(right),
            "accuracy": fmean(fmean(ones) for ones in right),
            "discordant": measure_disagreement(right),
        }
        rows += [answer.to_row() for group in groups for answer in group]
    write_jsonl(run.path("answers/pilot.jsonl"), rows)
    write_json(run.path("outcomes/pilot.json"), found)


def measure_disagreement(right: Sequence[Sequence[bool]]) -> float:
    """Return how often one of two samples of a problem is right and the other one wrong.

    The estimate is unbiased for any number of samples.

    >>> measure_disagreement([[True, True], [True, False]])
    0.5
    """
    shares = []
    for group in right:
        count, good = len(group), sum(group)
        shares.append(2 * good * (count - good) / (count * (count - 1)))
    return fmean(shares)


def describe_pilot(run: Run, *, n: int, seeds: int, num_claims: int) -> list[str]:
    """Return what `n` test problems with each of `seeds` seeds can show, in a sentence a mode."""
    found = json.loads(run.path("outcomes/pilot.json").read_text(encoding="utf-8"))
    return [
        _describe_mode(mode, pilot, n=n, seeds=seeds, num_claims=num_claims)
        for mode, pilot in found.items()
    ]


def _describe_mode(
    mode: str, pilot: Mapping[str, Any], *, n: int, seeds: int, num_claims: int
) -> str:
    def detect(level: float) -> str:
        found = smallest_detectable(n * seeds, pilot["discordant"], level=level)
        return "none" if found is None else f"{100 * found:.1f} points"

    return (
        f"Pilot, {mode}: on {pilot['problems']} validation problems the start is right in "
        f"{pilot['accuracy']:.1%} of its samples, and two samples differ on "
        f"{pilot['discordant']:.1%}. Smallest difference that {seeds} x {n} test problems show "
        f"with 80% power: {detect(0.05)}; as the first of {num_claims} claims: "
        f"{detect(0.05 / max(1, num_claims))}. Variation between seeds may add to that."
    )
