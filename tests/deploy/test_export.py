"""`realm export`: what it writes, that the answers stay, and what it refuses."""

import shutil
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from finished_run import BASE, make_run
from realm.cli import app
from realm.config.root import load_config
from realm.core.errors import RunError
from realm.deploy import export
from realm.deploy.export import export_run
from realm.deploy.student import Student
from realm.run import Run

SHORT = {"max_new_tokens": 24}


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path, evaluate=SHORT, prompt={"autonomous": "Q: {question}\nA:"})


def test_the_export_is_the_model_with_its_prompts_and_answers_alike(run, tmp_path):
    (run.path("model") / "training_args.bin").write_bytes(b"x")
    (run.path("model") / "adapter").mkdir()
    target = tmp_path / "out"
    (check,) = export_run(run, target)
    assert (check.asked, check.same_texts, check.same_answers) == (6, 6, 6)
    assert check.right_before == check.right_after
    names = {path.name for path in target.iterdir()}
    assert {"README.md", "realm_prompts.json", "model.safetensors", "tokenizer.json"} <= names
    assert not names & {"training_args.bin", "adapter"}
    assert not list(tmp_path.glob(".*.part"))
    assert Student(str(target)).prompts == run.config.prompt


def test_other_weights_are_noticed(run, tmp_path, monkeypatch):
    real = shutil.copy2

    def damage(source, target):
        real(source, target)
        if source.suffix == ".safetensors":
            weights = load_file(source)
            changed = {name: torch.zeros_like(value) for name, value in weights.items()}
            save_file(changed, target / source.name, metadata={"format": "pt"})

    monkeypatch.setattr(export.shutil, "copy2", damage)
    (check,) = export_run(run, tmp_path / "out")
    assert check.same_texts == 0


def test_an_existing_folder_is_never_written_over(run, tmp_path):
    (tmp_path / "out").mkdir()
    export_run(run, tmp_path / "out", num_checked=0)
    with pytest.raises(RunError, match="is there already"):
        export_run(run, tmp_path / "out", num_checked=0)


def test_a_run_without_an_adapter_says_so_and_leaves_nothing(run, tmp_path):
    with pytest.raises(RunError, match="there is no such adapter"):
        export_run(run, tmp_path / "out", only_adapter=True)
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".*.part"))


def train_adapter(base, folder, seed):
    """Write a model with a random adapter as a training does: merged, the adapter beside it."""
    torch.manual_seed(seed)
    settings = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), settings)
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder / "adapter")
    model.merge_and_unload().save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)


def test_the_adapters_of_both_trainings_become_one_for_the_base_model(run, tmp_path):
    train_adapter(BASE, run.path("distilled"), 1)
    train_adapter(run.path("distilled"), run.path("model"), 2)
    (check,) = export_run(run, tmp_path / "out", only_adapter=True)
    assert (check.name, check.asked, check.same_answers) == ("adapter", 6, 6)
    base = AutoModelForCausalLM.from_pretrained(BASE)
    found = PeftModel.from_pretrained(base, tmp_path / "out").merge_and_unload().state_dict()
    wanted = AutoModelForCausalLM.from_pretrained(run.path("model")).state_dict()
    plain = AutoModelForCausalLM.from_pretrained(BASE).state_dict()
    name = "model.layers.0.self_attn.q_proj.weight"
    assert torch.allclose(found[name], wanted[name], atol=1e-5)
    assert not torch.allclose(found[name], plain[name], atol=1e-2)
    assert not (tmp_path / "out/model.safetensors").exists()


def test_a_gguf_file_answers_as_the_weights_do(run, tmp_path):
    pytest.importorskip("gguf")
    model, gguf = export_run(run, tmp_path / "out", gguf="F32")
    assert (gguf.name, gguf.same_texts) == ("out-f32.gguf", 6) and model.same_texts == 6
    assert {path.suffix for path in (tmp_path / "out").iterdir()} >= {".gguf", ".safetensors"}
    assert Student(str(tmp_path / "out/out-f32.gguf")).prompts == run.config.prompt


def test_the_verb_exports_and_uploads_to_a_private_repository(run, tmp_path, monkeypatch):
    calls = []
    hub = SimpleNamespace(
        create_repo=lambda name, private, exist_ok: calls.append((name, private)),
        upload_folder=lambda folder_path, repo_id: calls.append(folder_path) or "https://hub/x",
    )
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: hub)
    options = ["--push-to-hub", "me/x", "--check", "0"]
    done = CliRunner().invoke(
        app, ["export", str(run.folder), "--to", str(tmp_path / "out"), *options]
    )
    assert done.exit_code == 0, done.output
    assert calls == [("me/x", True), tmp_path / "out"] and "https://hub/x" in done.output


def test_a_hub_that_refuses_shows_before_the_export(run, tmp_path, monkeypatch):
    def refuse(name, private, exist_ok):
        raise OSError("401 Unauthorized")

    monkeypatch.setattr("huggingface_hub.HfApi", lambda: SimpleNamespace(create_repo=refuse))
    target = tmp_path / "out"
    done = CliRunner().invoke(
        app, ["export", str(run.folder), "--to", str(target), "--push-to-hub", "me/x"]
    )
    assert done.exit_code == 2 and "401 Unauthorized. Give OWNER/NAME" in done.output
    assert not target.exists()


def test_a_run_folder_alone_is_enough(run, tmp_path):
    again = Run(run.folder, load_config(run.folder))
    assert export_run(again, tmp_path / "out", num_checked=2)[0].asked == 2


def test_a_model_of_other_settings_than_the_runs_is_told_and_marked(run, tmp_path, caplog):
    export_run(run, tmp_path / "before", num_checked=0)
    assert "cannot be matched" not in caplog.text
    assert "cannot be matched" not in (tmp_path / "before/README.md").read_text()
    train = {"settings": "of another seed", "inputs": {}, "outputs": {}, "seconds": 1.0}
    run.write_manifest({"train": train})
    export_run(run, tmp_path / "after", num_checked=0)
    assert "train: the settings and data of the run cannot be matched" in caplog.text
    assert (
        "cannot be matched with the training of this model (train)"
        in (tmp_path / "after/README.md").read_text()
    )
