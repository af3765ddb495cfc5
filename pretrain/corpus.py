"""Generate the text that the bundled model is pretrained on.

It consists of (prompt, completion) pairs: drills (sums, reading, copying) and the cases of little
offices (`minidomains`), solved alone and with routes to judge. The same seed gives the same text.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from minidomains import (
    OFFICES,
    Form,
    Office,
    Step,
    decide,
    draw_form,
    draw_office,
    misjudge,
    write_case,
    write_question,
    write_rules,
    write_step,
)

from realm.core.records import Route, RouteSet
from realm.method.perturb import Perturbation, perturb_route
from realm.method.prompt import render_judgement, render_prompt, render_reasoning
from realm.method.steps import Flaw

# Common words of offices, forms and instructions. Each becomes a token, and drills copy them.
WORDS = """
A An The This It We They There Another Nobody Everybody and or not no is are was were has had
have be been if then so of for from to in on at by with after before later earlier since within
outside inside left over under day days week year member members claim claims plan plans network
clinic bill billed paid pay deny deductible copay fee limit approval approved approve given
needed missing active lapsed membership filed filing late emergency planned visit accident
followed got other service bronze silver gold checkup vaccine blood test dental care x-ray
therapy ambulance scan surgery cosmetics massage excluded ok denied allows leaves half out none
does did what which who how many much name number question answer step steps think Think inside
final first last one two three four route routes solution solutions judge Judge check checks
verdict sound flawed then by others each may right wrong data solve Route Rules rules reason
verify give Give alone Here Below line rule book small large smaller larger plus minus times
equal more less than same true false yes word words color city person date order price total
amount every hold holds should
""".split()  # noqa: SIM905
FIELDS = """
bill deductible fee limit copay price age weight order number total amount discount credit days
members steps plan voucher deposit claim clinic visit service
""".split()  # noqa: SIM905
ASSISTED = ["{question}\n{routes}\nJudge each route, then solve.", "{question}\n{routes}"]


def drill_arithmetic(rng: random.Random) -> tuple[str, str]:
    """Draw a difference that stops at 0, a minimum, comparison, sum or half."""
    small = rng.random() < 0.7
    a, b = rng.randint(0, 70 if small else 99), rng.randint(0, 20 if small else 99)
    kind = rng.randrange(10)
    if kind <= 4:
        return f"{a} minus {b}", f"leaves {max(0, a - b)}"
    b = rng.randint(0, 99)
    if kind <= 6:
        return f"smaller of {a} and {b}", str(min(a, b))
    if kind == 7:
        return f"is {a} within {b}", "yes" if a <= b else "no"
    if kind == 8:
        b = rng.randint(0, 99 - a)
        return f"{a} plus {b}", str(a + b)
    return f"half of {a}", str(a // 2)


def drill_chain(rng: random.Random) -> tuple[str, str]:
    """Draw several subtractions in a row, each from what the one before left."""
    left, cuts, steps = (
        rng.randint(10, 80),
        [rng.randint(0, 20) for _ in range(rng.randint(2, 5))],
        [],
    )
    prompt = f"{left} minus " + " minus ".join(map(str, cuts))
    for cut in cuts:
        left = max(0, left - cut)
        steps.append(f"{cut} leaves {left}")
    return prompt, "\n".join(steps)


def drill_total(rng: random.Random) -> tuple[str, str]:
    """Draw several numbers to add one by one, up to 99."""
    numbers = [rng.choice([0, rng.randint(1, 40), rng.randint(1, 70)]) for _ in range(5)]
    numbers = numbers[: rng.randint(2, 5)]
    while sum(numbers) > 99:
        numbers.pop()
    return "total of " + " and ".join(map(str, numbers)), "\n".join(write_totals(numbers))


def write_totals(numbers: Sequence[int]) -> list[str]:
    """Return the running totals of these numbers, a line each."""
    lines, total = [], 0
    for number in numbers:
        lines.append(f"total {total} plus {number} is {total + number}")
        total += number
    return lines


def drill_lookup(rng: random.Random) -> tuple[str, str]:
    """Draw a list of names and values of which some are to be read, in order."""
    names = rng.sample(FIELDS, rng.randint(2, 6))
    values = {name: rng.randint(0, 99) for name in names}
    asked = rng.sample(names, rng.randint(1, len(names)))
    listed = ", ".join(f"{name} {value}" for name, value in values.items())
    return f"{listed}. Give {' and '.join(asked)}.", "\n".join(
        f"{name} {values[name]}" for name in asked
    )


def drill_reading(rng: random.Random) -> tuple[str, str]:
    """Draw a form in sentences of which some fields are to be read."""
    names = rng.sample(FIELDS, rng.randint(3, 7))
    values = {name: rng.randint(0, 99) for name in names}
    forms = ["The {} is {}.", "There is a {} of {}.", "The {} left is {}."]
    text = " ".join(rng.choice(forms).format(name, value) for name, value in values.items())
    asked = rng.sample(names, rng.randint(1, min(4, len(names))))
    return f"{text} Give {' and '.join(asked)}.", "\n".join(
        f"{name} {values[name]}" for name in asked
    )


def drill_copy(rng: random.Random) -> tuple[str, str]:
    """Draw a list of words and numbers to copy, to reverse or to count."""
    words = [
        rng.choice(WORDS) if rng.random() < 0.7 else str(rng.randint(0, 99))
        for _ in range(rng.randint(3, 12))
    ]
    kind = rng.randrange(5)
    text = " ".join(words)
    if kind <= 2:
        return f"Copy: {text}", text
    if kind == 3:
        return f"Reverse: {text}", " ".join(reversed(words))
    return f"How many words: {text}", str(len(words))


def make_route(steps: Sequence[str], true_steps: Sequence[str]) -> Route:
    """Return a route of these steps, the answer last, and the first that differs from the truth."""
    pairs = zip(steps, true_steps, strict=False)
    flaw = next((number for number, (step, true) in enumerate(pairs, 1) if step != true), None)
    return Route(
        problem_id="",
        source="",
        text="\n".join(steps),
        answer=steps[-1],
        correct=steps[-1] == true_steps[-1],
        process=flaw is None,
        flaw=flaw,
        fix=true_steps[flaw - 1] if flaw else None,
    )


def break_route(rng: random.Random, true_steps: Sequence[str], other: Sequence[str]) -> Route:
    """Return the true route with one step broken, in a way that need not change its answer."""
    kind: Perturbation = rng.choice(["number", "number", "foreign", "missing", "answer"])
    sound = make_route(true_steps, true_steps)
    return perturb_route(sound, kind, [make_route(other, other)], rng) or sound


def judge_routes(routes: Sequence[Route], true_steps: Sequence[str]) -> str:
    """Return the completion that checks the routes, then gives the true steps and the answer."""
    flaws = [Flaw(route.flaw, route.fix) if route.flaw else None for route in routes]
    *chain, answer = true_steps
    return render_judgement(flaws, "\n".join(chain), answer)


def drill_check(rng: random.Random) -> tuple[str, str]:
    """Draw subtractions in a row, written by others who may have erred, to be checked."""

    def draw() -> tuple[str, list[str]]:
        prompt, steps = drill_chain(rng)
        return prompt, [*steps.split("\n"), f"pay {steps.split()[-1]}"]

    (prompt, truth), (_, other) = draw(), draw()
    routes = [
        make_route(truth, truth) if rng.random() < 0.4 else break_route(rng, truth, other)
        for _ in range(rng.randint(1, 3))
    ]
    shown = RouteSet(problem_id="", routes=tuple(routes))
    checks = judge_routes(routes, truth).split("\n")[1 : len(routes) + 1]
    return render_prompt(prompt, shown, assisted="{question}\n{routes}"), "\n".join(checks)


def drill_format(rng: random.Random) -> tuple[str, str]:
    """Draw arithmetic whose solution stands in the blocks that the method asks for."""
    prompt, answer = drill_arithmetic(rng)
    return f"{prompt}?", render_reasoning(f"{prompt} {answer}", answer.removeprefix("leaves "))


def _pick_office(rng: random.Random, known: list[Office]) -> Office:
    return (
        rng.choice(known)
        if rng.random() < 0.5
        else draw_office(rng, rng.choice(OFFICES), stated=True)
    )


def _draw_order(rng: random.Random, known: list[Office]) -> tuple[Office, list[Form]]:
    """Return an office and its cases: one, or two to four whose payments are added up to 99."""
    office = _pick_office(rng, known)
    count = rng.choice([1, 1, 1, 2, 3, 4])
    while True:
        forms = [draw_form(rng, office) for _ in range(count)]
        if count == 1 or sum(_read_amount(decide(office, form)[1]) for form in forms) <= 99:
            return office, forms


def _read_amount(answer: str) -> int:
    """Return the amount of `pay N`; a denied case pays nothing."""
    return int(answer.removeprefix("pay ")) if answer.startswith("pay ") else 0


def _ask_order(rng: random.Random, office: Office, forms: Sequence[Form]) -> str:
    """Return the question: one case, or the numbered cases of an order."""
    if len(forms) == 1:
        return write_question(rng, office, forms[0])
    opening = rng.choice(
        [f"The {office.name} had {len(forms)} items.", f"{office.name}: {len(forms)} items."]
    )
    if office.stated:
        opening = f"{write_rules(office)} {opening}"
    items = [f"item {n}: {write_case(rng, office, form)}" for n, form in enumerate(forms, 1)]
    return "\n".join([opening, *items])


def _write_order(decisions: Sequence[tuple[list[Step], str]]) -> list[str]:
    """Return the lines of one case, or of numbered cases with their running total; the answer last.

    Example: `item 1 stamp there ok`, `cap 30 allows 20`, `total 0 plus 20 is 20`, `item 2 ...`.
    """
    if len(decisions) == 1:
        return _write_steps(*decisions[0])
    lines, amounts = [], [_read_amount(answer) for _, answer in decisions]
    totals = write_totals(amounts)
    for number, (steps, _) in enumerate(decisions, 1):
        first, *rest = map(write_step, steps)
        lines += [f"item {number} {first}", *rest, totals[number - 1]]
    return [*lines, f"pay {sum(amounts)}"]


def solve_office(rng: random.Random, known: list[Office]) -> tuple[str, str]:
    """Draw the cases of a little office, decided alone."""
    office, forms = _draw_order(rng, known)
    *chain, answer = _write_order([decide(office, form) for form in forms])
    return _ask_order(rng, office, forms), render_reasoning("\n".join(chain), answer)


def judge_office(rng: random.Random, known: list[Office]) -> tuple[str, str]:
    """Draw the cases of a little office with one to four routes to judge first."""
    office, forms = _draw_order(rng, known)
    truth = _write_order([decide(office, form) for form in forms])
    other = _write_order([decide(office, draw_form(rng, office)) for _ in forms])
    routes = []
    for _ in range(rng.choice([1, 1, 2, 3, 4, 4])):
        chance = rng.random()
        if chance < 0.4:
            routes.append(make_route(truth, truth))
        elif chance < 0.7:
            routes.append(break_route(rng, truth, other))
        else:
            wrong = [decide(office, form) for form in forms]
            index = rng.randrange(len(forms))
            wrong[index] = misjudge(rng, office, forms[index])
            routes.append(make_route(_write_order(wrong), truth))
    prompt = render_prompt(
        _ask_order(rng, office, forms),
        RouteSet(problem_id="", routes=tuple(routes)),
        assisted=rng.choice(ASSISTED),
    )
    return prompt, judge_routes(routes, truth)


def _write_steps(steps: Sequence[Step], answer: str) -> list[str]:
    return [*map(write_step, steps), answer]


def known_offices(seed: int) -> list[Office]:
    """Return the offices whose rules are never printed."""
    rng = random.Random(f"offices:{seed}")
    return [draw_office(rng, name, stated=False) for name in OFFICES[:8]]


def examples(
    seed: int | str, drills: float, counting: int = 1, *, known: list[Office]
) -> Iterator[tuple[str, str]]:
    """Yield (prompt, completion) pairs without end.

    Args:
        seed: of all draws.
        drills: share of drills. The other pairs are cases of little offices.
        counting: how many times as often as usual drills are arithmetic.
        known: the offices whose rules are never printed, the same in all text of a model.
    """
    rng = random.Random(f"corpus:{seed}")
    kinds = ([drill_arithmetic] * 3 + [drill_chain] * 2 + [drill_total] * 2) * counting + [
        drill_lookup,
        drill_reading,
        drill_copy,
    ] * 3
    kinds += [drill_check] * 6 + [drill_format]
    while True:
        if rng.random() < drills:
            yield rng.choice(kinds)(rng)
        elif rng.random() < 0.4:
            yield solve_office(rng, known)
        else:
            yield judge_office(rng, known)
