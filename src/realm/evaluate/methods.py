"""The methods that `realm compare` knows: where each starts, what trains it, how it is asked.

Most are ReaLM with other settings. A baseline that trains in its own way has a file in
`realm.baselines`; to add one, write that file, and its stage and its row in the tables below.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from realm.bank.worth import MAJORITY
from realm.baselines.cot_synthesizer import run_cot_synthesizer
from realm.baselines.further import run_further
from realm.baselines.instructors import load_instructor, run_instructors
from realm.baselines.rft import check_rft_routes, run_rft, run_rft_routes
from realm.config.root import MODEL_SETTINGS
from realm.core.errors import ConfigError
from realm.core.folder import Stage
from realm.sources.plan import find_expert

if TYPE_CHECKING:
    from realm.config.root import Config
    from realm.run import Run

# Modes that methods have in common. A mode costs time, so that baselines have fewer.
ALONE = ("autonomous",)
BOTH = ("autonomous", "assisted")
READING = (*BOTH, "probe")
VOTES = ("sampled", "self_consistency")
EQUAL_TOKENS = ("votes_at_self_routes", "votes_at_assisted")
"""Votes on as many own samples as cost the tokens of the mode that the name ends in."""
OWN_SAMPLES = (*VOTES, "self_routes", "best_of_n", "universal", *EQUAL_TOKENS)
"""Modes that begin with the model's own samples."""
ON_ROUTES = ("best_of_routes", "universal_routes")
"""Modes that use the routes shown in another way than to answer."""
OF_REALM = (*READING, *OWN_SAMPLES, *ON_ROUTES)
"""Modes of ReaLM, of its start, and of ReaLM with other settings by `compare.extra_methods`."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One method of the comparison.

    Example: `Method(name="no_eaai", summary="routes never fade", role="ablation",
    start="distilled", stage="train", settings={"train.fade.kind": "constant"})`.
    """

    name: str
    summary: str
    """In one line, for the docs and the report."""
    role: Literal["ours", "start", "baseline", "ablation"]
    start: str = "data"
    """The method whose folder this one starts from; `data` for problems and routes alone."""
    stage: str | None = None
    """The stage that makes its model; `None` if the config's model answers as it is."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    modes: tuple[str, ...] = BOTH


# How the student is asked by the baselines that begin with its own answers.
GENERATION = ("evaluate.max_new_tokens", "evaluate.batch_tokens")


def _make_stage(
    name: str, function: Callable[[Run], None], *settings: str, reads: str = "", **more: Any
) -> Stage:
    """Return the stage of a baseline that trains the distilled model further."""
    # Those of `train` determine ReaLM's problems and its number of rollouts, for how long the
    # baseline trains.
    of_train = ("train.skip", "train.problems", "train.grpo", "train.lora", "train.fade.routes")
    further = ("distill.sft", "compare.further_sft", "rounds", *of_train)
    inputs = ("problems.jsonl", "routes.jsonl", "distilled/")
    return Stage(
        name=name,
        function=function,
        settings=(*MODEL_SETTINGS, *further, *settings),
        inputs=(*inputs, reads) if reads else inputs,
        outputs=("model/", "taught.jsonl"),
        **more,
    )


BASELINE_STAGES = {
    stage.name: stage
    for stage in (
        _make_stage("further", run_further, reads="sft.jsonl"),
        _make_stage("rft", run_rft, *GENERATION),
        _make_stage("rft_routes", run_rft_routes, *GENERATION, "train.mix", "routes",
                    check=check_rft_routes),
        _make_stage("instructors", run_instructors, *GENERATION, "compare.instructor", "routes",
                    check=partial(load_instructor, problems=[])),
        _make_stage("cot_synthesizer", run_cot_synthesizer, "train.mix", "routes",
                    "distill.use_unguided_when_missing"),
    )
}  # fmt: skip


def list_methods(config: Config) -> dict[str, Method]:
    """Return all built-in methods by name, in the order of the tables."""
    prompts = config.compare.prompts
    methods = [
        Method(name="base", role="start", modes=(*READING, "rules"),
               summary="the model as it is: direct prompting, and the rules in the prompt"),
        Method(name="distilled", role="start", stage="distill", modes=OF_REALM,
               summary="guided distillation alone, where ReaLM and all RL methods start"),
        Method(name="realm", role="ours", start="distilled", stage="train", modes=OF_REALM,
               summary="ReaLM: guided distillation, MRPV, EAAI"),
        _further("further", "as many more completions of guided distillation as ReaLM's rollouts",
                 modes=(*BOTH, *VOTES)),
        _further("answer_only", "answers without chains, as long as distillation and `further`",
                 start="answer_only_start"),
        _further("unguided", "chains written without the rules, as long as `answer_only`",
                 start="unguided_start"),
        _further("rft", "RFT: training on the student's own right chains", stage="rft"),
        _further("rft_routes", "RFT with routes: samples with routes, taught with and without them",
                 stage="rft_routes", modes=(*BOTH, *VOTES)),
        _further("instructors", "LLMs-as-Instructors: new problems from the student's errors",
                 stage="instructors"),
        _further("cot_synthesizer", "CoT-Synthesizer: a better answer from several candidates",
                 stage="cot_synthesizer", modes=("assisted",),
                 settings={"prompt.assisted": prompts.synthesize}),
        *_list_rl_methods(config),
        *_list_ablations(config),
    ]  # fmt: skip
    return {method.name: method for method in methods}


def _further(name: str, summary: str, **more: Any) -> Method:
    """Return a baseline that trains a distilled model further by supervised training."""
    defaults = {"start": "distilled", "stage": "further", "modes": (*ALONE, *VOTES)}
    return Method(name=name, summary=summary, role="baseline", **{**defaults, **more})


def _rl(name: str, summary: str, settings: Mapping[str, Any], **more: Any) -> Method:
    """Return a method that is ReaLM's reinforcement learning with other settings."""
    defaults = {"role": "ablation", "start": "distilled", "stage": "train"}
    return Method(name=name, summary=summary, settings=settings, **{**defaults, **more})


# Naming a flaw is paid inside a verdict, so that both go together.
NO_VERDICTS = {"train.reward.verdict": 0.0, "train.reward.first_flaw": 0.0}
# A further round would distil: what routes taught, and from guided chains.
NO_HARVEST = {"distill.every_round": False}
NO_TRANSFER = {"train.fade.transfer": 0.0, **NO_HARVEST}
ROUNDS = ("rounds", "distill.every_round")
"""Settings of further rounds, which begin after the start that all methods share."""


def _list_rl_methods(config: Config) -> list[Method]:
    # The last number below `end`: all routes stay up to there, and then none is left.
    last_moment = math.nextafter(config.train.fade.end, 0.0)
    return [
        _rl("grpo", "GRPO without routes", {"train.fade.kind": "none", **NO_TRANSFER},
            role="baseline", modes=(*BOTH, *VOTES)),
        _rl("grpo_routes", "GRPO with routes in every prompt, no reward for verdicts",
            {"train.fade.kind": "constant", "train.fade.dropout": 0.0,
             **NO_VERDICTS, **NO_TRANSFER},
            role="baseline"),
        _rl("hard_cut", "ReaLM whose routes stay in full and are cut to none at `end`",
            {"train.fade.kind": "linear", "train.fade.start": last_moment}, role="baseline"),
    ]  # fmt: skip


def _list_ablations(config: Config) -> list[Method]:
    fade = config.train.fade
    # The gated fade lowers the chance of routes, never their number (see `Fade`).
    gated = {} if fade.mode == "in_group" else {"train.fade.mode": "chance"}
    methods = [
        _rl("no_mrpv", "without MRPV: routes fade, verdicts are not rewarded", NO_VERDICTS,
            modes=READING),
        _rl("no_eaai", "without EAAI: routes never fade", {"train.fade.kind": "constant"}),
        _rl("zero", "without distillation: the same RL on the model as it is",
            {"recipe": "zero", **NO_HARVEST}, start="data"),
        _rl("no_guidance", "without guidance: distillation of chains written without the rules",
            NO_HARVEST, start="unguided_start"),
        _rl("no_negatives", "without negatives: RL shows right routes only",
            {"train.mix.show_flawed": False}),
    ]  # fmt: skip
    if fade.transfer:
        summary = "without transfer: what is solved with routes is not taught without them"
        methods.append(_rl("no_transfer", summary, NO_TRANSFER))
    for kind in ("linear", "cosine", "exponential", "step", "gated"):
        if kind != fade.kind:
            settings = {"train.fade.kind": kind, **(gated if kind == "gated" else {})}
            methods.append(_rl(f"fade_{kind}", f"the fade {kind} instead of {fade.kind}", settings))
    for k in (1, 2, 4, 8):
        if k != fade.routes:  # that one is ReaLM itself
            summary = f"RL shows up to {k} routes instead of {fade.routes}"
            methods.append(_rl(f"k_{k}", summary, {"train.fade.routes": k}))
    return methods


STARTS = {
    name: Method(name=name, summary=name, role="start", stage="distill", settings=own, modes=())
    for name, own in {
        "distilled": {},  # most methods start from it even if it is not compared
        "answer_only_start": {"distill.kind": "answer_only"},
        "unguided_start": {"distill.kind": "unguided"},
    }.items()
}
"""Starting points that are not compared themselves: shared, and asked nothing."""


def choose_methods(run: Run) -> dict[str, Method]:
    """Return the methods to compare, in the order of the tables, each with its modes.

    A mode that the config leaves out or that the domain does not support is dropped, and so is a
    method without modes.

    Raises:
        ConfigError: A name is unknown, or the settings of a method are wrong.
    """
    config, domain = run.config, run.domain
    known = list_methods(config) | _read_own_methods(config)
    # Left out by default where nobody could write exercises; an error if the config names it.
    wanted = config.compare.methods or [
        name for name in known if name != "instructors" or has_instructor(run)
    ]
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigError(
                f"{config.source}: compare.methods: no method {name!r}.{hint} "
                f"Allowed: {', '.join(known)}."
            )
    chosen = {}
    for name, method in known.items():
        if name in wanted:
            apply_method(method, config)  # raises now what would fail after hours
            modes = [mode for mode in method.modes if mode != "rules" or domain.rules is not None]
            if not config.evaluate.probe:
                modes = [mode for mode in modes if mode != "probe"]
            if config.compare.modes is not None:
                modes = [mode for mode in modes if mode in config.compare.modes]
            if modes:
                chosen[name] = replace(method, modes=tuple(modes))
    return chosen


def has_instructor(run: Run) -> bool:
    """Return whether there is someone who writes new problems for LLMs-as-Instructors."""
    if run.config.compare.instructor is not None or find_expert(run) is not None:
        return True
    return run.domain.make_instructor([]) is not None


def _read_own_methods(config: Config) -> dict[str, Method]:
    """Return the methods of `compare.extra_methods`: ReaLM that is trained in another way."""
    built_in = {**list_methods(config), **STARTS}
    methods = {}
    for name, settings in config.compare.extra_methods.items():
        if name in {*built_in, "data", MAJORITY} or not re.fullmatch(r"[\w.-]+", name):
            raise ConfigError(
                f"{config.source}: compare.extra_methods: {name!r} is built in, or not of letters, "
                "digits, '_', '-' and '.' alone. Choose another name."
            )
        own = ("train.", *ROUNDS)
        shared = [key for key in settings if not key.startswith(own)]
        if shared:
            raise ConfigError(
                f"{config.source}: compare.extra_methods.{name}: {shared[0]} belongs to what all "
                "methods share. Allowed: settings of train, as train.fade.end, rounds and "
                "distill.every_round. For others run a second comparison with --set and --run."
            )
        summary = ", ".join(f"{key} {value}" for key, value in settings.items())
        methods[name] = _rl(name, summary, settings, modes=OF_REALM)
    return methods


def apply_method(method: Method, config: Config) -> Config:
    """Return the config with the method's settings; an error names the method."""
    try:
        return config.with_settings(method.settings)
    except ConfigError as error:
        raise ConfigError(f"{config.source}: compare: method {method.name!r}: {error}") from None


def add_starts(methods: Mapping[str, Method]) -> dict[str, Method]:
    """Return the methods and those that they start from, each after the one it starts from.

    A start that is not itself compared is made, and asked nothing.
    """
    ordered: dict[str, Method] = {}
    known = {**STARTS, **methods}

    def add(name: str) -> None:
        if name != "data" and name not in ordered:
            add(known[name].start)
            ordered[name] = known[name]

    for name in methods:
        add(name)
    return ordered
