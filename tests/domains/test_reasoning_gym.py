"""Tasks of reasoning-gym: splits that share nothing, scorers as verifier, mistakes named."""

import json
import re
from importlib import resources

import pytest

from realm.config.root import load_config
from realm.core.errors import ConfigError, DataError
from realm.core.jsonl import read_problems, write_jsonl
from realm.domains import load_domain
from realm.domains.reasoning_gym import RUNS_CODE, ReasoningGymDomain, make_dataset

SMALL = {"train": 40, "validation": 6, "test": 20}
TASKS = {"spell_backward": {}, "chain_sum": {"min_terms": 2, "max_terms": 3, "max_digits": 1}}


def make_domain(tasks=TASKS, harder=None, **sizes):
    return ReasoningGymDomain(tasks=tasks, harder=harder or {}, sizes=SMALL | sizes)


def test_splits_are_the_same_for_the_same_seed_never_share_a_question_and_take_the_tasks_in_turn():
    problems = make_domain().problems(3)
    assert problems == make_domain().problems(3) and problems != make_domain().problems(4)
    assert (
        len({problem.question for problem in problems})
        == len({problem.id for problem in problems})
        == 66
    )
    assert [problem.split for problem in problems] == ["train"] * 40 + ["validation"] * 6 + [
        "test"
    ] * 20
    assert [problem.meta["task"] for problem in problems[:3]] == [
        "spell_backward",
        "chain_sum",
        "spell_backward",
    ]


def test_what_is_evaluated_does_not_change_with_the_size_of_train():
    def exam_of(problems):
        return [problem for problem in problems if problem.split == "test"]

    assert exam_of(make_domain().problems(3)) == exam_of(make_domain(train=100).problems(3))


def test_harder_problems_are_the_split_test_rules():
    problems = make_domain(
        harder={"chain_sum": {"min_terms": 6, "max_terms": 6}}, test_rules=8
    ).problems(3)
    terms = {split: [] for split in ("train", "test_rules")}
    for problem in problems:
        if problem.meta["task"] == "chain_sum" and problem.split in terms:
            terms[problem.split].append(problem.answer["metadata"]["num_terms"])
    assert (
        set(terms["test_rules"]) == {6}
        and len(terms["test_rules"]) == 8
        and max(terms["train"]) == 3
    )


def test_a_problem_read_from_its_file_is_scored_as_before(tmp_path):
    domain = make_domain(
        {"knights_knaves": {}, "game_of_life": {}, "word_ladder": {}}, train=6, validation=0, test=3
    )
    problems = domain.problems(1)
    write_jsonl(tmp_path / "problems.jsonl", problems)
    again = read_problems(tmp_path / "problems.jsonl")
    assert again == problems
    assert all(
        domain.verifier.same(domain.verifier.render(problem.answer), problem.answer)
        for problem in again
    )


def test_no_text_of_a_model_makes_a_scorer_raise():
    domain = make_domain(
        {"prime_factorization": {}, "game_of_life": {}, "number_filtering": {}},
        train=3,
        validation=0,
        test=3,
    )
    texts = ["", "x", "[[1]", "1/0", "{}", "null", "é" * 300, "9" * 5000, "((((", "<answer>", None]
    for gold in (problem.answer for problem in domain.problems(1)):
        said = [None if text is None else domain.verifier.extract(text) for text in texts]
        pairs = [(answer, gold) for answer in [*said, *texts]]
        assert domain.verifier.same_all(pairs) == [False] * len(pairs)


@pytest.mark.slow
def test_a_scorer_that_hangs_is_stopped(monkeypatch):
    monkeypatch.setattr("realm.domains.reasoning_gym.SECONDS", 2.0)
    monkeypatch.setattr("realm.domains.reasoning_gym._HUGE_EXPONENT", re.compile("(?!)"))
    domain = make_domain({"coin_flip": {}})
    item = make_dataset("coin_flip", {}, 0, "domain.tasks")[0]
    gold = {"task": "coin_flip", "answer": item["answer"], "metadata": item["metadata"]}
    pairs = [("1e999999999", gold), (gold["answer"], gold)]
    assert domain.verifier.same_all(pairs) == [None, True]
    assert domain.verifier.num_undecided == 1


def test_full_marks_are_right_and_partial_credit_is_not():
    domain = make_domain({"chain_sum": {}})
    gold = domain.problems(1)[0].answer
    assert domain.verifier.same(gold["answer"], gold) and not domain.verifier.same(
        f"it is {gold['answer']}", gold
    )
    assert domain._scorers["chain_sum"].score_answer(f"it is {gold['answer']}", gold) > 0
    assert domain.verifier.same_all([(gold["answer"], gold), (None, gold)]) == [True, False]


def test_answers_that_were_said_are_compared_as_texts():
    domain = make_domain()
    assert (
        domain.verifier.same("1  2\n3", "1 2 3")
        and not domain.verifier.same("12", "1 2")
        and not domain.verifier.same(None, "1")
    )


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        pytest.param("1 2\n3 4\n", "1 2\n3 4", id="a grid as it stands"),
        pytest.param("['7', '_']", "['7', '_']", id="a list as it stands"),
        pytest.param(
            "7 + 1 = 8. So the answer is 8.", "8", id="a sentence that says where the answer is"
        ),
        pytest.param("I think <answer>olleh</answer>", "olleh", id="a tag"),
        pytest.param("  \n", None, id="nothing"),
        pytest.param("x" * 30000, None, id="too long for an answer"),
    ],
)
def test_an_answer_is_read_as_it_stands_unless_the_text_says_where_it_is(text, answer):
    assert make_domain().verifier.extract(text) == answer


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (
            {"chain_sums": {}},
            r"no task 'chain_sums'\. Did you mean 'chain_sum' or .*Allowed: ab, acre",
        ),
        (
            {"chain_sum": {"min_term": 2}},
            r"chain_sum.min_term: the task has no such field. Did you mean 'min_terms'",
        ),
        (
            {"chain_sum": {"seed": 2}},
            "the seed is that of the run, and the size is in domain.sizes",
        ),
        (
            {"chain_sum": {"min_terms": 5, "max_terms": 2}},
            "refuses .*max_terms must be >= min_terms",
        ),
        ({"chain_sum": {"min_terms": "two"}}, "chain_sum: reasoning-gym refuses"),
        ({"countdown": {}}, "the scorer of countdown runs the answer as Python code"),
        ({"composite": {}}, "no task 'composite'"),
    ],
)
def test_a_mistake_in_the_tasks_is_named_with_what_is_allowed(tasks, message):
    with pytest.raises(ConfigError, match=message):
        make_domain(tasks)


def test_harder_tasks_are_checked_as_well():
    with pytest.raises(
        ConfigError, match=r"domain.harder.chain_sum.terms: the task has no such field"
    ):
        make_domain(harder={"chain_sum": {"terms": 9}}, test_rules=1)


def test_a_task_with_too_few_questions_says_so():
    with pytest.raises(
        DataError,
        match=r"chain_sum: not enough problems for the split train: the last 1000 items repeat",
    ):
        make_domain(
            {"chain_sum": {"min_terms": 2, "max_terms": 2, "max_digits": 1}}, train=500
        ).problems(0)


def test_a_task_that_states_no_answer_of_its_own_says_so():
    with pytest.raises(
        DataError,
        match=r"graph_color: not enough .*its scorer rejects the task's own answer to 20 items",
    ):
        make_domain({"graph_color": {}}).problems(0)


def test_the_tasks_whose_scorer_evaluates_the_answer_are_those_that_are_refused():
    running = re.compile(r"\beval\((?:answer|problem|entry\[\"answer\"\])\)|\bparse_expr\(answer\b")
    package = resources.files("reasoning_gym")
    files = [
        file
        for folder in package.iterdir()
        if folder.is_dir()
        for file in folder.iterdir()
        if file.name.endswith(".py")
    ]
    found = {
        file.name.removesuffix(".py")
        for file in files
        if running.search(file.read_text(encoding="utf-8"))
    }
    assert found == RUNS_CODE


@pytest.mark.parametrize(
    ("task", "answer"),
    [("game_of_life_halting", "?"), ("complex_arithmetic", "nan"), ("coin_flip", "0")],
)
def test_a_task_whose_scorer_accepts_nonsense_is_refused(task, answer):
    with pytest.raises(ConfigError, match=f"{task}: its scorer accepts the answer '"):
        make_domain({task: {}}).problems(0)


def test_an_answer_that_a_scorer_would_compute_for_hours_is_wrong_at_once():
    domain = make_domain({"coin_flip": {}})
    item = make_dataset("coin_flip", {}, 0, "domain.tasks")[0]
    gold = {"task": "coin_flip", "answer": item["answer"], "metadata": item["metadata"]}
    assert domain.verifier.same_all([("1e99999999", gold), (gold["answer"], gold)]) == [False, True]


def test_settings_that_do_not_fit_together_are_refused(write_config):
    tasks = {"kind": "reasoning_gym", "tasks": {"chain_sum": {}}}
    routes = {"kind": "import", "files": [{"path": "b.jsonl", "source": "b"}]}
    config = load_config(write_config(domain=tasks, routes=routes))
    assert load_domain(config).name == "reasoning_gym"
    for domain, message in (
        (tasks | {"harder": {"chain_sum": {}}}, "give both or neither"),
        (tasks | {"sizes": {"test_rules": 5}}, "give both or neither"),
        (
            tasks | {"harder": {"gcd": {}}, "sizes": {"test_rules": 5}},
            "harder names 'gcd', which is not in tasks",
        ),
        (tasks, "domain.kind = reasoning_gym writes none"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_config(write_config(domain=domain))


def test_a_problem_of_a_task_that_the_config_no_longer_names_is_an_error_and_not_a_wrong_answer():
    with pytest.raises(
        DataError,
        match=r"holds a problem of the task gcd, and domain.tasks names spell_backward, chain_sum",
    ):
        make_domain().verifier.same("4", {"task": "gcd", "answer": "4", "metadata": {}})


def test_the_gold_answer_is_json(tmp_path):
    for problem in make_domain({"time_intervals": {}, "basic_arithmetic": {}}).problems(0):
        assert json.loads(json.dumps(problem.answer)) == problem.answer


def test_a_dataset_goes_on_where_the_one_before_it_ends():
    first, second = (make_dataset("chain_sum", {}, seed, "domain.tasks") for seed in (5, 1005))
    assert first[1000]["question"] == second[0]["question"]
