"""The methods that `realm compare` knows: where each starts, what makes its model, and in which modes it is asked.

Most are ReaLM with other settings; what is more than that has a file in `realm.baselines`.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from realm.baselines.instructors import can_instruct
from realm.config.root import Config
from realm.core.errors import ConfigError
from realm.domains import load_domain

Role = Literal["ours", "start", "baseline", "ablation"]

SAMPLED = ("sampled", "self_consistency", "self_routes", "best_of_n", "universal")
"""Modes that begin with the model's own samples."""
ON_ROUTES = ("best_of_routes", "universal_routes")
"""Modes that use the routes an assisted prompt shows in another way than to answer."""
ALONE = ("autonomous",)
BOTH = ("autonomous", "assisted")


@dataclass(frozen=True, kw_only=True)
class Method:
    """One method of the comparison."""

    name: str
    what: str
    """In one line, for the docs and the report."""
    role: Role
    after: str
    """The method whose folder this one starts from; `data` for problems and routes alone."""
    stage: str | None
    """The stage that makes its model; `None` where the config's model answers as it is."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    modes: tuple[str, ...] = BOTH


def built_in(config: Config) -> dict[str, Method]:
    """Return all built-in methods by name, in the order of the tables."""
    fade, ablation = config.train.fade, {"role": "ablation", "after": "distilled", "stage": "train"}
    rl = {"role": "baseline", "after": "distilled", "stage": "train"}
    sft = {
        "role": "baseline",
        "after": "distilled",
        "modes": (*ALONE, "sampled", "self_consistency"),
    }
    by_chance = {} if fade.mode == "in_group" else {"train.fade.mode": "chance"}
    no_verdicts = {"train.reward.verdict": 0.0, "train.reward.localization": 0.0}
    methods = [
        Method(name="base", what="the model as it is: direct chain-of-thought prompting, and with the rules in the prompt",
               role="start", after="data", stage=None, modes=(*BOTH, "rules")),
        Method(name="distilled", what="guided distillation alone, where ReaLM and all RL methods start", role="start",
               after="data", stage="distill", modes=(*BOTH, *SAMPLED, *ON_ROUTES)),
        Method(name="realm", what="ReaLM: guided distillation, MRPV, EAAI", role="ours", after="distilled", stage="train",
               modes=(*BOTH, *SAMPLED, *ON_ROUTES)),
        Method(name="further", what="guided distillation for as many more completions as ReaLM has rollouts", stage="further",
               **sft | {"modes": (*BOTH, "sampled", "self_consistency")}),
        Method(name="answer_only", what="supervised training on answers without chains, as long as distillation and `further`",
               stage="further", **sft | {"after": "answer_only_start"}),
        Method(name="unguided", what="distillation of chains written without the rules, as long as distillation and `further`",
               stage="further", **sft | {"after": "unguided_start"}),
        Method(name="rft", what="RFT: training on the student's own right chains", stage="rft", **sft),
        Method(name="instructors", what="LLMs-as-Instructors: new items written from the student's errors", stage="instructors",
               **sft),
        Method(name="cot_synthesizer", what="CoT-Synthesizer: a better answer from several candidates", role="baseline",
               after="distilled", stage="cot_synthesizer", modes=("assisted",),
               settings={"prompt.assisted": config.compare.prompts.synthesize}),
        Method(name="grpo", what="GRPO without routes", settings={"train.fade.kind": "none"},
               **rl | {"modes": (*ALONE, "sampled", "self_consistency")}),
        Method(name="grpo_routes", what="GRPO with routes in every prompt, rewarded for answers and format only",
               settings={"train.fade.kind": "constant", "train.fade.dropout": 0.0, **no_verdicts}, **rl),
        Method(name="hard_cut", what="ReaLM whose routes stay in full and are cut to none at end",
               settings={"train.fade.kind": "linear", "train.fade.start": math.nextafter(fade.end, 0.0)}, **rl),
        Method(name="no_mrpv", what="without MRPV: routes are shown and fade, verdicts are not rewarded", settings=no_verdicts,
               **ablation),
        Method(name="no_eaai", what="without EAAI: routes never fade", settings={"train.fade.kind": "constant"}, **ablation),
        Method(name="zero", what="without distillation: the same RL straight on the model", settings={"recipe": "zero"},
               **ablation | {"after": "data"}),
        Method(name="no_guidance", what="without guidance: chains written without the rules are distilled, then the same RL",
               **ablation | {"after": "unguided_start"}),
        Method(name="no_negatives", what="without negatives: RL shows right routes only", settings={"train.mix.show_wrong": False},
               **ablation),
        *(
            Method(name=f"fade_{kind}", what=f"the fade {kind} in place of {fade.kind}",
                   settings={"train.fade.kind": kind} | (by_chance if kind == "gated" else {}), **ablation)
            for kind in ("linear", "cosine", "exponential", "step", "gated")
            if kind != fade.kind
        ),
        *(
            Method(name=f"k_{k}", what=f"RL shows up to {k} routes in place of {fade.routes}", settings={"train.fade.routes": k},
                   **ablation)
            for k in (1, 2, 4, 8)
            if k != fade.routes
        ),
    ]  # fmt: skip
    return {method.name: method for method in methods}


def starts() -> dict[str, Method]:
    """Return the starting points that are no method of their own: shared, and asked nothing."""
    made = {"role": "start", "after": "data", "stage": "distill", "modes": ()}
    return {
        f"{kind}_start": Method(
            name=f"{kind}_start",
            what=f"distillation, kind {kind}",
            settings={"distill.kind": kind},
            **made,
        )
        for kind in ("answer_only", "unguided")
    }


def chosen_methods(config: Config) -> dict[str, Method]:
    """Return the methods to compare, in the order of the tables; `ConfigError` for a name that is none.

    Only modes that the config wants and the domain allows are left, and no method without one; the settings of each are tried
    on.
    """
    known = built_in(config)
    for name, settings in config.compare.extra_methods.items():
        if name in known or name in starts() or not re.fullmatch(r"[\w.-]+", name):
            raise ConfigError(
                f"{config.source}: compare.extra_methods: {name!r} is built in, or not of letters, digits, '_', '-' and '.' alone. "
                "Choose another name."
            )
        if shared := [key for key in settings if not key.startswith("train.")]:
            raise ConfigError(
                f"{config.source}: compare.extra_methods.{name}: {shared[0]} belongs to what all methods share. Allowed: settings of "
                "train, as train.fade.end. For others run a second comparison with --set and --run."
            )
        what = ", ".join(f"{key} {value}" for key, value in settings.items())
        known[name] = Method(
            name=name,
            what=what,
            role="ablation",
            after="distilled",
            stage="train",
            settings=settings,
        )
    has_rules = load_domain(config).rules is not None
    wanted = config.compare.methods or [
        name for name in known if name != "instructors" or can_instruct(config)
    ]
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigError(
                f"{config.source}: compare.methods: no method {name!r}.{hint} Allowed: {', '.join(known)}."
            )
    modes = config.compare.modes
    chosen = {}
    for name, method in known.items():
        if name in wanted:
            kept = [
                mode
                for mode in method.modes
                if (modes is None or mode in modes) and (has_rules or mode != "rules")
            ]
            if kept:
                chosen[name] = replace(method, modes=tuple(kept))
            settings_of(method, config)
    return chosen


def settings_of(method: Method, config: Config) -> Config:
    """Return the config with the method's settings; an error names the method."""
    try:
        return config.with_settings(method.settings)
    except ConfigError as error:
        raise ConfigError(f"{config.source}: compare: method {method.name!r}: {error}") from None


def with_starts(methods: Mapping[str, Method]) -> dict[str, Method]:
    """Return the methods with those that they start from, each before the first that needs it."""
    known, ordered = built_in_starts(methods), {}

    def add(name: str) -> None:
        if name != "data" and name not in ordered:
            add(known[name].after)
            ordered[name] = known[name]

    for name in methods:
        add(name)
    return ordered


def built_in_starts(methods: Mapping[str, Method]) -> dict[str, Method]:
    """Return `methods` and every start that one of them may need; a start that is not itself compared is asked nothing."""
    silent = Method(
        name="distilled",
        what="guided distillation",
        role="start",
        after="data",
        stage="distill",
        modes=(),
    )
    return {"distilled": silent, **starts(), **methods}
