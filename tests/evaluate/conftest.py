from types import SimpleNamespace

import pytest

from experts import CLAIMS
from realm.config.root import Config
from realm.core.jsonl import write_jsonl
from realm.core.records import Problem
from realm.run import Run
from scripted import LABEL, chain, route
from tiny import make_tiny


@pytest.fixture
def make_run(tmp_path, monkeypatch):
    """Give a function that makes a run of `count` test problems, four routes each, a tiny model."""
    domain = SimpleNamespace(verifier=LABEL, rules=None)
    monkeypatch.setattr("realm.domains.load_domain", lambda config: domain)
    make_tiny(tmp_path / "base", "qwen2")

    def make(count=6, held_out=("outsider",), routes=None, problems=None, **settings):
        off = {"samples": 0, "probe": 0}
        settings = {"max_new_tokens": 8, "batch_tokens": 8192} | off | settings
        config = Config.model_validate(
            {
                "model": str(tmp_path / "base"),
                "domain": {"kind": "python", "target": CLAIMS},
                "routes": {"kind": "scripted", "held_out": list(held_out)},
                "evaluate": settings,
            }
        )
        if problems is None:
            problems = [
                Problem(id=f"p{i}", split="test", question=f"How much for {i}?", answer=f"pay {i}")
                for i in range(count)
            ]
            problems += [Problem(id="r0", split="test_rules", question="And here?", answer="pay 0")]
        write_jsonl(tmp_path / "run" / "problems.jsonl", problems)
        default = [one for i in range(count) for one in chain(i)] + [route("r0", "pay 0", True)]
        write_jsonl(tmp_path / "run" / "routes.jsonl", default if routes is None else routes)
        return Run(tmp_path / "run", config)

    return make
