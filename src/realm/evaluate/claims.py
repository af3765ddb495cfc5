"""The claims that are tested, and the pilot that says which differences the tests can see."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from realm.bank.draw import draw_evaluation_sets
from realm.bank.worth import MAJORITY
from realm.config.compare import Family
from realm.core.errors import ConfigError
from realm.core.jsonl import read_json, read_problems, read_routes, write_json, write_jsonl
from realm.core.ranks import is_main_process
from realm.evaluate.records import HARD, HARD_SPLITS
from realm.evaluate.results import split_contender
from realm.evaluate.stats import smallest_detectable
from realm.sampling import LazyPolicy, Sampling, make_prompt, sample_and_judge

if TYPE_CHECKING:
    from realm.config.root import Config
    from realm.evaluate.methods import Method
    from realm.run import Run

ASSISTED_MARGIN, AUTONOMOUS_MARGIN = 0.042, 0.026  # arXiv 2508.12387
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
PILOT_SAMPLES = 4  # two would do; four halve the noise of the estimate


def list_eval_families(splits: Sequence[str], rounds: int = 1) -> list[Family]:
    """Return the comparisons of `realm eval`, one table a split.

    With several `rounds` the model of the last one is compared with that of the one before.
    """
    claims = EVAL_CLAIMS
    if rounds > 1:
        before = [f"round-{rounds - 1} autonomous"]
        claims = claims | {"realm autonomous": before + claims["realm autonomous"]}
    return [
        Family(name=split, claim=claim, against=against, split=split)
        for split in splits
        for claim, against in claims.items()
    ]


def list_hard_families(methods: Iterable[str]) -> list[Family]:
    """Return the comparisons of each method with itself: on hard problems, with routes or alone.

    Nothing is corrected across methods: each is a question of its own.
    """
    return [
        Family(name=HARD, claim=f"{name} assisted", against=[f"{name} autonomous"], split=split)
        for split in HARD_SPLITS
        for name in methods
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
        return [f"{name} {mode}" for name, method in methods.items() if method.role == role]

    # Each row: name, claim, what it is compared with, and the lead that the paper claims.
    on_both_splits = [
        ("with routes", "realm assisted",
         [ROUTES, "distilled assisted", "distilled best_of_routes", "distilled universal_routes",
          *of_role("assisted", "baseline")], ASSISTED_MARGIN),
        ("without routes", "realm autonomous",
         ["distilled autonomous", *of_role("rules", "start"), *of_role("autonomous", "baseline")],
         AUTONOMOUS_MARGIN),
    ]  # fmt: skip
    drop = ["distilled autonomous", *of_role("autonomous", "baseline")]
    more_tokens = ["realm autonomous", "realm self_consistency"]
    ablations = [
        (f"ablations, {mode}", f"realm {mode}", of_role(mode, "ablation"), 0.0)
        for mode in ("autonomous", "assisted")
    ]
    splits = {"test": "", "test_rules": " on test_rules", "test_larger": " on test_larger"}
    table = [
        *((*row, split, where) for split, where in splits.items() for row in on_both_splits),
        ("drop to test_rules", "realm autonomous", drop, 0.0, "drop", ""),
        ("more tokens", "realm self_routes", more_tokens, 0.0, "test", ""),
        *(
            (f"equal tokens, {mode}", f"realm {mode}", [f"realm votes_at_{mode}"], 0.0, "test", "")
            for mode in ("self_routes", "assisted")
        ),
        *((*row, split, where) for row in ablations for split, where in splits.items()),
    ]
    families = []
    for name, claim, others, margin, split, where in table:
        against = [one for one in others if one == ROUTES or one in measured]
        if claim in measured and against:
            names = {"name": f"{name}{where}", "claim": claim, "against": against}
            families.append(Family(**names, split=split, margin=margin))
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
    # Problems that no claim is tested on, so that a look at them costs nothing.
    chosen = [problem for problem in problems if problem.split == "validation"]
    chosen = chosen[: config.compare.pilot_problems]
    # The routes that the evaluation would show, so that the prompts are as long.
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
        # An undecided answer is not right, as in the evaluation.
        right = [[answer.judged.correct is True for answer in group] for group in groups]
        found[mode] = {
            "problems": len(right),
            "accuracy": fmean(fmean(ones) for ones in right),
            "discordant": measure_disagreement(right),
        }
        rows += [answer.to_row() for group in groups for answer in group]
    if is_main_process():
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
        # Of the count * (count - 1) ordered pairs of samples, so many differ.
        shares.append(2 * good * (count - good) / (count * (count - 1)))
    return fmean(shares)


def describe_pilot(run: Run, *, n: int, seeds: int, num_claims: int) -> list[str]:
    """Return what `n` test problems with each of `seeds` seeds can show, in a sentence a mode."""
    found = read_json(run.path("outcomes/pilot.json"), "compare")
    lines = []
    for mode, pilot in found.items():
        # The first of several claims is tested at this level by Holm's correction.
        levels = (0.05, 0.05 / max(1, num_claims))
        values = [smallest_detectable(n * seeds, pilot["discordant"], level=one) for one in levels]
        alone, first = ("none" if one is None else f"{100 * one:.1f} points" for one in values)
        lines.append(
            f"Pilot, {mode}: on {pilot['problems']} validation problems the start is right in "
            f"{pilot['accuracy']:.1%} of its samples, and two samples differ on "
            f"{pilot['discordant']:.1%}. Smallest difference that {seeds} x {n} test problems show "
            f"with 80% power: {alone}; as the first of {num_claims} claims: {first}. Variation "
            "between seeds may add to that."
        )
    return lines
