import pytest

from realm.core.errors import ConfigError
from realm.verify.verifier import Verifier

CODE = """
class Roman:
    def extract(self, text):
        return text.split()[-1]

    def same(self, answer, gold):
        return {"I": 1, "V": 5}[answer] == gold

def roman():
    return Roman()

class Slow:
    def extract(self, text):
        if text == "leave":
            raise SystemExit(0)
        if text == "print":
            print("what a hook prints is no reply")
        while text == "hang":
            pass
        return {1} if text == "set" else text

    def same(self, answer, gold):
        while answer == "hang":
            pass
        return answer == gold

def slow():
    return Slow()

def half():
    return object()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "roman_answers.py").write_text(CODE)
    (tmp_path / "leaving_answers.py").write_text("import sys\ndef leave(): sys.exit(0)")
    (tmp_path / "broken_answers.py").write_text("import nothing_like_it")
    monkeypatch.delitem(__import__("sys").modules, "roman_answers", raising=False)
    return tmp_path


def test_a_hook_reads_and_compares(folder):
    answers = Verifier("python", hook="roman_answers:roman", folder=folder)
    assert (
        answers.extract("It is V") == "V"
        and answers.same("V", 5) is True
        and answers.same("I", 5) is False
    )
    assert answers.same(None, 5) is False and answers.same_all([("I", 1), ("V", 1)]) == [
        True,
        False,
    ]
    assert answers.render("V") == "V" and answers.num_undecided == 0


def test_a_hook_that_raises_on_model_text_is_counted_and_reported_once(folder, caplog):
    answers = Verifier("python", hook="roman_answers:roman", folder=folder)
    assert (
        answers.extract("") is None
        and answers.same("X", 5) is None
        and answers.same("Y", 5) is None
    )
    assert answers.num_undecided == 2
    assert caplog.messages == [
        "roman_answers:roman: extract raised IndexError: list index out of range; "
        "more is not reported"
    ]


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        ("no_such_module:roman", "there is no module 'no_such_module'"),
        ("broken_answers:roman", "No module named 'nothing_like_it'"),
        ("roman_answers:greek", "defines no 'greek'"),
        ("roman_answers:half", "no extract and no same"),
        ("roman_answers:", "module:name"),
        ("leaving_answers:leave", "raised SystemExit"),
    ],
)
def test_a_hook_that_cannot_be_used_is_an_error_with_a_cure(folder, hook, said):
    with pytest.raises(ConfigError, match=said) as raised:
        Verifier("python", hook=hook, folder=folder)
    assert "domain.answer" in str(raised.value) and hook in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "text", "gold"),
    [
        ("text", "The answer is Bo.", "bo"),
        ("label", "The answer is (B).", "B"),
        ("number", "The answer is 7 km.", 7),
        ("set", "The answer is Bo and Ann.", ["Ann", "Bo"]),
        ("math", "The answer is $\\frac{1}{2}$.", "0.5"),
        ("json", 'So: {"a": 1}', {"a": 1}),
    ],
)
def test_every_kind_reads_compares_and_renders(kind, text, gold):
    answers = Verifier(kind)
    said = answers.extract(text)
    assert answers.same(said, gold) is True and answers.same_all([(said, gold), (None, gold)]) == [
        True,
        False,
    ]
    assert answers.same(answers.extract(answers.render(gold)), gold) is True
    assert answers.num_undecided == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hang", "extract takes longer than 1 s, or ends its process"),
        ("leave", "extract raised SystemExit: 0"),
        ("set", "extract raised TypeError: Object of type set is not JSON serializable"),
    ],
)
def test_a_hook_cannot_stall_or_end_the_run(folder, caplog, text, said):
    answers = Verifier("python", hook="roman_answers:slow", folder=folder, seconds=1)
    assert answers.extract(text) is None
    assert caplog.messages == [f"roman_answers:slow: {said}; more is not reported"]
    assert answers.extract("print") == "print" and answers.same("print", "print") is True


@pytest.mark.slow
def test_a_comparison_of_a_hook_that_hangs_is_undecided(folder):
    answers = Verifier("python", hook="roman_answers:slow", folder=folder, seconds=1)
    assert answers.same_all([("hang", "7"), ("7", "7")]) == [None, True]
    assert answers.num_undecided == 1
