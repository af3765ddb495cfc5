import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from peft import PeftModel
from transformers import AutoModelForCausalLM, GenerationConfig, pipeline

from realm.checkpoint import load_checkpoint
from realm.config.root import load_config
from realm.core.errors import ConfigError, DataError, ModelError
from realm.core.jsonl import write_jsonl
from realm.core.records import Problem, Route
from realm.method.parse import parse_completion
from realm.method.steps import Flaw, find_taught_flaw
from realm.policy import Policy
from realm.run import Run
from realm.train import sft as distill
from realm.train.arguments import make_sft_arguments
from realm.train.chains import measure_log_likelihoods
from realm.train.sft import make_sft_rows, select_taught_problems
from realm.train.trl import find_student_tags, find_turn_end, tokenize_rows
from tiny import make_tiny

torch.set_num_threads(1)

SLOW_ARCHITECTURES = [pytest.param(name, marks=pytest.mark.slow) for name in ("qwen3", "gemma3")]


@pytest.fixture(autouse=True)
def log_info(caplog):
    caplog.set_level("INFO", logger="realm")


SFT = {"max_steps": 2, "per_device_train_batch_size": 4, "learning_rate": 1e-3}


def problem(i):
    return Problem(
        id=f"p{i}", split="train", question=f"Ann pays {i} of 9. What is left?", answer=str(9 - i)
    )


def route(i, source, text, answer, **more):
    return Route(
        problem_id=f"p{i}",
        source=source,
        text=text,
        answer=answer,
        correct=answer == str(9 - i),
        **more,
    )


PROBLEMS = [problem(i) for i in range(8)]
CHAINS = [route(i, "teacher", f"9 - {i} = {9 - i}.", str(9 - i), guided=True) for i in range(8)]
SHOWN = [
    route(i, source, f"{source}: 9 - {i} = {said}.", str(said))
    for i in range(8)
    for source, said in (("hasty", 9 - i), ("frugal", 8 - i), ("dated", 9 - i), ("outsider", 7 - i))
]


def make_config(folder: Path, *, model="model", **sections):
    path = folder / "small.yaml"
    settings = {
        "model": model,
        "domain": {"kind": "files", "path": "none.jsonl", "answer": "number"},
    } | {
        "routes": {
            "kind": "import",
            "files": [{"path": "x", "source": s} for s in ("hasty", "frugal", "dated", "outsider")],
            "held_out": ["outsider"],
        },
        "distill": {"sft": SFT},
    }
    path.write_text(yaml.safe_dump(settings | sections))
    return load_config(path)


def make_run(folder: Path, config, routes=None) -> Run:
    run = Run(folder / "run", config)
    write_jsonl(run.path("problems.jsonl"), PROBLEMS)
    write_jsonl(run.path("routes.jsonl"), [*CHAINS, *SHOWN] if routes is None else routes)
    return run


def rows_of(config):
    problems = {p.id: p for p in PROBLEMS}
    return make_sft_rows(problems, [*CHAINS, *SHOWN], CHAINS, render=str, config=config)


@pytest.mark.parametrize(("number", "expected"), [(None, 8), (3, 3)])
def test_chains_of_the_first_problems_only_are_taught(tmp_path, number, expected):
    run = make_run(tmp_path, make_config(tmp_path, distill={"problems": number, "sft": SFT}))
    assert select_taught_problems(run) == PROBLEMS[:expected]


def test_half_of_the_rows_are_assisted_and_all_chains_are_taught_alone(tmp_path):
    rows = rows_of(make_config(tmp_path))
    alone = [row for row in rows if "<route 1>" not in row["prompt"]]
    assert len(rows) == 16 and len(alone) == 8
    assert {row["problem_id"] for row in alone} == {p.id for p in PROBLEMS}
    assert all(set(row) == {"problem_id", "prompt", "completion", "route"} for row in rows)


def test_assisted_rows_teach_the_outcome_of_every_route_shown(tmp_path):
    truth = {r.text: r for r in SHOWN}
    for row in rows_of(make_config(tmp_path, distill={"assisted_share": 0.8}))[8:]:
        shown = [truth[text] for text in shown_texts(row)]
        said = parse_completion(row["completion"], len(shown))
        assert said.well_formed and said.verdicts == tuple(route.correct for route in shown)
        assert said.answer == str(9 - int(row["problem_id"][1:]))
        # The one step of a wrong route here states its wrong result.
        assert said.named == tuple(None if route.correct else 1 for route in shown)


def shown_texts(row):
    """Return the text of each route that a row shows, without the numbers of its steps."""
    parts = row["prompt"].split("<route ")[1:]
    fenced = [part.split(">\n", 1)[1].split("\n</route>")[0] for part in parts]
    return ["\n".join(line.split("] ", 1)[1] for line in text.split("\n")) for text in fenced]


def test_the_check_of_a_route_without_a_process_label_is_guessed_from_the_taught_chain():
    chain = route(0, "teacher", "take 9\n9 - 0 = 9\n9", "9", guided=True)
    near = route(0, "hasty", "take 9\n9 - 0 = 8\n8", "8")
    far = route(0, "hasty", "Surely it must be eight, or so I think.\n8", "8")
    assert find_taught_flaw(near, chain, "9") == Flaw(2, "9 - 0 = 9")
    assert find_taught_flaw(far, chain, "9") == Flaw(2, "9")
    labelled = replace(near, process=False, flaw=1, fix="take 8")
    assert find_taught_flaw(labelled, chain, "9") == Flaw(1, "take 8")


def test_perturbed_routes_are_taught_as_flawed_though_their_answer_is_right(tmp_path):
    problems = [problem(i) for i in range(8)]
    chains = [
        route(i, "teacher", f"take 9\nless {i}\n9 - {i} = {9 - i}", str(9 - i), guided=True)
        for i in range(8)
    ]
    bank = [
        route(i, "hasty", f"{word} take 9\n{word} less {i}\n{word} {9 - i}\n{9 - i}", str(9 - i))
        for i in range(8)
        for word in ("we", "they", "you")
    ]
    config = make_config(tmp_path, train={"mix": {"perturbed_share": 1.0}})
    rows = make_sft_rows({p.id: p for p in problems}, bank, chains, render=str, config=config)
    known, found = {r.text for r in bank}, []
    for row in rows[8:]:
        shown = shown_texts(row)
        said = parse_completion(row["completion"], len(shown))
        assert said.verdicts == tuple(text in known for text in shown)
        found += [
            (text.split("\n"), step)
            for text, step in zip(shown, said.named, strict=True)
            if text not in known
        ]
    assert len(found) > 5
    right_answers = [steps for steps, step in found if step < len(steps)]
    assert len(right_answers) > len(found) / 3


def test_a_chain_that_is_the_only_route_of_its_problem_is_not_judged_against_itself(tmp_path):
    problems, own = {p.id: p for p in PROBLEMS}, SHOWN[:1]
    empty = [route(0, "frugal", " ", None), *own]
    assert len(make_sft_rows(problems, empty, own, render=str, config=make_config(tmp_path))) == 1


def test_no_set_without_a_route_becomes_an_assisted_row(tmp_path):
    config = make_config(tmp_path, train={"mix": {"show_flawed": False}})
    wrong = [r for r in SHOWN if not r.correct and r.source != "outsider"]
    rows = make_sft_rows({p.id: p for p in PROBLEMS}, wrong, CHAINS, render=str, config=config)
    assert len(rows) == 8 and not any("<verify>" in row["completion"] for row in rows)


def test_held_out_routes_are_never_taught(tmp_path):
    rows = rows_of(make_config(tmp_path, distill={"assisted_share": 0.9}))
    assert len(rows) == 80 and not any("outsider" in row["prompt"] for row in rows)


def test_the_taught_chain_is_never_among_the_routes_that_its_prompt_shows(tmp_path):
    chains = [r for r in SHOWN if r.correct and r.source == "hasty"]
    config = make_config(tmp_path, distill={"assisted_share": 0.8})
    rows = make_sft_rows({p.id: p for p in PROBLEMS}, SHOWN, chains, render=str, config=config)
    assisted = [row for row in rows if "<route 1>" in row["prompt"]]
    assert assisted and not any("hasty" in row["prompt"] for row in assisted)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 8), (0.2, 10), (1.0, 16)])
def test_the_share_of_assisted_rows_is_as_asked(tmp_path, share, expected):
    assert len(rows_of(make_config(tmp_path, distill={"assisted_share": share}))) == expected


def test_unguided_and_answer_only_rows_hold_nothing_that_the_guided_teacher_wrote(tmp_path):
    alone = rows_of(make_config(tmp_path, distill={"kind": "unguided"}))
    assert len(alone) == 8 and not any("<route 1>" in row["prompt"] for row in alone)
    answers = rows_of(make_config(tmp_path, distill={"kind": "answer_only"}))
    assert [row["completion"] for row in answers] == [f"<answer>{9 - i}</answer>" for i in range(8)]


@pytest.mark.parametrize(("kind", "rows"), [("guided", 16), ("unguided", 8), ("answer_only", 8)])
def test_each_kind_of_distillation_ends_with_a_checkpoint_and_its_figures(tmp_path, kind, rows):
    make_tiny(tmp_path / "model", "qwen2")
    config = make_config(tmp_path, distill={"kind": kind, "max_chains_per_problem": 1, "sft": SFT})
    run = make_run(tmp_path, config)
    distill.run_distill(run)
    stats = json.loads(run.path("sft_stats.json").read_text())
    assert (stats["kind"], stats["rows"], stats["guided_share"]) == (
        kind,
        rows,
        float(kind != "unguided"),
    )
    assert run.path("distilled/model.safetensors").exists()
    assert ("likelihood_chosen" in stats) == (
        kind == "unguided"
    )  # two or three of hasty, dated and frugal are right: a choice


def test_a_step_takes_rows_at_random_and_the_seed_decides_which(tmp_path, monkeypatch):
    make_tiny(tmp_path / "model", "qwen2")
    steps = []
    compute = distill.TaughtLossTrainer.compute_loss

    def record(trainer, model, inputs, *args, **kwargs):
        rows = zip(inputs["input_ids"], inputs["attention_mask"], strict=True)
        found = [tuple(ids[mask == 1].tolist()) for ids, mask in rows]
        step = trainer.state.global_step
        steps[-1].setdefault(step, []).append(found)
        return compute(trainer, model, inputs, *args, **kwargs)

    monkeypatch.setattr(distill.TaughtLossTrainer, "compute_loss", record)
    settings = {"max_steps": 4, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    for seed in (1, 2):
        steps.append({})
        config = make_config(tmp_path, distill={"sft": settings}, seed=seed)
        distill.run_distill(make_run(tmp_path / str(seed), config))
    for of in steps:
        # An epoch: each of the 16 rows once, in steps of 4, in parts of like length.
        rows = [row for parts in of.values() for part in parts for row in part]
        assert len(rows) == len(set(rows)) == 16
        for parts in of.values():
            longer, shorter = (list(map(len, part)) for part in parts)
            assert len(longer) + len(shorter) == 4 and min(longer) >= max(shorter)
    # The rows without routes, the shortest, are the same under both seeds, in other steps.
    shortest = min(len(row) for parts in steps[0].values() for part in parts for row in part)
    first, second = (
        [{row for part in parts for row in part if len(row) == shortest} for parts in of.values()]
        for of in steps
    )
    assert set.union(*first) == set.union(*second) and first != second
    # Steps of like length would teach one length at a time.
    assert make_sft_arguments(config, tmp_path).train_sampling_strategy == "batch_rebalance"


def test_a_choice_by_likelihood_takes_the_chain_that_the_student_finds_likelier(tmp_path, caplog):
    make_tiny(tmp_path / "model", "qwen2")
    strange = [
        route(i, "teacher", "\u4e8c\u5341\u4e8c\u5341 zq" * 3, str(9 - i), guided=True)
        for i in range(8)
    ]
    config = make_config(
        tmp_path, distill={"max_chains_per_problem": 1, "max_chain_tokens": 400, "sft": SFT}
    )
    run = make_run(tmp_path, config, routes=[*CHAINS, *strange])
    distill.run_distill(run)
    stats = json.loads(run.path("sft_stats.json").read_text())
    assert stats["left_out"] == {"over max_chains_per_problem": 8} and stats["chains"] == 8
    assert "Right chains left out: 8 over max_chains_per_problem." in caplog.text
    assert stats["likelihood_chosen"] > stats["likelihood_rivals"]


def test_rules_that_no_chain_uses_are_printed_and_written_down(tmp_path, caplog):
    make_tiny(tmp_path / "model", "qwen2")
    (tmp_path / "rules.md").write_text(
        "1. Subtract what Ann pays: 9 - 1 = 8.\n2. Rounding is forbidden on Sundays.\n"
    )
    domain = {"kind": "files", "path": "none.jsonl", "answer": "number", "rules": "rules.md"}
    config = make_config(tmp_path, domain=domain)
    run = make_run(tmp_path, config)
    distill.run_distill(run)
    stats = json.loads(run.path("sft_stats.json").read_text())
    assert (stats["rules"], stats["rules_unused"]) == (2, [2])
    assert "No chain uses 1 of the 2 rules, as far as its text tells: 2." in caplog.text
    assert "Right chains left out: none." in caplog.text


@pytest.mark.parametrize("architecture", ["llama", *SLOW_ARCHITECTURES])
def test_distillation_ends_with_a_plain_checkpoint(tmp_path, architecture):
    make_tiny(tmp_path / "model", architecture)
    config = make_config(tmp_path)
    run = make_run(tmp_path, config)
    distill.run_distill(run)
    files = {path.name for path in run.path("distilled").iterdir()}
    assert {
        "model.safetensors",
        "tokenizer.json",
        "chat_template.jinja",
        "generation_config.json",
        "README.md",
    } <= files
    model = AutoModelForCausalLM.from_pretrained(run.path("distilled"))
    before = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert not torch.equal(
        model.get_input_embeddings().weight, before.get_input_embeddings().weight
    )
    assert (
        "2 steps" in (run.path("distilled") / "README.md").read_text()
        and str(tmp_path) not in (run.path("distilled") / "README.md").read_text()
    )
    assert json.loads(run.path("sft_stats.json").read_text())["assisted_rows"] == 8
    chat = [{"role": "user", "content": "What is left?"}]
    assert pipeline("text-generation", model=str(run.path("distilled")))(
        chat, max_new_tokens=2, do_sample=False
    )


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gemma3"])
@pytest.mark.parametrize("chat", [True, False])
def test_a_row_is_the_prompt_of_evaluation_then_the_completion_and_a_stop_token(
    tmp_path, architecture, chat
):
    policy = Policy(make_tiny(tmp_path / "model", architecture, chat=chat))
    config = make_config(tmp_path)
    closing = find_turn_end(policy.model, policy.tokenizer, config)
    rows = rows_of(config)[:2]
    dataset = tokenize_rows(rows, policy.tokenizer, prompts=config.prompt, closing=closing)
    for row, ids, labels in zip(rows, dataset["input_ids"], dataset["labels"], strict=True):
        prompt = policy._encode([policy.render(row["prompt"])])[0]
        assert ids[: len(prompt)] == prompt and set(labels[: len(prompt)]) == {-100}
        assert labels[len(prompt) :] == ids[len(prompt) :] and ids[-1] in policy._stops
        assert policy.read(ids[len(prompt) :]) == row["completion"]


THINK = {"think_start": "<think>", "think_end": "</think>"}


def test_a_reasoning_student_is_taught_to_think_and_then_to_check_and_answer(tmp_path):
    config = make_config(tmp_path, prompt=THINK)
    tokenizer = load_checkpoint(make_tiny(tmp_path / "model", "qwen2"))[1]
    tags = find_student_tags(tokenizer, config)
    problems = {p.id: p for p in PROBLEMS}
    rows = make_sft_rows(problems, [*CHAINS, *SHOWN], CHAINS, render=str, config=config, tags=tags)
    assert rows[0]["completion"] == "<think>\n9 - 0 = 9.\n</think>\n\n<answer>9</answer>"
    assisted = [row for row in rows if "<route 1>" in row["prompt"]]
    assert len(assisted) == 8 and not any("<reason>" in row["prompt"] for row in rows)
    for row in assisted:
        thought, _, reply = row["completion"].partition("</think>")
        assert thought.startswith("<think>\n9 - ") and reply.startswith("\n\n<verify>\nRoute 1: ")
        num_routes = row["prompt"].count("<route ")
        said = parse_completion(row["completion"], num_routes, think_end="</think>")
        assert said.well_formed and None not in said.verdicts and said.reasoning.startswith("9 - ")


def test_a_template_that_opens_the_thoughts_is_not_opened_again(tmp_path):
    config = make_config(tmp_path, prompt={"think_end": "</think>"})
    tokenizer = load_checkpoint(make_tiny(tmp_path / "model", "qwen2"))[1]
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "assistant\n{% endif", "assistant\n<think>\n{% endif"
    )
    tags = find_student_tags(tokenizer, config)
    [row] = make_sft_rows(
        {"p1": PROBLEMS[1]}, [], CHAINS[1:2], render=str, config=config, tags=tags
    )
    assert row["completion"] == "9 - 1 = 8.\n</think>\n\n<answer>8</answer>"


def test_think_tags_that_do_not_fit_the_template_stop_the_distillation(tmp_path):
    make_tiny(tmp_path / "model", "qwen2")
    run = make_run(tmp_path, make_config(tmp_path, prompt={"think_end": "</think>"}))
    with pytest.raises(ConfigError, match=r"prompt\.think_start: needed and missing"):
        distill.run_distill(run)
    assert not run.path("sft.jsonl").exists()


@pytest.mark.slow
def test_a_killed_distillation_goes_on_from_its_last_checkpoint(tmp_path, caplog):
    make_tiny(tmp_path / "model", "qwen2")
    config = make_config(tmp_path, distill={"sft": SFT | {"max_steps": 4, "save_steps": 2}})
    run = make_run(tmp_path, config)
    distill.run_distill(run)
    whole = run.work("distill") / "checkpoint-2"
    assert whole.exists()
    (
        run.work("distill") / "checkpoint-4" / "trainer_state.json"
    ).unlink()  # as a kill in the middle of saving leaves it
    caplog.clear()
    distill.run_distill(run)
    assert "continues at step 2" in caplog.text


@pytest.mark.parametrize("lora", [None, {"r": 2, "target_modules": ["q_proj"]}])
def test_a_training_killed_after_its_last_checkpoint_is_saved_and_not_continued(tmp_path, lora):
    make_tiny(tmp_path / "model", "qwen2")
    # Three of the four steps of an epoch, at a rate that does not decay: a step too many shows.
    sft = SFT | {"max_steps": 3, "save_steps": 3, "lr_scheduler_type": "constant"}
    train = {"lora": lora} if lora else {}
    config = make_config(tmp_path, distill={"sft": sft}, train=train)
    run = make_run(tmp_path, config)
    distill.run_distill(run)
    weights = AutoModelForCausalLM.from_pretrained(run.path("distilled")).state_dict()
    card = (run.path("distilled") / "README.md").read_text()
    shutil.rmtree(run.path("distilled"))
    distill.run_distill(run)
    again = AutoModelForCausalLM.from_pretrained(run.path("distilled")).state_dict()
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert (run.path("distilled") / "README.md").read_text() == card


def test_distillation_makes_the_taught_completions_likelier(tmp_path):
    base, tokenizer = load_checkpoint(make_tiny(tmp_path / "model", "qwen2"))
    run = make_run(tmp_path, make_config(tmp_path))
    distill.run_distill(run)
    rows = [json.loads(line) for line in run.path("sft.jsonl").read_text().splitlines()]
    tokens = tokenize_rows(
        rows, tokenizer, prompts=run.config.prompt, closing="<|im_end|>"
    ).to_list()
    before, after = (
        sum(measure_log_likelihoods(model, tokens, tmp_path / f"{name}.jsonl", pad=0))
        for name, model in (("base", base), ("after", load_checkpoint(run.path("distilled"))[0]))
    )
    assert after > before


def test_a_distillation_that_diverges_names_the_stage_and_the_step(tmp_path):
    make_tiny(tmp_path / "model", "qwen2")
    sft = SFT | {"learning_rate": 1e30, "lr_scheduler_type": "constant"}
    run = make_run(tmp_path, make_config(tmp_path, distill={"sft": sft}))
    with pytest.raises(ModelError, match=r"^distill, step 2: the gradient is nan\. Training div"):
        distill.run_distill(run)
    assert not run.path("distilled").exists()


def test_lora_adapters_are_merged_into_the_checkpoint_and_kept_beside_it(tmp_path):
    base = make_tiny(tmp_path / "model", "qwen2")
    config = make_config(tmp_path, train={"lora": {"r": 2, "target_modules": ["q_proj"]}})
    run = make_run(tmp_path, config)
    distill.run_distill(run)
    merged = AutoModelForCausalLM.from_pretrained(run.path("distilled")).state_dict()
    assert "lora" not in " ".join(merged)
    plain = AutoModelForCausalLM.from_pretrained(base)
    weight = "model.layers.0.self_attn.q_proj.weight"
    assert not torch.equal(plain.state_dict()[weight], merged[weight])
    adapted = PeftModel.from_pretrained(plain, run.path("distilled/adapter")).merge_and_unload()
    assert torch.allclose(adapted.state_dict()[weight], merged[weight], atol=1e-6)
    assert {path.name for path in run.path("distilled/adapter").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }


@pytest.mark.parametrize("lora", [None, {"r": 2, "target_modules": ["q_proj"]}])
def test_a_model_in_bfloat16_stays_one(tmp_path, lora):
    base = make_tiny(tmp_path / "model", "qwen2")
    AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16).save_pretrained(base)
    config = make_config(tmp_path, train={"lora": lora} if lora else {})
    run = make_run(tmp_path, config)
    distill.run_distill(run)
    size = (base / "model.safetensors").stat().st_size
    assert run.path("distilled/model.safetensors").stat().st_size == pytest.approx(size, rel=0.01)
    model = AutoModelForCausalLM.from_pretrained(run.path("distilled"), dtype="auto")
    assert {weight.dtype for weight in model.state_dict().values()} == {torch.bfloat16}


def test_a_context_too_short_is_refused_with_the_longest_row(tmp_path):
    make_tiny(tmp_path / "model", "qwen2", context=300)
    config = make_config(tmp_path)
    with pytest.raises(
        ModelError,
        match=r"rows do not fit into 300 tokens. The longest, problem p\d, has \d+ tokens",
    ):
        distill.run_distill(make_run(tmp_path, config))
    assert (
        not list((tmp_path / "run").glob("sft*")) and not (tmp_path / "run" / "distilled").exists()
    )


def test_a_checkpoint_whose_generation_settings_cannot_be_written_is_distilled_all_the_same(
    tmp_path,
):
    settings = make_tiny(tmp_path / "model", "qwen2") / "generation_config.json"
    settings.write_text(
        json.dumps(json.loads(settings.read_text()) | {"do_sample": False, "temperature": 0.6})
    )
    config = make_config(tmp_path)
    run = make_run(tmp_path, config)
    distill.run_distill(run)
    saved = GenerationConfig.from_pretrained(run.path("distilled"))
    used = Policy(tmp_path / "model").model.generation_config
    assert saved.to_diff_dict() == used.to_diff_dict() and saved.temperature is None


@pytest.mark.slow
def test_the_libraries_say_nothing_between_our_own_lines(tmp_path, capfd):
    make_tiny(tmp_path / "model", "qwen2")
    capfd.readouterr()
    config = make_config(tmp_path, distill={"sft": SFT | {"max_steps": 4, "save_steps": 1}})
    distill.run_distill(make_run(tmp_path, config))
    printed = capfd.readouterr()
    assert printed.err == ""
    # A command-line test of this process may have sent our own lines to the terminal.
    ours = ("rows teach", "Right chains left out")
    assert all(any(part in line for part in ours) for line in printed.out.splitlines())


def test_a_max_length_that_would_cut_rows_is_refused(tmp_path):
    make_tiny(tmp_path / "model", "qwen2")
    config = make_config(tmp_path, distill={"sft": SFT | {"max_length": 100}})
    with pytest.raises(
        ModelError,
        match=r"distill.sft.max_length: \d+ of 16 rows do not fit into 100 tokens.*set it to null",
    ):
        distill.run_distill(make_run(tmp_path, config))


def test_an_unknown_setting_of_trl_is_named_with_a_suggestion(tmp_path):
    make_tiny(tmp_path / "model", "qwen2")
    config = make_config(tmp_path, distill={"sft": {"learning_rat": 1}})
    with pytest.raises(
        ConfigError,
        match=r"distill.sft.learning_rat: SFTConfig of TRL has no such setting. "
        r"Did you mean learning_rate\?",
    ):
        distill.run_distill(make_run(tmp_path, config))


def test_no_right_route_means_nothing_to_distil(tmp_path):
    make_tiny(tmp_path / "model", "qwen2")
    config = make_config(tmp_path)
    with pytest.raises(DataError, match="no route of a training problem reaches the gold answer"):
        distill.run_distill(make_run(tmp_path, config, routes=[r for r in SHOWN if not r.correct]))
