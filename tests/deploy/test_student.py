"""A student: which model and prompts it takes, and what it says."""

import json

import pytest
from typer.testing import CliRunner

from endpoint import Endpoint
from realm.cli import app
from realm.config.training import PromptConfig
from realm.core.errors import ConfigError, DataError, RunError
from realm.core.records import Judgement
from realm.deploy.student import Reply, Student, find_model_and_prompts
from realm.policy import Completion
from tiny import make_tiny

PROMPTS = {"autonomous": "Q: {question}", "assisted": "Q: {question}\n{routes}"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with a tiny random model and prompts of its own."""
    folder = tmp_path_factory.mktemp("run")
    make_tiny(folder / "model")
    (folder / "manifest.json").write_text(
        json.dumps({"schema": "realm.run/2", "config": {"prompt": PROMPTS}})
    )
    return folder


def test_a_run_folder_stands_for_its_model_and_brings_its_prompts(run, tmp_path):
    for given in (run, run / "model"):
        folder, prompts = find_model_and_prompts(str(given))
        assert folder == str(run / "model") and prompts.autonomous == "Q: {question}"
    assert find_model_and_prompts("Qwen/Qwen2.5-1.5B-Instruct") == (
        "Qwen/Qwen2.5-1.5B-Instruct",
        PromptConfig(),
    )
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(DataError, match="no model yet"):
        find_model_and_prompts(str(tmp_path))


def test_its_own_samples_are_judged_and_counted(run):
    student = Student(str(run))
    alone = student.ask("Who pays?", max_new_tokens=4)
    reply = student.ask("Who pays?", self_routes=3, max_new_tokens=4)
    assert alone.own_answers == () and len(reply.own_answers) == len(reply.judgement.verdicts) == 3
    assert reply.num_tokens > alone.num_tokens == alone.completion.num_tokens
    assert reply.completion.prompt_tokens > alone.completion.prompt_tokens
    assert student.ask("Who pays?", self_routes=3, max_new_tokens=4) == reply
    assert reply.is_cut


def test_a_server_that_holds_the_weights_gives_the_same_reply(run):
    local = Student(str(run))

    def answer(body):
        settings = local.policy.model.generation_config
        settings.update(max_new_tokens=body["max_tokens"], do_sample=False)
        [ids] = local.policy._sample([body["prompt"]], 1, settings)
        return {"text": "unread", "token_ids": ids}

    with Endpoint(answer=answer, cards=[{"id": "any", "root": str(run / "model")}]) as server:
        remote = Student(str(run), server.url)
        replies = [one.ask("Who pays?", max_new_tokens=6) for one in (local, remote)]
        assert replies[0] == replies[1]
        num_calls = len(server.calls)
        remote.ask("Who pays?", self_routes=3, max_new_tokens=6)
        assert len(server.calls) == num_calls + 4


def test_an_upstream_must_serve_one_model(run):
    with (
        Endpoint(cards=[{"id": "a"}, {"id": "b"}]) as server,
        pytest.raises(ConfigError, match=r"has 2 models \(a, b\), and it must be one"),
    ):
        Student(str(run), server.url)
    with pytest.raises(RunError, match=r"--upstream: no server answers at http://127.0.0.1:9/v1"):
        Student(str(run), "http://127.0.0.1:9/v1")
    with pytest.raises(ConfigError, match="--upstream localhost:80: this is no address"):
        Student(str(run), "localhost:80")


def test_the_reply_names_answer_verdicts_and_cost():
    completion = Completion(text=" <answer>pay 7</answer>\n", num_tokens=9, prompt_tokens=5)
    judgement = Judgement(verdicts=(True, None), answer="pay 7")
    text = Reply(
        completion=completion, judgement=judgement, own_answers=("pay 7", None), num_tokens=29
    ).describe()
    assert text.splitlines()[-4:] == [
        "answer  pay 7",
        "route 1 pay 7: sound",
        "route 2 (no answer): no verdict",
        "tokens  29",
    ]


def test_the_command_line_asks_and_reads_a_question_from_standard_input(run):
    arguments = ["ask", str(run), "Who pays?", "--self-routes", "2", "--max-new-tokens", "3"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0 and "answer  " in done.output and "route 2 " in done.output
    arguments[2] = "-"
    assert CliRunner().invoke(app, arguments, input="Who pays?").output == done.output
    empty = CliRunner().invoke(app, ["ask", str(run), " "])
    assert empty.exit_code == 2 and "The question is empty" in empty.output
