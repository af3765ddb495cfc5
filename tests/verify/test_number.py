import pytest

from realm.verify.verifier import Verifier

ANSWERS = Verifier("number", tolerance=1e-6)


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        pytest.param("12%", "0.12", True, id="a percentage and a part of one"),
        pytest.param("12 percent", 12, True, id="a percentage and its number"),
        pytest.param("12%", "12 %", True, id="two percentages"),
        pytest.param(12, 0.12, False, id="a number and a hundredth of it"),
        pytest.param("12%", "0.12%", False, id="other percentages"),
        pytest.param("$1,234.50", 1234.5, True, id="currency and thousands"),
        pytest.param("12 345 km", 12345, True, id="thousands with spaces"),
        pytest.param("USD 40", "40 EUR", True, id="currencies are units, and units do not matter"),
        pytest.param("−3", -3, True, id="a typographic minus"),
        pytest.param("2 1/2", 2.5, True, id="a mixed number"),
        pytest.param("-2 1/2 hours", -2.5, True, id="a negative mixed number"),
        pytest.param(r"\frac{3}{4}", "3/4", True, id="LaTeX"),
        pytest.param(r"$\$1.5 \times 10^6$", 1500000, True, id="a power of ten"),
        pytest.param("1.5e6", 1500000, True, id="computer notation"),
        pytest.param("$2.4 million", 2400000, True, id="millions"),
        pytest.param("3 or 4", 3, False, id="two numbers"),
        pytest.param("1/0", 0, False, id="a division by zero"),
        pytest.param(True, 1, False, id="a truth value is no number"),
        pytest.param(float("inf"), float("inf"), False, id="infinity is no number"),
        pytest.param("9" * 400, "9" * 400, False, id="digits without end"),
        pytest.param(1e-7, 0, False, id="a small number is not nothing"),
    ],
)
def test_same(left, right, equal):
    assert ANSWERS.same(left, right) is equal
    assert ANSWERS.same(right, left) is equal


def test_the_tolerance_is_a_share_of_the_larger():
    rough = Verifier("number", tolerance=0.01)
    assert rough.same("99.1", 100) and rough.same(1e9, 1.009e9) and not rough.same("98.9", 100)
    assert not ANSWERS.same("99.1", 100)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("The answer is about 12%.", "12%"),
        ("Answer: 1,250 km", 1250),
        ("So the answer is $\\boxed{\\frac{1}{4}}$.", 0.25),
        ("The answer is 3 and 4.", None),
        ("", None),
    ],
)
def test_extract(text, value):
    assert ANSWERS.extract(text) == value
    assert value is None or ANSWERS.same(ANSWERS.render(value), value)
