"""A model that writes what a test says, and small banks of routes for it."""

from dataclasses import replace

from realm.core.records import Route
from realm.policy import Completion
from realm.verify.verifier import Verifier

LABEL = Verifier("label")


def route(problem, answer, correct, source="outsider", **more):
    text = f"I think so. The answer is {answer}."
    return Route(
        problem_id=problem, source=source, text=text, answer=answer, correct=correct, **more
    )


def chain(number):
    """Return three held-out routes of a problem, the first right, and one of a training source."""
    id_, gold = f"p{number}", f"pay {number}"
    usage = {"completion_tokens": 10}
    return [
        route(id_, gold, True, usage=usage),
        replace(route(id_, "deny late", False, usage=usage), process=False),
        route(id_, None, False, usage=usage),
        route(id_, gold, True, source="hasty"),
    ]


def script(monkeypatch, answer):
    """Let models write `answer(problem number, number of routes, model)`; list what is asked."""
    asked = []

    class Scripted:
        def __init__(self, model, keep=()):
            self.model = str(model).rsplit("/", 1)[-1]

        def render(self, prompt, system=None):
            return prompt

        def generate(self, prompts, *, skip, on_done, num_samples, **_):
            for index, prompt in enumerate(prompts):
                if index not in skip:
                    asked.append((self.model, prompt))
                    text = answer(index, prompt.count("<route "), self.model)
                    on_done(
                        [index],
                        [Completion(text=text, num_tokens=5, prompt_tokens=50)] * num_samples,
                    )

    monkeypatch.setattr("realm.policy.Policy", Scripted)
    return asked
