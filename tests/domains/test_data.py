import pytest

from realm.config.root import load_config
from realm.core.errors import DataError
from realm.core.jsonl import read_problems
from realm.core.records import Problem
from realm.domains import Domain, data, load_domain
from realm.domains.data import check_answers, check_problems
from realm.run import Run
from realm.verify.verifier import Verifier

IMPORT = {"kind": "import", "files": [{"path": "b.jsonl", "source": "b"}]}


def problem(name, split):
    return Problem(id=name, split=split, question="1 + 1?", answer="2")


def test_a_split_with_a_share_is_needed(write_config):
    config = load_config(write_config(domain={"kind": "files", "path": "a.csv"}, routes=IMPORT))
    assert load_domain(config).needed_splits == ("train", "test", "validation")


def test_a_split_column_leaves_only_the_needed_splits(write_config):
    config = load_config(
        write_config(
            domain={"kind": "files", "path": "a.csv", "columns": {"split": "part"}},
            routes={"kind": "import", "files": [{"path": "b.jsonl", "source": "b"}]},
        )
    )
    assert load_domain(config).needed_splits == ("train", "test")


def files_config(write_config, tmp_path, content, **settings):
    (tmp_path / "a.jsonl").write_text(content)
    config = write_config(
        domain={"kind": "files", "path": "a.jsonl", "splits": {"train": 1.0}, **settings},
        routes={"kind": "import", "files": [{"path": "b.jsonl", "source": "b"}]},
        model=None,
    )
    return load_config(config)


def test_bad_rows_are_told_and_left_out_where_the_config_says_so(write_config, tmp_path, caplog):
    config = files_config(
        write_config,
        tmp_path,
        '{"id": 1, "question": "q", "answer": "x"}\n{"id": 2,\n',
        strict=False,
    )
    run = Run(tmp_path / "run", config)
    with run.recording("data"):
        data.run_data(run)
    assert (
        caplog.text.partition("data.py")[2]
        .partition(" ")[2]
        .startswith(f"1 row left out:\n  {tmp_path / 'a.jsonl'}:2: not valid JSON")
    )
    figures = run.manifest()["stages"]["data"]["figures"]
    assert figures == {"problems": 1, "rows_left_out": 1, "rows_repeated": 0}


@pytest.mark.parametrize(
    ("content", "why"),
    [("", "there are no rows."), ("[]\n", ".*a.jsonl:1: not a JSON object")],
    ids=["empty", "bad"],
)
@pytest.mark.parametrize("strict", [True, False])
def test_a_file_without_a_single_problem_is_an_error_that_says_why(
    write_config, tmp_path, content, why, strict
):
    config = files_config(write_config, tmp_path, content, strict=strict)
    with pytest.raises(DataError, match=why):
        data.run_data(Run(tmp_path / "run", config))


def test_an_empty_split_is_named_with_what_was_found():
    with pytest.raises(DataError) as caught:
        check_problems(
            [problem("a", "train"), problem("b", "train")], ["train", "test"], "my.yaml: domain"
        )
    assert str(caught.value).startswith(
        "my.yaml: domain: the split 'test' is empty; found: train 2."
    )


def test_an_id_that_comes_twice_is_named():
    with pytest.raises(DataError, match="1 ids occur more than once, the first is 'a'"):
        check_problems([problem("a", "train"), problem("a", "test")], ["train"], "my.yaml: domain")


def test_the_bundled_domain_writes_its_rule_book_and_the_sizes_asked_for(small_config, tmp_path):
    run = Run(tmp_path / "run", small_config)
    with run.recording("data"):
        data.run_data(run)
    splits = [problem.split for problem in read_problems(run.path("problems.jsonl"))]
    assert {split: splits.count(split) for split in splits} == {
        "train": 24,
        "validation": 4,
        "test": 8,
        "test_rules": 4,
    }
    assert run.path("rules.md").read_text(encoding="utf-8").startswith("#")


class Answers(Domain):
    verifier = Verifier("number")

    def __init__(self, *problems):
        self.made = list(problems)


def check(*problems, **attributes):
    domain = Answers()
    for name, value in attributes.items():
        setattr(domain, name, value)
    return check_answers(problems, domain, "my.yaml: domain"), domain


def asked(name, split, question, answer="2"):
    return Problem(id=name, split=split, question=question, answer=answer)


def test_a_gold_answer_that_cannot_earn_its_reward_is_an_error_or_left_out():
    good, bad = asked("a", "train", "1 + 1?"), asked("b", "train", "1 + 2?", "many")
    message = "the problem 'b': its gold answer 'many' cannot earn the reward: .*now number"
    with pytest.raises(DataError, match=message):
        check(good, bad)
    kept, domain = check(good, bad, is_strict=False)
    assert kept == [good] and len(domain.bad_rows) == 1 and Domain.bad_rows == []


@pytest.mark.parametrize("question", ["1 + 1?", "1 +  1 ?", "1 + 1.", "1 + 1"])
def test_a_question_of_two_splits_is_an_error_unless_it_is_allowed(question):
    problems = [asked("a", "train", "1 + 1?"), asked("b", "test", question)]
    with pytest.raises(DataError, match=r"1 questions of .* 'b' in test, which is 'a' in train"):
        check(*problems)
    assert check(*problems, allow_shared_questions=True)[0] == problems
    with pytest.raises(DataError, match="1 questions of other splits are also in train"):
        check(*problems, asked("c", "train", "1 + 1?", "3"))


@pytest.mark.parametrize(
    ("question", "answer"), [("1 - 1?", "2"), ("11?", "2"), ("1 + 1?", "3"), ("1 + 1.5?", "2")]
)
def test_another_question_or_the_same_with_another_answer_is_no_contamination(question, answer):
    assert check(asked("a", "train", "1 + 1?"), asked("b", "test", question, answer))


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        ({"id": 1}, "not a realm.Problem"),
        (asked(1, "train", "?"), "its id is 1; it must be a text"),
        (asked("a", "train", " "), "its question is ' '; it must be a text"),
        (
            asked("a", "dev", "?"),
            "its split is 'dev'. Allowed: train, validation, test, test_rules",
        ),
        (asked("a", "train", "?", {1, 2}), "cannot be written as JSON: Object of type set"),
        (asked("a", "train", "?", float("nan")), "cannot be written as JSON: Out of range float"),
    ],
)
def test_a_problem_that_cannot_be_stored_is_named(problem, message):
    with pytest.raises(DataError, match=message):
        check_problems([problem], [], "my.yaml: domain")
