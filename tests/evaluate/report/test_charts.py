from realm.evaluate.records import Evaluation
from realm.evaluate.report.charts import draw_accuracies
from realm.evaluate.results import Results


def row(method, mode, accuracy):
    return Evaluation(
        method=method,
        mode=mode,
        split="test",
        seed=None,
        n=20,
        accuracy=accuracy,
        ci95=(accuracy - 0.1, accuracy + 0.1),
        tokens_per_problem=9.0,
        seeds=(7, 8),
        per_seed=(accuracy, accuracy),
    )


def test_no_two_modes_of_a_method_are_drawn_over_each_other():
    rows = [
        row("realm", "autonomous", 0.8),
        row("realm", "assisted", 0.8),
        row("grpo", "autonomous", 0.7),
    ]
    page = draw_accuracies(Results(evaluations=rows, comparisons=[]))
    for name in ("realm, autonomous", "realm, assisted", "grpo, autonomous"):
        assert f'"{name}"' in page
