import re

from realm.evaluate.figures import accuracy_figure


def row(method, mode, accuracy):
    interval, seeds = [accuracy - 0.1, accuracy + 0.1], [accuracy, accuracy]
    where = {"split": "test", "seed": None, "method": method, "mode": mode}
    return where | {"accuracy": accuracy, "ci95": interval, "per_seed": seeds}


def test_no_two_modes_of_a_method_are_drawn_over_each_other():
    rows = [
        row("realm", "autonomous", 0.8),
        row("realm", "assisted", 0.8),
        row("grpo", "autonomous", 0.7),
    ]
    page = accuracy_figure({"evaluations": rows})
    intervals = re.findall(r'"text":\[([^\]]*)\].{0,200}?"y":\[([^\]]*)\]', page, re.DOTALL)
    heights = [
        (name, y)
        for names, ys in intervals
        for name, y in zip(names.split(","), ys.split(","), strict=True)
    ]
    assert sorted(name for name, _ in heights) == ['"grpo"', '"realm"', '"realm"']
    assert len({y for _, y in heights}) == 3
