import inspect
import itertools
import json
import shutil
from collections import defaultdict
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    GenerationConfig,
    pipeline,
)
from trl import GRPOTrainer

from realm.core.errors import ConfigError, DataError, ModelError
from realm.core.jsonl import read_jsonl, write_jsonl
from realm.core.records import Judged
from realm.domains import load_domain
from realm.method.gate import Bucket
from realm.method.parse import parse_completion
from realm.method.rewards import RewardWeights, weigh_terms
from realm.policy import Policy
from realm.run import Run
from realm.train import rl
from realm.train.arguments import make_grpo_arguments
from realm.train.grader import Graded, compute_metrics
from realm.train.sft import run_distill
from tiny import make_tiny, make_tiny_vision
from tiny_rl import GRPO, PROBLEMS, ROUTES, TRAIN, make_config, make_run

torch.set_num_threads(1)

SLOW_ARCHITECTURES = [pytest.param(name, marks=pytest.mark.slow) for name in ("qwen3", "gemma3")]


@pytest.fixture(autouse=True)
def log_info(caplog):
    caplog.set_level("INFO", logger="realm")


@pytest.fixture
def prompts_seen(monkeypatch):
    """Give the prompts of every generation, by step, as TRL's own method receives them."""
    seen = defaultdict(list)
    inside = GRPOTrainer._generate_and_score_completions

    def spy(self, inputs):
        seen[self.state.global_step].append([json.dumps(row["prompt"]) for row in inputs])
        return inside(self, inputs)

    monkeypatch.setattr(GRPOTrainer, "_generate_and_score_completions", spy)
    return seen


def test_the_methods_of_trl_that_we_wrap_have_the_signatures_we_know():
    assert list(inspect.signature(GRPOTrainer._generate_and_score_completions).parameters) == [
        "self",
        "inputs",
    ]
    assert list(inspect.signature(rl.ReaLMTrainer._generate_and_score_completions).parameters) == [
        "self",
        "inputs",
    ]
    for trainer in (GRPOTrainer, rl.ReaLMTrainer):
        parameters = ["self", "model", "inputs", "return_outputs", "num_items_in_batch"]
        assert list(inspect.signature(trainer.compute_loss).parameters) == parameters


@pytest.mark.parametrize("architecture", ["llama", *SLOW_ARCHITECTURES])
def test_training_ends_with_a_plain_checkpoint_and_its_records(
    tmp_path, architecture, prompts_seen
):
    make_tiny(tmp_path / "model", architecture)
    config = make_config(tmp_path)
    run = make_run(tmp_path, config)
    rl.run_train(run)
    assert {"model.safetensors", "tokenizer.json", "chat_template.jinja", "README.md"} <= {
        path.name for path in run.path("model").iterdir()
    }
    model = AutoModelForCausalLM.from_pretrained(run.path("model"))
    assert (
        model.num_parameters()
        == AutoModelForCausalLM.from_pretrained(tmp_path / "model").num_parameters()
    )
    chat = [{"role": "user", "content": "What is left?"}]
    assert pipeline("text-generation", model=str(run.path("model")))(
        chat, max_new_tokens=2, do_sample=False
    )
    fade = read_jsonl(run.path("fade.jsonl"))
    assert [row["step"] for row in fade] == [1, 2, 3] and [
        row["progress"] for row in fade
    ] == pytest.approx([0, 1 / 3, 2 / 3])
    assert all(
        {"share", "routes_shown", "assisted_reward", "autonomous_reward"} <= set(row)
        for row in fade
    )
    samples = read_jsonl(run.path("rollouts/samples.jsonl"))
    assert {row["step"] for row in samples} == {1, 2, 3}
    assert set(json.loads(run.path("headroom.json").read_text())) >= {
        "mean_at_1",
        "majority_at_n",
        "pass_at_n",
        "mixed_share",
    }
    assert "3 steps on 6 problems" in (run.path("model") / "README.md").read_text()
    assert all(
        batch[i] == batch[i + 1]
        for batches in prompts_seen.values()
        for batch in batches
        for i in (0, 2)
    )


def test_recipe_r1_starts_from_the_distilled_model_and_string_prompts_work(tmp_path):
    config = make_config(tmp_path, recipe="r1")
    run = make_run(tmp_path, config)
    make_tiny(run.path("distilled"), "llama", chat=False)
    rl.run_train(run)
    assert run.path("model").is_dir()


@pytest.mark.slow
def test_a_model_that_reads_images_learns_from_text_and_stays_whole(tmp_path, caplog):
    make_tiny_vision(tmp_path / "model")
    sft = {"max_steps": 2, "per_device_train_batch_size": 2, "learning_rate": 1e-3}
    config = make_config(tmp_path, recipe="r1", distill={"kind": "unguided", "sft": sft})
    run = make_run(tmp_path, config)
    # A random model is never right; the length of its text makes rewards differ.
    run.reward_terms = {"length": (1.0, lambda judged: len(judged.text))}
    run_distill(run)
    rl.run_train(run)
    assert "encode every prompt once per completion: qwen2_vl reads more than text" in caplog.text
    places = [tmp_path / "model", run.path("distilled"), run.path("model")]
    first, *trained = [
        AutoModelForImageTextToText.from_pretrained(place).state_dict() for place in places
    ]
    for before, after in itertools.pairwise([first, *trained]):
        changed = {name for name in first if not torch.equal(before[name], after[name])}
        assert "model.language_model.layers.0.mlp.up_proj.weight" in changed
        assert not any("visual" in name for name in changed) and set(before) == set(after)
    for place in places:
        assert (place / "preprocessor_config.json").read_text() == '{"patch_size": 14}'


@pytest.mark.slow
def test_a_resumed_run_sees_the_prompts_of_an_uninterrupted_one(tmp_path, prompts_seen):
    make_tiny(tmp_path / "model", "qwen2")
    config = make_config(
        tmp_path, train=TRAIN | {"grpo": GRPO | {"max_steps": 5, "save_total_limit": 5}}
    )
    whole = make_run(tmp_path, config)
    rl.run_train(whole)
    uninterrupted = {step: batches[0] for step, batches in prompts_seen.items()}
    for step in (4, 5):
        (whole.work("train") / f"checkpoint-{step}" / "trainer_state.json").unlink()
    prompts_seen.clear()
    rl.run_train(whole)
    assert {step: batches[0] for step, batches in prompts_seen.items()} == {
        step: uninterrupted[step] for step in (3, 4)
    }
    assert [row["step"] for row in read_jsonl(whole.path("fade.jsonl"))] == [1, 2, 3, 4, 5]
    assert sorted({row["step"] for row in read_jsonl(whole.path("rollouts/samples.jsonl"))}) == [
        1,
        2,
        3,
        4,
        5,
    ]


@pytest.mark.slow
def test_a_finished_training_that_was_not_saved_is_saved_as_it_was(tmp_path):
    make_tiny(tmp_path / "model", "qwen2")
    grpo = GRPO | {"max_steps": 2, "lr_scheduler_type": "constant"}
    run = make_run(tmp_path, make_config(tmp_path, train=TRAIN | {"grpo": grpo}))
    rl.run_train(run)
    weights = AutoModelForCausalLM.from_pretrained(run.path("model")).state_dict()
    rows = read_jsonl(run.path("fade.jsonl"))
    shutil.rmtree(run.path("model"))
    rl.run_train(run)
    again = AutoModelForCausalLM.from_pretrained(run.path("model")).state_dict()
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert read_jsonl(run.path("fade.jsonl")) == rows


@pytest.mark.slow
def test_lora_is_merged_at_the_end_and_kept_beside_the_model(tmp_path):
    make_tiny(tmp_path / "model", "qwen2")
    config = make_config(tmp_path, train=TRAIN | {"lora": {"r": 2, "target_modules": ["q_proj"]}})
    run = make_run(tmp_path, config)
    rl.run_train(run)
    assert [path.name for path in run.path("model").glob("adapter*")] == ["adapter"]
    assert "lora" not in " ".join(
        AutoModelForCausalLM.from_pretrained(run.path("model")).state_dict()
    )


@pytest.mark.parametrize(
    ("shared", "problem"),
    [("auto", "the model computes NaN"), ("off", "probability tensor contains")],
)
def test_a_training_that_diverges_names_the_stage_and_the_step(tmp_path, shared, problem):
    make_tiny(tmp_path / "model", "qwen2")
    grpo = GRPO | {"learning_rate": 1e30, "lr_scheduler_type": "constant"}
    config = make_config(tmp_path, train=TRAIN | {"grpo": grpo, "shared_prefix": shared})
    turn = itertools.count()
    # Unequal rewards in each group, so that there is a gradient.
    terms = {"turn": (1.0, lambda judged: float(next(turn) % 2))}
    run = Run(make_run(tmp_path, config).folder, config, reward_terms=terms)
    with pytest.raises(ModelError, match=rf"^train, step 2: {problem}.*Try a lower learning_rate"):
        rl.run_train(run)


def measure_completions(folder, batch):
    """Return the log-probability of each completion of a generation under a saved model."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
    logps = logits.log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
    width = batch["completion_ids"].shape[1]
    return (logps[:, -width:] * batch["completion_mask"]).sum(1)


@pytest.mark.parametrize("shared", ["auto", "off"])
def test_a_step_makes_rewarded_completions_likelier_and_the_others_less_likely(
    tmp_path, monkeypatch, shared
):
    make_tiny(tmp_path / "model", "qwen2")
    batches, inside = [], GRPOTrainer._generate_and_score_completions

    def spy(self, inputs):
        batches.append(inside(self, inputs))
        return dict(batches[-1])

    monkeypatch.setattr(GRPOTrainer, "_generate_and_score_completions", spy)
    grpo = GRPO | {"num_generations": 4, "per_device_train_batch_size": 8, "max_steps": 1}
    config = make_config(tmp_path, train=TRAIN | {"grpo": grpo, "shared_prefix": shared})
    # Unlike in the two groups, so that rows and advantages in different orders would show.
    rewards = [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    turn = itertools.cycle(rewards)
    run = make_run(tmp_path, config)
    rl.run_train(Run(run.folder, config, reward_terms={"turn": (1.0, lambda judged: next(turn))}))
    [batch] = batches
    assert [bool(value > 0) for value in batch["advantages"]] == [bool(one) for one in rewards]
    assert batch["advantages"].view(2, 4).sum(1).tolist() == pytest.approx([0, 0], abs=1e-5)
    before, after = (measure_completions(path, batch) for path in
                     (tmp_path / "model", run.path("model")))  # fmt: skip
    is_rewarded = batch["advantages"] > 0
    assert (after - before)[is_rewarded].mean() > 0 > (after - before)[~is_rewarded].mean()


class Writer:
    """Stands in for `RowBuilder`; the prompt names all that it was asked for."""

    def __init__(self, mode):
        fade = SimpleNamespace(mode=mode)
        self.config = SimpleNamespace(train=SimpleNamespace(fade=fade))

    def build_row(self, problem_id, step, progress, *, copy, num_copies):
        return {"prompt": (problem_id, step, progress, copy, num_copies)}


@pytest.mark.parametrize(
    ("mode", "training", "copies"),
    [
        ("in_group", True, [(0, 2), (1, 2)]),
        ("in_group", False, [(0, 1), (0, 1)]),
        ("chance", True, [(0, 1), (0, 1)]),
    ],
)
def test_rows_are_of_this_step_and_copies_differ_in_groups_of_training_only(mode, training, copies):
    trainer = object.__new__(rl.ReaLMTrainer)
    trainer._builder, trainer.model = Writer(mode), SimpleNamespace(training=training)
    trainer.state = SimpleNamespace(global_step=3, max_steps=10)
    trainer.num_generations, trainer.accelerator = 2, SimpleNamespace(process_index=1)
    rows = trainer._write_rows([{"problem_id": "p1"}, {"problem_id": "p1"}])
    assert [row["prompt"] for row in rows] == [("p1", 3, 0.3, *copy) for copy in copies]


def test_a_model_whose_prompts_must_be_shared_and_cannot_is_a_config_error(tmp_path):
    config_path = make_tiny(tmp_path / "model", "qwen2") / "config.json"
    settings = json.loads(config_path.read_text()) | {"attention_dropout": 0.1}
    config_path.write_text(json.dumps(settings))
    config = make_config(tmp_path, train=TRAIN | {"shared_prefix": "on"})
    with pytest.raises(ConfigError, match=r"train\.shared_prefix: found on.* drops out 10%"):
        rl.run_train(make_run(tmp_path, config))


@pytest.mark.slow
def test_rollouts_and_the_saved_model_ignore_sampling_settings_of_the_checkpoint(tmp_path):
    texts = []
    for name, own in (("plain", {}), ("own", {"no_repeat_ngram_size": 1, "temperature": 0.1})):
        folder = make_tiny(tmp_path / name / "model", "gemma3")
        settings = GenerationConfig.from_pretrained(folder)
        settings.update(do_sample=True, **own)
        settings.save_pretrained(folder)
        config = make_config(tmp_path / name, train=TRAIN | {"shared_prefix": "off"})
        run = make_run(tmp_path / name, config)
        rl.run_train(run)
        texts.append([row["completion"] for row in read_jsonl(run.path("rollouts/samples.jsonl"))])
        saved = GenerationConfig.from_pretrained(run.path("model"))
        used = Policy(folder).model.generation_config
        assert saved.to_diff_dict() == used.to_diff_dict()
    assert texts[0] == texts[1]


@pytest.fixture
def builder(tmp_path):
    make_tiny(tmp_path / "model", "qwen2")
    config = make_config(tmp_path)
    return rl.RowBuilder(
        PROBLEMS, ROUTES, load_domain(config).verifier, config, Policy(tmp_path / "model").tokenizer
    )


def test_a_row_is_a_pure_function_of_its_problem_and_step(builder):
    rows = [builder.build_row(f"p{i}", step, step / 10) for i in range(6) for step in range(10)]
    assert rows == [
        builder.build_row(f"p{i}", step, step / 10) for i in range(6) for step in range(10)
    ]
    assert {len(row["facts"].routes) for row in rows} == {0, 2}
    assert all(not row["facts"].routes for row in rows if row["facts"].progress >= 0.9)
    assert not any("outsider" in row["prompt"][-1]["content"] for row in rows)


def test_what_graders_know_of_a_row_is_what_its_prompt_shows(builder):
    checked = 0
    for step in range(20):
        row = builder.build_row("p1", step, 0.0)
        facts, text = row["facts"], row["prompt"][-1]["content"]
        shown = [part.split("\n")[1] for part in text.split("<route ")[1:]]
        assert shown == [f"[1] {route.text}" for route in facts.routes]
        assert len(facts.flaws) == len(facts.routes) and facts.gold == "8"
        if facts.routes:
            # Two answers, one vote each: the first one shown counts.
            assert facts.majority == facts.routes[0].answer
            assert facts.majority_correct is facts.routes[0].correct
            checked += 1
    assert checked > 10


def test_a_gated_row_shows_what_the_gate_of_its_bucket_leaves(tmp_path):
    make_tiny(tmp_path / "model", "qwen2")
    fade = {"kind": "gated", "routes": 2, "dropout": 0.2, "start": 0.0, "gate": {"buckets": 1}}
    config = make_config(tmp_path, train=TRAIN | {"fade": fade})
    tokenizer = Policy(tmp_path / "model").tokenizer
    builder = rl.RowBuilder(PROBLEMS, ROUTES, load_domain(config).verifier, config, tokenizer)
    full = [builder.build_row(f"p{i}", step, 0.1)["facts"] for i in range(6) for step in range(20)]
    builder.gate.buckets = [Bucket(share=0.25)]
    few = [builder.build_row(f"p{i}", step, 0.1)["facts"] for i in range(6) for step in range(20)]
    assert {facts.share for facts in full} == {0.8} and {facts.share for facts in few} == {0.2}
    num_guided = [sum(bool(facts.routes) for facts in group) / 120 for group in (full, few)]
    assert num_guided == pytest.approx([0.8, 0.2], abs=0.1)


def test_problems_without_routes_are_shown_alone(tmp_path, caplog):
    make_tiny(tmp_path / "model", "qwen2")
    config = make_config(tmp_path)
    tokenizer = Policy(tmp_path / "model").tokenizer
    builder = rl.RowBuilder(PROBLEMS, ROUTES[:3], load_domain(config).verifier, config, tokenizer)
    rl.require_routes(builder, make_run(tmp_path, config))
    assert "5 of 6 training problems have no routes" in caplog.text
    assert all(builder.build_row("p5", step, 0.0)["facts"].routes == () for step in range(20))


@pytest.mark.parametrize(("num_sound", "level"), [(2, "INFO"), (0, "WARNING")])
def test_without_negatives_problems_without_a_sound_route_are_counted(
    tmp_path, caplog, num_sound, level
):
    make_tiny(tmp_path / "model", "qwen2")
    config = make_config(tmp_path, train=TRAIN | {"mix": {"show_flawed": False}})
    sound = {f"p{number}" for number in range(num_sound)}
    routes = [
        replace(route, process=route.problem_id in sound)
        for route in ROUTES
        if route.source != "outsider"
    ]
    tokenizer = Policy(tmp_path / "model").tokenizer
    builder = rl.RowBuilder(PROBLEMS, routes, load_domain(config).verifier, config, tokenizer)
    with caplog.at_level("INFO"):
        rl.require_routes(builder, make_run(tmp_path, config))
    [record] = [one for one in caplog.records if "show_flawed" in one.message]
    assert f"{num_sound} of 6 training problems" in record.message and record.levelname == level
    shown = {one: builder.build_row(one, 0, 0.0)["facts"].routes for one in ("p0", "p5")}
    assert bool(shown["p0"]) is bool(num_sound) and not shown["p5"]


def test_no_routes_at_all_is_an_error_while_the_fade_wants_some(tmp_path):
    make_tiny(tmp_path / "model", "qwen2")
    config = make_config(tmp_path)
    held_out = [route for route in ROUTES if route.source == "outsider"]
    with pytest.raises(
        DataError,
        match=r"none of the 6 training problems has a route to show, and train\.fade asks for 3",
    ):
        rl.run_train(make_run(tmp_path, config, routes=held_out))


def test_a_context_too_short_for_prompt_and_completion_is_refused(tmp_path):
    make_tiny(tmp_path / "model", "qwen2", context=400)
    config = make_config(tmp_path)
    with pytest.raises(
        ModelError,
        match=r"rows do not fit into 400 tokens. The longest, problem p\d, has \d+ tokens and "
        r"6 new tokens",
    ):
        rl.run_train(make_run(tmp_path, config))


def test_no_training_problem_is_an_error(tmp_path):
    make_tiny(tmp_path / "model", "qwen2")
    config = make_config(tmp_path)
    run = make_run(tmp_path, config)
    write_jsonl(run.path("problems.jsonl"), [])
    with pytest.raises(DataError, match="no problem of the split train is left"):
        rl.run_train(run)


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        ({}, ["p0", "p1", "p2", "p3", "p4", "p5"]),
        ({"problems": 2}, ["p0", "p1"]),
        ({"skip": 4}, ["p4", "p5"]),
        ({"skip": 1, "problems": 3}, ["p1", "p2", "p3"]),
        ({"skip": 6}, []),
    ],
)
def test_reinforcement_learning_takes_the_problems_after_those_it_skips(tmp_path, train, expected):
    run = make_run(tmp_path, make_config(tmp_path, train=TRAIN | train))
    assert [problem.id for problem in rl.select_rl_problems(run)] == expected


def arguments_of(folder, **grpo):
    config = make_config(
        folder,
        train=TRAIN
        | {"grpo": {key: value for key, value in (GRPO | grpo).items() if value is not None}},
    )
    return make_grpo_arguments(config, folder, num_problems=6)


def test_the_users_settings_win_over_our_presets(tmp_path):
    arguments = arguments_of(tmp_path, logging_steps=5, seed=3, disable_tqdm=False)
    assert (arguments.logging_steps, arguments.seed, arguments.disable_tqdm) == (5, 3, False)
    assert (arguments.use_cpu, arguments.bf16, arguments.gradient_checkpointing) == (
        not torch.cuda.is_available(),
    ) * 1 + (
        False,
        False,
    )


@pytest.mark.parametrize("is_fast", [True, False])
def test_bf16_auto_is_what_the_processor_does_fast(tmp_path, monkeypatch, is_fast):
    monkeypatch.setattr("realm.train.arguments.has_fast_bf16", lambda: is_fast)
    arguments = arguments_of(tmp_path, bf16="auto", use_cpu=True)
    assert arguments.bf16 is is_fast


def test_what_the_method_sets_is_refused_in_the_users_section(tmp_path):
    with pytest.raises(
        ConfigError, match=r"train\.grpo\.reward_weights: the method sets it itself"
    ):
        arguments_of(tmp_path, reward_weights=[1.0])


def test_what_trl_refuses_is_the_users_mistake(tmp_path):
    with pytest.raises(
        ConfigError, match=r"train\.grpo: GRPOConfig of TRL refuses it: GRPO requires at least 2"
    ):
        arguments_of(tmp_path, num_generations=1)


def test_a_text_where_trl_needs_a_number_is_the_users_mistake(tmp_path):
    for name, value, allowed in (
        ("max_steps", "many", "a number"),
        ("learning_rate", [1e-3], "a number"),
        ("gradient_checkpointing", "yes please", "true or false"),
    ):
        with pytest.raises(
            ConfigError, match=rf"^train\.grpo\.{name}: found .*; allowed: {allowed}\.$"
        ):
            arguments_of(tmp_path, **{name: value})


def test_a_batch_that_the_groups_do_not_fill_says_what_to_try(tmp_path):
    with pytest.raises(
        ConfigError,
        match=r"\(4\) must be divisible by num_generations \(3\).*"
        r"Try a multiple of num_generations",
    ):
        arguments_of(tmp_path, num_generations=3)


def test_checkpoints_must_fall_on_the_start_of_a_generation(tmp_path):
    with pytest.raises(
        ConfigError, match=r"save_steps: found 3; one generation lasts 4 steps.*Try 4"
    ):
        arguments_of(tmp_path, save_steps=3, steps_per_generation=4)
    assert arguments_of(tmp_path, save_steps=None, steps_per_generation=4).save_steps == 4


def test_epochs_become_an_explicit_number_of_steps(tmp_path):
    assert arguments_of(tmp_path, max_steps=None, num_train_epochs=2).max_steps == 6


def test_every_problem_comes_once_per_epoch_in_the_order_of_the_seed(tmp_path, builder):
    ids = [problem.id for problem in PROBLEMS]
    order = rl.order_rows(builder, arguments_of(tmp_path, max_steps=7))
    assert (
        len(order) == 14
        and sorted(order[:6]) == sorted(order[6:12]) == ids
        and order[:6] != order[6:12]
    )
    assert order == rl.order_rows(builder, arguments_of(tmp_path, max_steps=7))


def test_the_prompts_of_a_step_stand_in_order_of_length_where_it_takes_several_generations(
    tmp_path, builder
):
    several = arguments_of(
        tmp_path, max_steps=2, gradient_accumulation_steps=3, steps_per_generation=1
    )
    order = rl.order_rows(builder, several)
    for step in (0, 1):
        chunk = order[step * 6 : step * 6 + 6]
        sizes = [builder.measure_prompt(problem_id, step, step / 2) for problem_id in chunk]
        assert sizes == sorted(sizes) and sorted(chunk) == [problem.id for problem in PROBLEMS]


def graded(text, labels, *, correct, copied=None):
    said = parse_completion(text, len(labels))
    judged = Judged(
        text=text,
        correct=correct,
        verdicts=said.verdicts,
        named=said.named,
        flaws=(None,) * len(labels),
        labels=labels,
        well_formed=said.well_formed,
    )
    terms = weigh_terms(RewardWeights(first_flaw=0.0))
    values = {name: function(judged) for name, (_, function) in terms.items()}
    reward = sum(weight * (values[name] or 0.0) for name, (weight, _) in terms.items())
    return Graded(judged=judged, terms=values, reward=reward, copied=copied)


def test_metrics_tell_the_modes_and_the_classes_apart():
    sound = "<verify>Route 1: sound\nRoute 2: sound</verify><reason>r</reason><answer>1</answer>"
    found = compute_metrics(
        [
            graded(sound, (True, False), correct=True, copied=True),
            graded(
                "<verify>Route 1: sound\nRoute 2: flawed</verify>",
                (True, False),
                correct=False,
                copied=False,
            ),
            graded("<reason>r</reason><answer>1</answer>", (), correct=True),
        ]
    )
    assert found == {
        "assisted_reward": pytest.approx((1.35 + 0.5) / 2),
        "autonomous_reward": pytest.approx(1.1),
        "assisted_answer": 0.5,
        "autonomous_answer": 1.0,
        "undecided": 0.0,
        "routes_shown": pytest.approx(4 / 3),
        "verdict_accuracy_sound": 1.0,
        "verdict_accuracy_flawed": 0.5,
        "always_sound": 0.5,
        "always_flawed": 0.0,
        "position_bias": 0.5,
        "copy_rate": 0.5,
    }
