"""Random little offices: a form, checks with exceptions, amounts, and people who decide wrongly.

Each office has its own words, checks, exceptions and constants. Half of the cases print the rules
of their office in the question. A few fixed offices never do, so the model has to know them. No
office has anything to do with the rules of a domain in `examples/`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

OFFICES = """
library port parking post market museum farm hotel ferry workshop theatre garden rental bakery
school camp stadium harbor studio depot
""".split()  # noqa: SIM905
KINDS = """
apple basket bicycle boat book camera canvas carpet chair clock coat drum engine fabric flute
guitar hammer jacket kettle ladder lamp mirror oven paper piano plant printer radio saddle sofa
table tent tool trailer violin wagon
""".split()  # noqa: SIM905
CLASSES = [
    "red",
    "blue",
    "green",
    "white",
    "black",
    "basic",
    "plus",
    "prime",
    "north",
    "south",
    "senior",
    "junior",
    "large",
    "small",
]
YES_NO = [
    "permit",
    "seal",
    "stamp",
    "label",
    "ticket",
    "badge",
    "receipt",
    "form",
    "key",
    "signature",
    "photo",
    "license",
]
COUNTED = ["held", "stored", "waiting", "open", "parked", "borrowed", "moored", "shown"]
FLAGS = ["rush", "repair", "festival", "storm", "gift", "return", "export", "strike"]
CUTS = [
    "discount",
    "rebate",
    "voucher",
    "credit",
    "refund",
    "bonus",
    "advance",
    "deposit",
    "coupon",
    "share",
]
CODES = {word: word for word in [*YES_NO, *COUNTED, "kind"]}


@dataclass(frozen=True)
class Office:
    """The rules of one office."""

    name: str
    stated: bool
    """The rules are printed in the question."""
    kinds: dict[str, int]
    classes: tuple[str, ...]
    refused: str | None
    checks: tuple[tuple[str, str], ...]
    """(word, exception flag or '') in order. A word of COUNTED has a limit of days, one of YES_NO
    must be there."""
    limits: dict[str, int]
    cuts: tuple[tuple[str, str], ...]
    """(word, flag that waives it or '') in order."""
    fixed: dict[str, dict[str, int]]
    """Cuts that are constants by class; the others are read off the form."""
    top: dict[str, int]
    """The most that is paid, by class; empty when there is no such rule."""


@dataclass(frozen=True)
class Form:
    """The facts of one case."""

    kind: str
    klass: str
    price: int
    flags: frozenset[str]
    days: dict[str, int]
    there: frozenset[str]
    amounts: dict[str, int] = field(default_factory=dict)


Step = tuple[str, str, str]
"""(topic, detail, result), the result being `ok`, `denied` or an amount."""


def draw_office(rng: random.Random, name: str, *, stated: bool) -> Office:
    """Return a random office. One that prints its rules is smaller, to keep the question short."""
    num_kinds = rng.randint(2, 3) if stated else rng.randint(4, 7)
    kinds = {kind: rng.randint(10, 60) for kind in rng.sample(KINDS, num_kinds)}
    classes = tuple(rng.sample(CLASSES, rng.randint(2, 3)))
    counted = rng.sample(COUNTED, rng.randint(0, 1 if stated else 2))
    words = rng.sample(
        [*counted, *rng.sample(YES_NO, rng.randint(1, 2 if stated else 3))], k=len(counted) + 1
    )
    flags = rng.sample(FLAGS, 3)
    cuts = rng.sample(CUTS, rng.randint(1, 3) if stated else rng.randint(2, 4))
    return Office(
        name=name,
        stated=stated,
        kinds=kinds,
        classes=classes,
        refused=rng.choice([*kinds]) if rng.random() < 0.4 else None,
        checks=tuple((word, rng.choice([*flags, "", ""])) for word in words),
        limits={word: rng.randint(5, 60) for word in counted},
        cuts=tuple((cut, rng.choice([*flags, "", ""])) for cut in cuts),
        fixed={
            cut: {klass: rng.randint(1, 15) for klass in classes}
            for cut in cuts
            if rng.random() < 0.4
        },
        top={klass: rng.randint(10, 50) for klass in classes} if rng.random() < 0.5 else {},
    )


def draw_form(rng: random.Random, office: Office) -> Form:
    """Return a random case of the office."""
    known = sorted({flag for _, flag in [*office.checks, *office.cuts] if flag})
    return Form(
        kind=rng.choice([*office.kinds]),
        klass=rng.choice(office.classes),
        price=rng.randint(5, 70),
        flags=frozenset(flag for flag in known if rng.random() < 0.35),
        days={
            word: rng.randint(1, office.limits[word]) if rng.random() < 0.7 else rng.randint(1, 80)
            for word in office.limits
        },
        there=frozenset(
            word for word, _ in office.checks if word in YES_NO and rng.random() < 0.75
        ),
        amounts={
            cut: rng.randint(0, 20) if rng.random() < 0.7 else 0
            for cut, _ in office.cuts
            if cut not in office.fixed
        },
    )


def decide(office: Office, form: Form) -> tuple[list[Step], str]:
    """Return the steps and the answer: `pay N` or `deny WORD`."""
    steps: list[Step] = []
    if office.refused:
        steps.append(("kind", form.kind, "denied" if form.kind == office.refused else "ok"))
    for word, flag in office.checks:
        if steps and steps[-1][2] == "denied":
            break
        steps.append(_check(office, form, word, flag))
    if steps and steps[-1][2] == "denied":
        return steps, f"deny {CODES[steps[-1][0]]}"
    cap = office.kinds[form.kind]
    left = min(form.price, cap)
    steps.append(("cap", str(cap), str(left)))
    for cut, flag in office.cuts:
        amount = office.fixed[cut][form.klass] if cut in office.fixed else form.amounts[cut]
        amount = 0 if flag and flag in form.flags else amount
        left = max(0, left - amount)
        steps.append((cut, str(amount), str(left)))
    if office.top:
        left = min(left, office.top[form.klass])
        steps.append(("top", str(office.top[form.klass]), str(left)))
    return steps, f"pay {left}"


def _check(office: Office, form: Form, word: str, flag: str) -> Step:
    if word in office.limits:
        fine, detail = (
            form.days[word] <= office.limits[word],
            f"{form.days[word]} of {office.limits[word]}",
        )
    else:
        fine, detail = word in form.there, "there" if word in form.there else "missing"
    if not fine and flag and flag in form.flags:
        return (word, f"{detail} {flag}", "ok")
    return (word, detail, "ok" if fine else "denied")


def write_step(step: Step) -> str:
    """Return one step as a line of a chain of thought."""
    topic, detail, result = step
    word = {"cap": "allows "}.get(topic, "leaves ") if result.isdigit() else ""
    return f"{topic} {detail} {word}{result}"


def write_question(rng: random.Random, office: Office, form: Form) -> str:
    """Return the question: rules if the office prints them, the case, facts in any order."""
    opening = write_case(rng, office, form)
    return f"{write_rules(office)} {opening}" if office.stated else opening


def write_case(rng: random.Random, office: Office, form: Form) -> str:
    """Return the case and its facts in any order."""
    facts = [rng.choice([f"The price is {form.price}.", f"They billed {form.price}."])]
    for flag in sorted({flag for _, flag in [*office.checks, *office.cuts] if flag}):
        said = (
            [f"It was a {flag}.", f"It followed a {flag}."]
            if flag in form.flags
            else [f"It was no {flag}."]
        )
        facts.append(rng.choice(said))
    for word, days in form.days.items():
        facts.append(
            rng.choice([f"It was {word} for {days} days.", f"It is {word} since {days} days."])
        )
    for word, _ in office.checks:
        if word in YES_NO:
            there = [f"The {word} is there.", f"It has a {word}."]
            facts.append(
                rng.choice(
                    there
                    if word in form.there
                    else [f"The {word} is missing.", f"No {word} was given."]
                )
            )
    for cut, amount in form.amounts.items():
        facts.append(
            rng.choice(
                [
                    f"The {cut} is {amount}.",
                    f"There is {amount} of {cut}.",
                    f"The {cut} left is {amount}.",
                ]
            )
        )
    rng.shuffle(facts)
    opening = rng.choice(
        [
            f"The {office.name} had a {form.klass} {form.kind}.",
            f"{office.name}: {form.kind} of a {form.klass} member.",
        ]
    )
    return " ".join([opening, *facts])


def write_rules(office: Office) -> str:
    """Return the rules of an office in words, such as `Rules: no lamp, cap sofa 40.`"""
    rules = [f"cap {kind} {cap}" for kind, cap in office.kinds.items()]
    if office.refused:
        rules.insert(0, f"no {office.refused}")
    for word, flag in office.checks:
        rules.append(
            f"{word} {office.limits[word]} days" if word in office.limits else f"{word} needed"
        )
        rules[-1] += f" but {flag}" if flag else ""
    for cut, flag in office.cuts:
        values = " ".join(f"{klass} {value}" for klass, value in office.fixed.get(cut, {}).items())
        rules.append(f"{cut} {values}".strip() + (f" but {flag}" if flag else ""))
    rules += (
        ["top " + " ".join(f"{klass} {value}" for klass, value in office.top.items())]
        if office.top
        else []
    )
    return "Rules: " + ", ".join(rules) + "."


def misjudge(rng: random.Random, office: Office, form: Form) -> tuple[list[Step], str]:
    """Return a decision that may be wrong.

    The mistake is a wrong rule, an overlooked fact, a misread number or a wrong subtraction.
    """
    mistake = rng.randrange(5)
    if mistake == 0:
        office = replace(
            office,
            checks=tuple(
                (word, "" if rng.random() < 0.6 else flag) for word, flag in office.checks
            ),
            cuts=tuple((cut, "" if rng.random() < 0.6 else flag) for cut, flag in office.cuts),
        )
    elif mistake == 1:
        office = replace(
            office,
            kinds={
                kind: max(1, cap + rng.choice([-8, -5, -2, 3, 6]))
                for kind, cap in office.kinds.items()
            },
            limits={
                word: max(1, days + rng.choice([-15, 15])) for word, days in office.limits.items()
            },
            top={klass: max(1, top + rng.choice([-8, -4, 5])) for klass, top in office.top.items()},
        )
    elif mistake == 2:
        form = replace(
            form,
            there=frozenset(
                word
                for word, _ in office.checks
                if word in YES_NO and (word in form.there) != (rng.random() < 0.4)
            ),
            flags=frozenset(flag for flag in sorted(form.flags) if rng.random() < 0.4),
        )
    elif mistake == 3 and form.amounts:
        cut = rng.choice([*form.amounts])
        form = replace(
            form,
            amounts=form.amounts
            | {cut: rng.choice([form.price, *form.amounts.values(), rng.randint(0, 20)])},
        )
    steps, answer = decide(office, form)
    amounts = [index for index, step in enumerate(steps) if step[2].isdigit()]
    if mistake != 4 or not amounts:
        return steps, answer
    wrong, shift, left = rng.choice(amounts), rng.choice([-10, -2, -1, 1, 2, 10]), 0
    for index in amounts:
        topic, detail, result = steps[index]
        if index == wrong:
            left = max(0, int(result) + shift)
        elif index > wrong:
            left = min(left, int(detail)) if topic == "top" else max(0, left - int(detail))
        else:
            left = int(result)
        steps[index] = (topic, detail, str(left))
    return steps, f"pay {left}"
