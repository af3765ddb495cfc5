import pytest

from realm.verify.arithmetic import NotPlain, evaluate
from realm.verify.latex import compare


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        pytest.param(r"\frac{2}{4}", ".5", True, id="a fraction and a decimal"),
        pytest.param(r"\dfrac12", r"\frac 1 2", True, id="short fractions"),
        pytest.param(r"1\frac{4}{5}", "1.8", True, id="a mixed number"),
        pytest.param("1/3", "0.33", False, id="a rounded decimal"),
        pytest.param("1/3", "0.3333333", None, id="a decimal that six places do not tell"),
        pytest.param(r"11,\! 111,\! 100", "11,111,100", True, id="thousands"),
        pytest.param(r"\$32,\!348", "32348", True, id="a currency sign"),
        pytest.param(r"90^\circ", "90", True, id="degrees"),
        pytest.param(r"864 \mbox{ inches}^2", "864", True, id="a unit marked as text"),
        pytest.param("15 cm", "15", None, id="a unit, or a product"),
        pytest.param(r"11\sqrt2", r"\sqrt{242}", True, id="roots"),
        pytest.param(r"\sqrt{2}", r"\sqrt{3}", False, id="other roots"),
        pytest.param(r"7\pi", r"\pi \cdot 7", True, id="pi"),
        pytest.param("(a+5)(b+2)", "ab + 2a + 5b + 10", True, id="a product and its sum"),
        pytest.param("2k", "2n", False, id="another variable"),
        pytest.param(r"\sqrt{x^2}", "x", None, id="a root that hides a sign"),
        pytest.param("x^10", "x^{10}", None, id="a power that is written in two ways"),
        pytest.param("1/2x", r"\frac{x}{2}", None, id="a quotient that is read in two ways"),
        pytest.param("f(x)", "fx", None, id="a function or a product"),
        pytest.param("x = 5", "5", True, id="an assignment"),
        pytest.param("x = 5", "y = 5", False, id="an assignment to another"),
        pytest.param("3 + 4 = 7", "7", True, id="a calculation"),
        pytest.param("2x - 4y = 6", "x = 2y + 3", True, id="multiples of one linear equation"),
        pytest.param("2x - 4y = 6", "x = 2y + 4", False, id="other linear equations"),
        pytest.param(r"\left( 3, \frac{\pi}{2} \right)", r"(3, \pi/2)", True, id="a pair"),
        pytest.param("(1, 2)", "(2, 1)", False, id="a pair in the other order"),
        pytest.param("(1, 2)", "1, 2", True, id="a pair without its brackets"),
        pytest.param("(3, 4]", "(3, 4)", False, id="another interval"),
        pytest.param("x \\in [-2,7]", r"-2 \le x \le 7", True, id="an interval and its inequality"),
        pytest.param(r"(-\infty, 0]", r"[-\infty, 0]", True, id="infinity is not closed"),
        pytest.param(r"(0,9) \cup (9,36)", r"(0,9)\cup(9,30)", False, id="a union"),
        pytest.param("1, -2", r"\{-2, 1\}", True, id="a list in any order"),
        pytest.param("1, -2", "1, -2, 3", False, id="a list with one too many"),
        pytest.param(r"3 \pm 2", "1, 5", True, id="plus or minus"),
        pytest.param(
            r"\begin{pmatrix} 1/5 \\ -2 \end{pmatrix}",
            r"\begin{bmatrix} 0.2 \\ -2 \end{bmatrix}",
            True,
            id="a matrix",
        ),
        pytest.param("52_8", "52_{8}", True, id="a base"),
        pytest.param("52_8", "42_8", False, id="other digits in a base"),
        pytest.param("52_8", "52_9", None, id="other bases"),
        pytest.param(r"\text{Evelyn}", "evelyn", True, id="words"),
        pytest.param(r"\text{east}", "seat", False, id="words are no products of letters"),
        pytest.param(r"\text{(C)}", "C", True, id="a letter"),
        pytest.param("no real solution", "4", False, id="words and a number"),
        pytest.param(r"\sin^2 x", r"1 - \cos^2 x", True, id="functions"),
        pytest.param(r"\sin(x)y", r"y \sin x", True, id="what a function applies to"),
        pytest.param(r"\sin 30^\circ", "0.5", None, id="an angle in degrees"),
        pytest.param(r"\tan^{-1} x", r"\frac{1}{\tan x}", None, id="an inverse function"),
        pytest.param("x_1 + x_2", "x_2 + x_{1}", True, id="variables with subscripts"),
        pytest.param("x_1", "x_2", False, id="another subscript"),
        pytest.param(
            r"(1, \binom{4}{2})",
            r"(2, \binom{4}{2})",
            False,
            id="one part that tells, and one that does not",
        ),
        pytest.param(r"\binom{4}{2}", "6", None, id="what takes symbols"),
        pytest.param("2^{235423520} \\cdot 8", "1", False, id="a huge number and a small one"),
        pytest.param("2^{99999999}", "2^{99999998} \\cdot 2", None, id="two huge numbers"),
        pytest.param("", "", None, id="nothing"),
    ],
)
def test_compare(left, right, equal):
    assert compare(left, right) is equal
    assert compare(right, left) is equal


@pytest.mark.parametrize(
    "text",
    ["", "1 2", "2+", "(1", "1/0", "{" * 500, "9^{9^{9^{9}}}", "\\frac", "x_{12}", "5!", "\ud800"],
)
def test_what_is_not_plain_arithmetic_is_not_read(text):
    with pytest.raises(NotPlain):
        evaluate(text).at[0] / 2 if text != "9^{9^{9^{9}}}" else evaluate("1-" + text)
