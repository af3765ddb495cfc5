"""On-policy self-distillation: the rules stand in the teacher's prompt only."""

import json

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM

from realm.config.root import load_config
from realm.core.errors import ConfigError, ModelError
from realm.core.jsonl import write_jsonl
from realm.core.records import Problem
from realm.run import Run
from realm.train import self_distillation
from realm.train import sft as distill
from tiny import make_tiny

torch.set_num_threads(1)

RULES = "1. Subtract {what} Ann pays.\n2. Never round."
SDFT = {
    "max_steps": 2,
    "per_device_train_batch_size": 4,
    "num_generations": 2,
    "max_completion_length": 12,
    "learning_rate": 1e-2,
    "distillation_topk": 20,
}


def make_run(folder, *, sdft=SDFT, rules=RULES, **model):
    make_tiny(folder / "model", "qwen2", **model)
    (folder / "rules.md").write_text(rules)
    domain = {"kind": "files", "path": "none.jsonl", "answer": "number", "rules": "rules.md"}
    settings = {
        "model": "model",
        "domain": domain,
        "routes": {"kind": "import", "files": [{"path": "x", "source": "hasty"}]},
        "distill": {"kind": "self", "sdft": sdft},
    }
    (folder / "small.yaml").write_text(yaml.safe_dump(settings))
    config = load_config(folder / "small.yaml")
    run = Run(folder / "run", config)
    problems = [
        Problem(id=f"p{i}", split="train", question=f"Ann pays {i} of 9?", answer=str(9 - i))
        for i in range(6)
    ]
    write_jsonl(run.path("problems.jsonl"), problems)
    write_jsonl(run.path("routes.jsonl"), [])
    return config, run


@pytest.mark.parametrize("chat", [True, False])
def test_it_ends_with_a_trained_checkpoint_and_asks_the_student_without_the_rules(tmp_path, chat):
    config, run = make_run(tmp_path, chat=chat)
    distill.check_distill(Run(tmp_path, config))
    distill.run_distill(run)
    rows = [json.loads(line) for line in run.path("sft.jsonl").read_text().splitlines()]
    assert len(rows) == 6 and not any("Subtract" in row["prompt"] for row in rows)
    assert json.loads(run.path("sft_stats.json").read_text()) == {
        "kind": "self",
        "rows": 6,
        "problems": 6,
    }
    model = AutoModelForCausalLM.from_pretrained(run.path("distilled"))
    before = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert not torch.equal(
        model.get_input_embeddings().weight, before.get_input_embeddings().weight
    )
    assert "2 steps" in run.path("distilled/README.md").read_text()


def test_the_teacher_reads_the_rules_and_then_the_prompt(tmp_path):
    config, run = make_run(tmp_path)
    arguments = self_distillation.make_sdft_arguments(config, tmp_path)
    problems = [Problem(id="p", split="train", question="2 + 2?", answer="4")]
    dataset, _ = self_distillation.write_prompts(run, problems, arguments)
    assert dataset[0]["privileged_context"] == RULES and dataset[0]["prompt"][-1][
        "content"
    ].startswith("2 + 2?")
    assert (
        arguments.teacher_prompt_template == "{privileged_context}\n\n{prompt}"
        and arguments.max_prompt_length is None
    )


def test_a_domain_without_rules_has_no_privileged_context(tmp_path):
    config, _ = make_run(tmp_path)
    bare = config.model_copy(update={"domain": config.domain.model_copy(update={"rules": None})})
    with pytest.raises(ConfigError, match=r"distill.kind: self needs a rule book.*domain.rules"):
        distill.check_distill(Run(tmp_path, bare))


def test_rules_too_long_for_the_context_are_refused_and_nothing_is_cut(tmp_path):
    _, run = make_run(tmp_path, rules="1. Pay. " * 100, context=400)
    with pytest.raises(ModelError, match="6 of 6 rows do not fit into 400 tokens"):
        distill.run_distill(run)
    assert not run.path("sft.jsonl").exists()


def test_an_unknown_setting_of_trl_is_named(tmp_path):
    config, _ = make_run(tmp_path, sdft={"max_step": 2})
    with pytest.raises(
        ConfigError,
        match=r"distill.sdft.max_step: SDFTConfig of TRL has no such setting. "
        r"Did you mean max_steps",
    ):
        distill.check_distill(Run(tmp_path, config))
