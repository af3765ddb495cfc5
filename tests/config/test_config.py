from pathlib import Path

import pytest

from realm.config.root import Config, load_config
from realm.config.yaml import RENAMED
from realm.core.errors import ConfigError

ROOT = Path(__file__).parents[2]


def message_of(path, overrides=()):
    with pytest.raises(ConfigError) as caught:
        load_config(path, list(overrides))
    return str(caught.value)


def test_defaults_fill_what_the_file_leaves_out(write_config):
    config = load_config(write_config())
    assert (config.seed, config.recipe, config.train.fade.end) == (7, "r1", 0.8)
    assert config.domain.settings["sizes"]["test"] == 8


def test_on_and_off_may_stand_bare_though_yaml_reads_them_as_truth(write_config):
    for said in ("on", "off", "auto"):
        config = load_config(write_config(), [f"train.shared_prefix={said}"])
        assert config.train.shared_prefix == said


def test_a_value_in_place_of_a_section_is_called_so(write_config):
    message = message_of(write_config(), ["train.fade=3"])
    assert message == "--set train.fade=3: found 3; fade is a section, which holds keys."


def test_an_override_is_read_as_yaml_and_wins(write_config):
    config = load_config(
        write_config(),
        [
            "seed=3",
            "train.fade.kind=cosine",
            "train.lora={r: 8}",
            "domain.settings.sizes.train=5",
            "train.grpo.learning_rate=1e-5",
        ],
    )
    assert (
        config.seed,
        config.train.fade.kind,
        config.train.lora,
        config.domain.settings["sizes"]["train"],
    ) == (
        3,
        "cosine",
        {"r": 8},
        5,
    )
    assert config.train.grpo == {"learning_rate": 1e-5}, "YAML 1.1 would read 1e-5 as a text"


@pytest.mark.parametrize("old", RENAMED)
def test_the_error_for_an_old_key_names_the_new_one(write_config, old):
    message = message_of(write_config(), [f"{old}=1"])
    assert message == f"--set {old}=1: this key is now called {RENAMED[old]}."
    section = Config
    for name in RENAMED[old].split("."):
        assert name in section.model_fields
        section = section.model_fields[name].annotation


def test_an_unknown_key_names_file_key_allowed_keys_and_the_nearest(write_config):
    path = write_config(train={"fade": {"dropot": 0.7}})
    assert message_of(path) == (
        f"{path}: train.fade.dropot: unknown key. Allowed here: kind, routes, start, end, dropout, "
        "mode, gate, transfer. "
        "Did you mean 'dropout'?"
    )


def test_the_kind_of_the_domain_that_moved_to_the_examples_names_its_place(write_config):
    path = write_config(domain={"kind": "claims", "sizes": {"train": 5}})
    assert "kind: python, target: PATH/claims:ClaimsDomain" in message_of(path)


def test_an_unknown_key_inside_a_union_is_named_as_the_file_writes_it(write_config):
    domain = {"kind": "reasoning_gym", "tasks": {"gcd": {}}, "sizes": {"trian": 5}}
    path = write_config(domain=domain)
    assert message_of(path).startswith(
        f"{path}: domain.sizes.trian: unknown key. Allowed here: train, validation, test, "
        "test_rules."
    )


def test_an_unknown_key_in_an_override_names_the_override(write_config):
    assert message_of(write_config(), ["sead=3"]).startswith("--set sead=3: unknown key.")


def test_all_mistakes_are_told_at_once(write_config):
    path = write_config(seed="x", recipe="r2")
    assert message_of(path).splitlines() == [
        f"{path}: seed: found 'x'; input should be a valid integer, unable to parse string as an "
        "integer.",
        f"{path}: recipe: found 'r2'; allowed: 'r1' or 'zero'.",
    ]


@pytest.mark.parametrize(
    ("override", "part"),
    [
        pytest.param(
            "domain.kind=fils",
            "domain: kind: found 'fils'; allowed: 'files', 'reasoning_gym', 'python', 'given'. Did "
            "you mean 'files'?",
            id="tag",
        ),
        pytest.param(
            "domain={}",
            "the key 'kind' is needed and missing; allowed: 'files', 'reasoning_gym', 'python', "
            "'given'.",
            id="no tag",
        ),
        pytest.param(
            "seed=null", "--set seed=null: found None; input should be a valid integer.", id="null"
        ),
        pytest.param(
            "train.fade.start=0.9",
            "start = 0.9 and end = 0.8: need 0 <= start < end <= 1",
            id="fade",
        ),
        pytest.param(
            "prompt.assisted='{question}'",
            "the template lacks {routes}; it needs {question} and {routes}",
            id="placeholder",
        ),
        pytest.param(
            "routes.sources=[outsider]", "outsider in both `sources` and `held_out`", id="held out"
        ),
        pytest.param(
            "domain={kind: files, path: a.csv}",
            "routes.kind: scripted asks the domain to write routes, and domain.kind = files writes "
            "none",
            id="expert",
        ),
        pytest.param(
            "evaluate.limit.tset=3",
            "found 'tset'; allowed: 'test', 'test_rules' or 'test_larger'. Did you mean 'test'?",
            id="dict key",
        ),
        pytest.param("seed", "--set seed: not KEY=VALUE.", id="no value"),
        pytest.param(
            "model.x=1", "--set model.x=1: model is a text, it holds no keys.", id="no section"
        ),
        pytest.param("seed=[", "--set seed=[: the value is not valid YAML", id="no YAML"),
    ],
)
def test_a_mistake_says_what_is_allowed(write_config, override, part):
    assert part in message_of(write_config(), [override])


def test_shares_must_add_up(write_config):
    path = write_config(
        domain={"kind": "files", "path": "a.csv", "splits": {"train": 0.6, "test": 0.3}},
        routes={"kind": "import", "files": [{"path": "b.jsonl", "source": "b"}]},
    )
    assert (
        message_of(path)
        == f"{path}: domain.splits: the shares add up to 0.9; they must add up to 1."
    )


PLAIN_GRPO = ["recipe=zero", "train.fade.kind=none"]
GYM = {"kind": "reasoning_gym", "tasks": {"gcd": {}}}


def test_plain_grpo_needs_no_section_routes(write_config, tmp_path):
    path = write_config(domain=GYM, routes=None)
    path.write_text(path.read_text().replace("routes: null\n", ""))
    config = load_config(path, PLAIN_GRPO)
    assert config.routes.kind == "none" and config.routes.held_out == []
    message = message_of(path, ["recipe=zero"])
    assert "plain GRPO (recipe: zero, train.fade.kind: none) needs no routes" in message
    # The missing default of `routes` is no mistake of its own.
    assert message_of(path, ["recipe=r2"]).count("\n") == 0
    given = load_config(write_config(), PLAIN_GRPO)
    assert given.routes.kind == "scripted", "a section that is given is used"


@pytest.mark.parametrize("setting", ["recipe=r1", "train.fade.kind=linear", "model=null"])
def test_routes_of_kind_none_are_for_plain_grpo_only(write_config, setting):
    path = write_config(routes={"kind": "none"})
    assert load_config(path, PLAIN_GRPO).routes.kind == "none"
    message = message_of(path, [*PLAIN_GRPO, setting])
    assert "routes.kind: none is for plain GRPO only" in message
    assert setting.replace("=", ": ").replace("null", "None") in message


def test_the_gym_config_loads_as_plain_grpo():
    config = load_config(ROOT / "configs/gym.yaml", [*PLAIN_GRPO, "routes={kind: none}"])
    assert config.routes.kind == "none"


def test_a_student_that_thinks_is_not_asked_for_a_block_of_reasoning(write_config):
    path = write_config()
    thinking = load_config(path, {"prompt.think_end": "</think>"}).prompt
    plain = load_config(path).prompt
    assert "<reason>" in plain.autonomous and "<reason>" in plain.assisted
    assert "<reason>" not in thinking.autonomous and "<reason>" not in thinking.assisted
    assert "<verify>" in thinking.assisted and "{routes}" in thinking.assisted
    own = {"prompt.think_end": "</think>", "prompt.autonomous": "{question} Why?"}
    assert load_config(path, own).prompt.autonomous == "{question} Why?"
    message = message_of(path, ["prompt.think_start=<think>"])
    assert "think_start = <think> without think_end" in message


def test_a_missing_file_names_the_nearest(write_config):
    path = write_config()
    assert message_of(path.with_name("smal.yaml")).endswith(
        f"there is no such config file. Did you mean {path}?"
    )


def test_broken_yaml_names_the_line(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("model: x\ndomain: {kind: files\nseed: 1\n")
    assert message_of(path).startswith(f"{path}:3: not valid YAML:")


def test_a_key_that_comes_twice_is_refused(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text("model: x\nseed: 1\nseed: 2\n")
    assert message_of(path) == f"{path}:3: not valid YAML: the key 'seed' comes twice."


def test_a_missing_space_after_a_colon_is_said(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("seed: 1\ntrain: {fade: {end:0.5}}\n")
    assert "config.yaml:2: not valid YAML: a space is missing after the colon of 'end:0.5'" in (
        message_of(path)
    )


def test_a_file_without_settings_is_refused(tmp_path):
    path = tmp_path / "empty.yaml"
    path.write_text("")
    assert message_of(path).startswith(f"{path}: holds nothing, not settings.")


def test_paths_are_relative_to_the_config_file(write_config, tmp_path):
    config = load_config(write_config())
    assert config.resolve("a/b.csv") == tmp_path / "a/b.csv"
    assert config.resolve_model() == str(tmp_path / "model")
    assert config.run_folder() == Path("runs/small")
    unnamed = config.source.rename(tmp_path / "config.yaml")
    assert load_config(unnamed).run_folder() == Path("runs") / tmp_path.name
    inside = load_config(write_config(run="runs/here"))
    assert inside.run_folder() == inside.source.parent / "runs/here"


def test_a_hub_id_stays_what_it_is(write_config):
    assert (
        load_config(write_config(model="Qwen/Qwen2.5-1.5B-Instruct")).resolve_model()
        == "Qwen/Qwen2.5-1.5B-Instruct"
    )


def test_a_model_that_reads_as_a_folder_must_be_one(write_config, tmp_path):
    with pytest.raises(ConfigError, match="there is no folder"):
        load_config(write_config(model="../nowhere")).resolve_model()


def test_settings_survive_a_round_trip(small_config):
    assert Config.model_validate(small_config.dump()).dump() == small_config.dump()


@pytest.mark.parametrize(
    "path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_shipped_config_loads(path):
    config = load_config(path)
    if (config.model or "").endswith("base-1m"):  # `make smollm2` fetches the other one
        assert (Path(config.resolve_model()) / "config.json").is_file()
    assert Config.model_validate(config.dump()).dump() == config.dump()


def test_paths_of_the_command_line_are_relative_to_the_working_directory(
    write_config, tmp_path, monkeypatch
):
    path = write_config()
    here = tmp_path / "elsewhere"
    (here / "other-model").mkdir(parents=True)
    monkeypatch.chdir(here)
    given = load_config(path, ["model=other-model", "run=out"])
    assert (given.model, given.run) == (str(here / "other-model"), str(here / "out"))
    assert load_config(path, ["model=owner/name"]).model == "owner/name"
    assert load_config(path, ["model=model"]).resolve_model() == str(tmp_path / "model")
