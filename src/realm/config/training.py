"""Settings of the student's prompts and of its two trainings."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from realm.bank.draw import RouteMix
from realm.core.settings import Section, Share, check_placeholders
from realm.method.fade import Fade
from realm.method.prompt import ASSISTED, AUTONOMOUS, THINKING_ASSISTED, THINKING_AUTONOMOUS
from realm.method.rewards import RewardWeights

TrlSettings = dict[str, Any]
"""Settings that are passed on to a class of TRL or PEFT, which documents them. `bf16: auto` is
ours: true on a GPU and on processors with instructions for it, else false."""


class PromptConfig(Section):
    """The prompts of the student. The defaults suit instruction-tuned and reasoning models."""

    think_start: str | None = None
    """The tag that opens private thinking, such as "<think>". null: none, or the chat template
    writes it at the end of the prompt."""
    think_end: str | None = None
    """The tag that ends private thinking, such as "</think>". Neither verdicts nor the answer are
    read before it. Distillation teaches the chain inside these tags."""
    # The factories read `think_end`, so this field and `assisted` must be declared below it.
    autonomous: str = Field(
        default_factory=lambda prompt: THINKING_AUTONOMOUS if prompt["think_end"] else AUTONOMOUS
    )
    """The prompt without routes. It contains {question}. The default asks for no block of reasoning
    from a student that thinks in private; so does that of `assisted`."""
    assisted: str = Field(
        default_factory=lambda prompt: THINKING_ASSISTED if prompt["think_end"] else ASSISTED
    )
    """The prompt that shows routes. It contains {question} and {routes}."""
    system: str | None = None
    """A system message before both prompts."""

    @field_validator("autonomous", "assisted")
    @classmethod
    def _check_placeholders(cls, template: str, info: ValidationInfo) -> str:
        is_assisted = info.field_name == "assisted"
        # The first one only, if the prompt shows no routes.
        return check_placeholders(template, ["{question}", "{routes}"][: 1 + is_assisted])

    @model_validator(mode="after")
    def _check_think_tags(self) -> Self:
        if self.think_start and not self.think_end:
            raise ValueError(
                f"think_start = {self.think_start} without think_end: name the tag that ends "
                "private thinking as well"
            )
        return self


class DistillConfig(Section):
    """The stage `distill`: supervised training on right chains of thought."""

    problems: PositiveInt | None = None
    """Teach chains of the first N training problems only. null: of all. Further rounds teach the
    policy's own chains besides (`every_round`)."""
    kind: Literal["guided", "unguided", "answer_only", "self"] = "guided"
    """What is taught. `guided`: chains written by an author who had the rules. `unguided`: chains
    written without them. `answer_only`: answers without chains. `self`: on-policy
    self-distillation (TRL's SDFTTrainer), where the model with the rules in its prompt teaches
    the model without them."""
    use_unguided_when_missing: bool = False
    """Teach the right routes of a problem that has no right guided chain (kinds guided and
    answer_only)."""
    select_by: Literal["likelihood", "length", "all"] = "likelihood"
    """Which chains to teach if a problem has more than `max_chains_per_problem`. `likelihood`:
    the likeliest under the student. `length`: those nearest to the median length. `all`: all."""
    max_chains_per_problem: PositiveInt = 4
    """Further chains of one problem teach less than chains of another problem."""
    drop_leaks: bool = True
    """Leave out guided chains that mention a rule list ("by rule 3"), which the student never
    sees."""
    assisted_share: Share = 0.5
    """Share of the rows that show routes and teach to verify them (kind guided only). The check of
    a route is that of its process label, or one derived from its outcome and the taught chain."""
    every_round: bool = False
    """From the second round on (`rounds`), distil again before reinforcement learning: the right
    chains of the last round's model, half of them sampled with routes, are taught with the guided
    ones."""
    max_chain_tokens: PositiveInt | None = None
    """Leave out longer chains: long chains of a big teacher hurt a small student. null: none is
    too long."""
    sft: TrlSettings = {}
    """Settings of TRL's SFTConfig."""
    sdft: TrlSettings = {}
    """Settings of TRL's SDFTConfig, used instead of `sft` with `kind: self`."""


class Headroom(Section):
    """How much there is to gain: measured by sampling before reinforcement learning begins."""

    # With 128 problems the standard error of a share is at most 4.4 points.
    problems: PositiveInt = 128
    """Number of validation problems; of training problems if there are none."""
    samples: Annotated[int, Field(ge=2)] = 8
    """Samples per problem."""


class TrainConfig(Section):
    """The stage `train`: reinforcement learning with TRL's GRPOTrainer."""

    skip: NonNegativeInt = 0
    """Leave out the first N training problems, such as easy ones that distillation has taught."""
    problems: PositiveInt | None = None
    """Of the others, use the first N only. null: all."""
    reward: RewardWeights = RewardWeights()
    fade: Fade = Fade()
    mix: RouteMix = RouteMix()
    headroom: Headroom = Headroom()
    shared_prefix: Literal["auto", "on", "off"] = "auto"
    """Encode each prompt once for all of its completions. `auto`: if the model supports it. `on`:
    always, and stop with an error if the model does not. `off`: never."""
    lora: TrlSettings | None = None
    """Settings of PEFT's LoraConfig, for both trainings. null: train all weights. The models are
    saved merged, with the adapter in their folder `adapter`."""
    grpo: TrlSettings = {}
    """Settings of TRL's GRPOConfig."""

    @field_validator(
        "shared_prefix",
        mode="before",
        json_schema_input_type=Literal["auto", "on", "off"] | bool,
    )
    @classmethod
    def _accept_yaml_booleans(cls, value: Any) -> Any:
        # YAML 1.1 reads the words on and off as true and false.
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else value
