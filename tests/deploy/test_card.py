"""The model card of an export: what it states and where that comes from."""

from types import SimpleNamespace

import yaml

from finished_run import make_run
from realm.config.root import Config
from realm.core.jsonl import write_json, write_jsonl
from realm.core.records import Route
from realm.deploy.card import find_license, write_card
from realm.evaluate.records import Evaluation
from realm.evaluate.results import Results


def test_the_card_holds_prompts_data_results_and_how_to_reproduce(tmp_path):
    run = make_run(tmp_path, prompt={"autonomous": "Q: {question}", "system": "Be brief."})
    routes = [
        Route(problem_id="p", source="big|1", text="x", answer="1", correct=right, guided=True)
        for right in (True, True, False)
    ]
    write_jsonl(run.path("routes.jsonl"), routes)
    row = Evaluation(
        method="realm",
        mode="autonomous",
        split="test",
        seed=7,
        n=200,
        accuracy=0.82,
        ci95=(0.761, 0.87),
        tokens_per_problem=31.5,
    )
    write_json(run.path("results.json"), Results(evaluations=[row], comparisons=[]).to_json())
    card = write_card(run, run.path("model"), is_adapter=False, gguf="x-q8_0.gguf")
    _, header, text = card.split("---\n", 2)
    assert yaml.safe_load(header) == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "license": "apache-2.0",
    }
    assert "````text\nQ: {question}\n````" in text and "Be brief." in text
    assert "| big\\|1 | yes | 3 | 66.7% |" in text and "problems: 6 test, 4 train" in text
    assert "| test | realm | autonomous | 200 | 82.0 [76.1, 87.0] |" in text
    assert "`x-q8_0.gguf`" in text and "after reinforcement learning" in text
    config = text.partition("```yaml\n")[2].partition("```")[0]
    again = Config.model_validate(yaml.safe_load(config))
    assert again.dump() | {"run": "run"} == run.config.dump()
    assert str(tmp_path) not in text


def test_an_adapter_names_its_base_and_a_run_without_results_says_so(tmp_path, monkeypatch):
    def fail(self, model, timeout):
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", fail)
    run = make_run(tmp_path, model="owner/name")
    run.path("distilled").mkdir()
    card = write_card(run, run.path("distilled"), is_adapter=True)
    assert "library_name: peft" in card and "base_model: owner/name" in card
    assert "PeftModel" in card and "realm serve" not in card
    assert "license: unknown" in card and "set it before sharing" in card
    assert "after distillation" in card and "has not been evaluated" in card


def test_the_license_is_that_of_the_base_model(tmp_path, monkeypatch):
    assert find_license(make_run(tmp_path)) == "apache-2.0"
    found = SimpleNamespace(card_data=SimpleNamespace(license="mit"))
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, timeout: found)
    (tmp_path / "other").mkdir()
    assert find_license(make_run(tmp_path / "other", model="owner/name")) == "mit"
