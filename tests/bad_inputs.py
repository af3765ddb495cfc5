"""Bad inputs of a user, what the command line says to each, and the page docs/errors.md."""

from __future__ import annotations

import errno
import gzip
import json
import os
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from click.testing import Result
from typer.testing import CliRunner

from realm.cli import app
from realm.core.jsonl import write_jsonl, write_text

CONFIG = """\
run: run
model: null
domain: {kind: files, path: rows.jsonl, answer: number}
routes: {kind: import, files: [{path: a.jsonl, source: a}, {path: b.jsonl, source: b}]}
"""
TEACHER = """\
run: run
model: null
domain: {kind: files, path: rows.jsonl, answer: number}
routes: {kind: collect, teachers: [{kind: api, name: big, model: m, key_env: BIG_KEY, routes: 1}]}
"""
HOOK = """\
class Hook:
    def __init__(self, answer):
        self.answer = answer
    def extract(self, text):
        return self.answer
    def same(self, answer, gold):
        return True
def make():
    {body}
"""


@dataclass(frozen=True)
class Case:
    """One bad input: what it is, the command that meets it, and how the folder is prepared."""

    what: str
    command: str
    culprit: str
    """What the message must name: the file, the line or the key."""
    prepare: Callable[[Path], Any] | None = None
    needs: str = ""
    """`run` if the command continues a finished run, `model` if it needs a model folder."""
    environment: tuple[tuple[str, str], ...] = ()
    fault: int = 0
    """The error of the operating system when a file is put into its place."""
    standard_input: bytes = b""
    is_slow: bool = False


def put(name: str, text: str) -> Callable[[Path], None]:
    """Return a function that writes a file."""
    return lambda folder: write_text(folder / name, text)


def append(name: str, text: str) -> Callable[[Path], None]:
    """Return a function that adds text to a file."""

    def prepare(folder: Path) -> None:
        with (folder / name).open("a", encoding="utf-8") as file:
            file.write(text)

    return prepare


def put_bytes(name: str, content: bytes) -> Callable[[Path], None]:
    """Return a function that writes bytes to a file."""
    return lambda folder: (folder / name).write_bytes(content)


def edit_json(name: str, **values: Any) -> Callable[[Path], None]:
    """Return a function that changes keys of a JSON file."""

    def prepare(folder: Path) -> None:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
        (folder / name).write_text(json.dumps(content | values), encoding="utf-8")

    return prepare


def both(*steps: Callable[[Path], Any]) -> Callable[[Path], None]:
    """Return a function that does several steps."""

    def prepare(folder: Path) -> None:
        for step in steps:
            step(folder)

    return prepare


def hook(body: str) -> Callable[[Path], None]:
    """Return a function that makes the answers those of a hook with this function body."""
    return both(
        put("config.yaml", CONFIG.replace("answer: number", "answer: 'hooks:make'")),
        put("hooks.py", HOOK.format(body=body)),
    )


def append_bytes(name: str, content: bytes) -> Callable[[Path], None]:
    """Return a function that adds bytes to a file."""
    return lambda folder: put_bytes(name, (folder / name).read_bytes() + content)(folder)


def put_rows(name: str, *rows: dict[str, Any]) -> Callable[[Path], None]:
    """Return a function that writes a file of JSON Lines."""
    return lambda folder: write_jsonl(folder / name, rows)


def make_folder(name: str) -> Callable[[Path], None]:
    """Return a function that makes a folder."""
    return lambda folder: (folder / name).mkdir(parents=True)


def make_pipe(name: str) -> Callable[[Path], None]:
    """Return a function that makes a pipe in the place of a file."""

    def prepare(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return prepare


def drop(name: str) -> Callable[[Path], None]:
    """Return a function that removes a file of the model."""
    return lambda folder: (folder / "model" / name).unlink()


def cut(name: str) -> Callable[[Path], None]:
    """Return a function that cuts a file in half."""

    def prepare(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return prepare


def config(old: str, new: str, template: str = CONFIG) -> Callable[[Path], None]:
    """Return a function that writes the config with one part replaced."""
    assert old in template
    return put("config.yaml", template.replace(old, new))


def teachers(old: str, new: str) -> Callable[[Path], None]:
    """Return a function that writes the config with teachers, with one part replaced."""
    return config(old, new, TEACHER)


def with_setting(setting: str, verb: str = "data") -> str:
    """Return a command that changes one setting."""
    return f"realm {verb} config.yaml --set {shlex.quote(setting)}"


DATA, RUN, REPORT = "realm data config.yaml", "realm run config.yaml", "realm report config.yaml"
EVAL, ROUTES = "realm eval config.yaml", "realm routes config.yaml"
KEY = (("BIG_KEY", "sk-verysecretkey"),)
ALIASES = "\n".join(
    f"  - &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 12)
)
ZERO_WEIGHTS = "train.reward={answer: 0, verdict: 0, format: 0, first_flaw: 0}"
ROW = '{"id": "x", "question": "1 + 1?", "answer": 2}\n'
IMPORTED = {"question": "1 + 1?", "answer": "2", "output": "It is 2."}
PROBLEM = {"id": "1", "split": "test", "question": "1 + 1?", "answer": 2}
ROUTE = {"problem_id": "1", "source": "a", "text": "It is 2.", "answer": 2, "correct": True}


def claim_model(folder: Path) -> None:
    """Make the results say that a model was evaluated."""
    path = folder / "run/results.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["evaluations"][0]["mode"] = "autonomous"
    path.write_text(json.dumps(content), encoding="utf-8")


def link_store(folder: Path) -> None:
    """Put a link to a file of somebody in the place of the store."""
    (folder / "theirs.sqlite").touch()
    (folder / "run/teacher.sqlite").symlink_to(folder / "theirs.sqlite")


COMMAND_LINE = (
    Case("a config that is not there", "realm run conf.yaml", "conf.yaml"),
    Case("a folder that is not a run folder", "realm run empty", "empty", make_folder("empty")),
    Case("a list in the place of a config", RUN, "config.yaml", put("config.yaml", "[1]")),
    Case("a binary file as config", RUN, "config.yaml", put_bytes("config.yaml", b"\xff\xfe\x00")),
    Case("a config that is a pipe", RUN, "config.yaml", make_pipe("config.yaml")),
    Case("an empty config", RUN, "config.yaml", put("config.yaml", "")),
    Case("a config that is not YAML", RUN, "config.yaml:3", put("config.yaml", "a: 1\nb: [1\n")),
    Case("a key that comes twice", RUN, "'run'", append("config.yaml", "run: other\n")),
    Case(
        "YAML that is nested too deeply",
        RUN,
        "config.yaml",
        append("config.yaml", "x: " + "[" * 500),
    ),
    Case(
        "YAML with an alias inside itself",
        RUN,
        "config.yaml",
        append("config.yaml", "train: {grpo: &a {a: *a}}\n"),
    ),
    Case(
        "YAML whose aliases multiply",
        RUN,
        "config.yaml",
        append("config.yaml", f"x:\n  - &a0 [1]\n{ALIASES}\n"),
    ),
    Case("an unknown key", with_setting("domain.anwser=text"), "domain.anwser"),
    Case("a key that was renamed", with_setting("train.fade.hold=0.1"), "train.fade.hold"),
    Case("a setting without a value", with_setting("seed"), "seed"),
    Case("a value that is not YAML", with_setting("seed=[1"), "seed=[1"),
    Case("a value that is nested too deeply", with_setting("seed=" + "[" * 500), "--set seed"),
    Case("a text in the place of a number", with_setting("seed=seven"), "seed"),
    Case(
        "an infinite number", with_setting("distill.assisted_share=.inf"), "distill.assisted_share"
    ),
    Case(
        "a value that is not a number",
        with_setting("train.reward.verdict=.nan"),
        "train.reward.verdict",
    ),
    Case(
        "an infinite number for TRL",
        with_setting("train.grpo.learning_rate=.inf"),
        "train.grpo.learning_rate",
    ),
    Case("a negative seed", with_setting("seed=-1"), "seed"),
    Case("a seed beyond 32 bits", with_setting("seed=4294967296"), "seed"),
    Case("a seed of `realm ask` beyond 32 bits", "realm ask model hi --seed 4294967296", "--seed"),
    Case("a kind that is not known", with_setting("train.fade.kind=cosin"), "train.fade.kind"),
    Case("a section that is a text", with_setting("train=x"), "train"),
    Case(
        "a file that is named twice",
        with_setting("domain.path=[rows.jsonl, ./rows.jsonl]"),
        "rows.jsonl",
    ),
    Case("a held-out source that no file has", with_setting("routes.held_out=[c]"), "routes"),
    Case("every source held out", with_setting("routes.held_out=[a, b]"), "held_out"),
    Case(
        "a prompt without its placeholder",
        with_setting("prompt.assisted={question}"),
        "prompt.assisted",
    ),
    Case(
        "shares that do not add up to 1",
        with_setting("domain.splits={train: 0.5, test: 0.6}"),
        "domain.splits",
    ),
    Case("a stage that needs a model", "realm train config.yaml", "model"),
    Case("a run folder without a name", f"{DATA} --run ''", "--run"),
    Case("a run folder below a file", f"{DATA} --run rows.jsonl/run", "rows.jsonl/run"),
    Case("a run folder where none can be made", f"{DATA} --run /proc/run", "/proc/run"),
    Case("a file in the place of the run folder", f"{DATA} --run rows.jsonl", "rows.jsonl"),
    Case(
        "a run folder that holds other files",
        f"{DATA} --run theirs",
        "theirs",
        put("theirs/photo.jpg", "x"),
    ),
    Case("a rank that is not a number", DATA, "RANK", environment=(("RANK", "abc"),)),
    Case(
        "a question that is not text",
        "realm ask model -",
        "standard input",
        standard_input=b"\xff\xfe",
    ),
    Case("an empty question", "realm ask model ''", "question"),
    Case("a forecast without a model", "realm forecast config.yaml", "model"),
    Case("a search without a model", "realm tune config.yaml --dry-run", "config.yaml"),
    Case("a comparison without its section", "realm compare config.yaml", "compare"),
    Case("runs to compare that are not there", "realm compare a b", "a"),
    Case("a run to watch that is not there", "realm watch nothere", "nothere"),
    Case("a run to export without a model", "realm export run --to out", "run", needs="run"),
    Case("a model to serve that is not there", "realm serve ./modl", "modl"),
    Case("a model to chat with that is not there", "realm chat ./modl", "modl"),
    Case("a run to review that is not there", "realm review nothere", "nothere"),
)
DATA_FILES = (
    Case("a data file that is not there", with_setting("domain.path=row.jsonl"), "row.jsonl"),
    Case(
        "a kind of file that is not known",
        with_setting("domain.path=rows.doc"),
        "rows.doc",
        put("rows.doc", "x"),
    ),
    Case(
        "a folder in the place of a data file",
        DATA,
        "rows.jsonl",
        lambda folder: ((folder / "rows.jsonl").unlink(), (folder / "rows.jsonl").mkdir()),
    ),
    Case("a pipe in the place of a data file", DATA, "rows.jsonl", make_pipe("rows.jsonl")),
    Case(
        "a device in the place of a data file",
        with_setting("domain.path=zero.jsonl"),
        "zero.jsonl",
        lambda folder: (folder / "zero.jsonl").symlink_to("/dev/zero"),
    ),
    Case("a line that is not JSON", DATA, "rows.jsonl:41", append("rows.jsonl", '{"id": "x", \n')),
    Case(
        "a line that is nested too deeply",
        DATA,
        "rows.jsonl:41",
        append("rows.jsonl", "[" * 100_000 + "\n"),
    ),
    Case("a line that is no object", DATA, "rows.jsonl:41", append("rows.jsonl", "[1, 2]\n")),
    Case(
        "a key that comes twice in a row",
        DATA,
        "rows.jsonl:41",
        append("rows.jsonl", '{"id": "x", "answer": 1, "answer": 2}\n'),
    ),
    Case(
        "a row without an answer",
        DATA,
        "rows.jsonl:41",
        append("rows.jsonl", '{"id": "x", "question": "1 + 1?"}\n'),
    ),
    Case(
        "a row with an empty question",
        DATA,
        "rows.jsonl:41",
        append("rows.jsonl", '{"id": "x", "question": " ", "answer": 1}\n'),
    ),
    Case(
        "a row with an image",
        DATA,
        "rows.jsonl:41",
        append("rows.jsonl", '{"id": "x", "question": "1?", "answer": 1, "image": "a.png"}\n'),
    ),
    Case(
        "an answer that is an object",
        DATA,
        "rows.jsonl:41",
        append("rows.jsonl", '{"id": "x", "question": "1 + 1?", "answer": {"a": 1}}\n'),
    ),
    Case(
        "an answer that no completion can state",
        DATA,
        "rows.jsonl:41",
        append("rows.jsonl", '{"id": "x", "question": "1 + 1?", "answer": "two or three"}\n'),
    ),
    Case(
        "two rows of one id that differ",
        DATA,
        "rows.jsonl:41",
        append("rows.jsonl", '{"id": "1", "question": "other?", "answer": 7}\n'),
    ),
    Case(
        "a byte that is not UTF-8",
        DATA,
        "rows.jsonl:41",
        append_bytes("rows.jsonl", b'{"a": "\xe9"}\n'),
    ),
    Case(
        "a JSON file that is no list",
        with_setting("domain.path=rows.json"),
        "rows.json",
        put("rows.json", '{"a": 1}'),
    ),
    Case(
        "a column that comes twice in a CSV file",
        with_setting("domain.path=rows.csv"),
        "rows.csv:1",
        put("rows.csv", "id,question,id\n1,a,2\n"),
    ),
    Case(
        "a CSV row with too many cells",
        with_setting("domain.path=rows.csv"),
        "rows.csv:2",
        put("rows.csv", "id,question,answer\n1,a,2,3\n"),
    ),
    Case(
        "a quote in a CSV file that is not closed",
        with_setting("domain.path=rows.csv"),
        "rows.csv",
        put("rows.csv", 'id,question,answer\n1,"a,2\n'),
    ),
    Case(
        "UTF-16 text without its mark",
        with_setting("domain.path=rows.csv"),
        "rows.csv",
        put_bytes("rows.csv", "id,question\n".encode("utf-16le")),
    ),
    Case(
        "a file named .gz that is not gzip",
        with_setting("domain.path=rows.jsonl.gz"),
        "rows.jsonl.gz",
        put("rows.jsonl.gz", ROW),
    ),
    Case(
        "a gzip file that breaks off",
        with_setting("domain.path=rows.jsonl.gz"),
        "rows.jsonl.gz",
        put_bytes("rows.jsonl.gz", gzip.compress(ROW.encode() * 100)[:40]),
    ),
    Case(
        "a gzip file that unpacks without end",
        with_setting("domain.path=bomb.jsonl.gz"),
        "bomb.jsonl.gz",
        lambda folder: put_bytes("bomb.jsonl.gz", gzip.compress(b" " * 70_000_000, 1))(folder),
    ),
    Case(
        "a broken Parquet file",
        with_setting("domain.path=rows.parquet"),
        "rows.parquet",
        put("rows.parquet", "PAR1"),
    ),
    Case(
        "a broken Excel file",
        with_setting("domain.path=rows.xlsx"),
        "rows.xlsx",
        put("rows.xlsx", "PK"),
    ),
    Case(
        "a rule book that is not text",
        with_setting("domain.rules=rules.md"),
        "rules.md",
        put_bytes("rules.md", b"\xff\xfe\x00"),
    ),
    Case(
        "a rule book that is a pipe",
        with_setting("domain.rules=rules.md"),
        "rules.md",
        make_pipe("rules.md"),
    ),
    Case(
        "a training question that is also a test question",
        DATA,
        "train",
        append(
            "rows.jsonl",
            "".join(
                json.dumps({"id": f"copy{n}", "question": f"{n} + 1?", "answer": n + 1}) + "\n"
                for n in range(40)
            ),
        ),
    ),
    Case(
        "an unknown kind of answer for an import", "realm import rows.jsonl --kind numbr", "numbr"
    ),
    Case(
        "an import of an empty file",
        "realm import empty.jsonl",
        "empty.jsonl",
        put("empty.jsonl", ""),
    ),
    Case("an import of a config", "realm import config.yaml", "config.yaml"),
    Case("an import without a column of questions", "realm import a.jsonl", "--question"),
    Case(
        "an import of two files with one name",
        "realm import one.jsonl other/one.jsonl",
        "'one'",
        both(put_rows("one.jsonl", IMPORTED), put_rows("other/one.jsonl", IMPORTED)),
    ),
    Case(
        "an import over its own file",
        "realm import imp/routes.jsonl --run imp",
        "imp/routes.jsonl",
        put_rows("imp/routes.jsonl", IMPORTED),
    ),
    Case(
        "a file of routes that is not there",
        with_setting("routes.files=[{path: c.jsonl, source: c}]", "routes"),
        "c.jsonl",
        needs="run",
    ),
    Case(
        "a file of routes without its column",
        with_setting("routes.columns.outputs=text", "routes"),
        "'text'",
        needs="run",
    ),
)
CODE = (
    Case(
        "a hook that is not there",
        DATA,
        "hooks:make",
        config("answer: number", "answer: 'hooks:make'"),
    ),
    Case(
        "a hook that does not compile",
        DATA,
        "hooks:make",
        both(hook("pass"), put("hooks.py", "def make(:\n")),
    ),
    Case(
        "a hook without the function",
        DATA,
        "hooks:make",
        both(hook("pass"), put("hooks.py", "x = 1\n")),
    ),
    Case("a hook that raises", DATA, "hooks:make", hook("raise RuntimeError('no')")),
    Case("a hook that exits", DATA, "hooks:make", hook("raise SystemExit(0)")),
    Case("a hook that returns the wrong object", DATA, "hooks:make", hook("return 1")),
    Case("a hook whose answers JSON cannot hold", RUN, "rows.jsonl:1", hook("return Hook({'a'})")),
    Case(
        "a hook whose answers are not a number",
        RUN,
        "rows.jsonl:1",
        hook("return Hook(float('nan'))"),
    ),
    Case(
        "a domain that is no class",
        DATA,
        "hooks:make",
        both(
            hook("return 1"),
            config(
                "kind: files, path: rows.jsonl, answer: number",
                "kind: python, target: 'hooks:make'",
            ),
        ),
    ),
)
RUN_FOLDERS = (
    Case(
        "a manifest that is torn",
        RUN,
        "run/manifest.json",
        put("run/manifest.json", '{"schema'),
        needs="run",
    ),
    Case(
        "a manifest of another version",
        RUN,
        "run/manifest.json",
        put("run/manifest.json", '{"schema": "realm.run/9"}'),
        needs="run",
    ),
    Case(
        "a manifest whose stages were edited",
        RUN,
        "run/manifest.json",
        edit_json("run/manifest.json", stages={"data": {"outputs": 1}}),
        needs="run",
    ),
    Case(
        "a manifest that lacks the settings",
        "realm run run",
        "run/manifest.json",
        edit_json("run/manifest.json", config=None),
        needs="run",
    ),
    Case(
        "a run that a Python program made",
        "realm run run",
        "run",
        edit_json("run/manifest.json", made_by="a Python program"),
        needs="run",
    ),
    Case(
        "results that are torn",
        REPORT,
        "run/results.json",
        put("run/results.json", '{"schema"'),
        needs="run",
    ),
    Case(
        "results of another version",
        REPORT,
        "run/results.json",
        put("run/results.json", "{}"),
        needs="run",
    ),
    Case(
        "results that were edited",
        REPORT,
        "run/results.json",
        edit_json("run/results.json", evaluations=[{"accuracy": 1}]),
        needs="run",
    ),
    Case(
        "results of a model that would be lost",
        with_setting("evaluate.routes=2", "eval"),
        "run/results.json",
        claim_model,
        needs="run",
    ),
    Case(
        "answers that are torn",
        REPORT,
        "run/answers.jsonl",
        put("run/answers.jsonl", '{"method": \n'),
        needs="run",
    ),
    Case(
        "answers that were edited",
        REPORT,
        "run/answers.jsonl",
        put("run/answers.jsonl", '{"method": "x"}\n'),
        needs="run",
    ),
    Case(
        "a summary of the bank that is torn",
        REPORT,
        "run/bank.json",
        put("run/bank.json", "{"),
        needs="run",
    ),
    Case(
        "a headroom that is torn",
        REPORT,
        "run/headroom.json",
        put("run/headroom.json", "{"),
        needs="run",
    ),
    Case(
        "a headroom that was edited",
        REPORT,
        "run/headroom.json",
        put("run/headroom.json", "[1]"),
        needs="run",
    ),
    Case(
        "a training log that is torn",
        REPORT,
        "run/fade.jsonl",
        put("run/fade.jsonl", '{"step"\n'),
        needs="run",
    ),
    Case(
        "a training log that was edited",
        REPORT,
        "run/fade.jsonl",
        put("run/fade.jsonl", '{"step": "x"}\n'),
        needs="run",
    ),
    Case(
        "problems that are torn",
        EVAL,
        "run/problems.jsonl:1",
        put("run/problems.jsonl", '{"id": "1"\n'),
        needs="run",
    ),
    Case(
        "problems that are a pipe",
        EVAL,
        "run/problems.jsonl",
        make_pipe("run/problems.jsonl"),
        needs="run",
    ),
    Case(
        "problems with a value of the wrong type",
        EVAL,
        "run/problems.jsonl:1",
        put_rows("run/problems.jsonl", PROBLEM | {"id": 1}),
        needs="run",
    ),
    Case(
        "problems with one id twice",
        EVAL,
        "run/problems.jsonl",
        put_rows("run/problems.jsonl", PROBLEM, PROBLEM),
        needs="run",
    ),
    Case(
        "routes with a value of the wrong type",
        EVAL,
        "run/routes.jsonl:1",
        put_rows("run/routes.jsonl", ROUTE | {"correct": "no"}),
        needs="run",
    ),
    Case("a stage before the one that it reads", REPORT, "run/problems.jsonl"),
    Case(
        "a folder in the place of an output",
        DATA,
        "run/problems.jsonl",
        make_folder("run/problems.jsonl"),
    ),
    Case(
        "a file in the place of the folder for unfinished work",
        DATA,
        "run/work",
        put("run/work", "x"),
    ),
    Case("a disk that is full", DATA, "run/", fault=errno.ENOSPC),
    Case("a disk that may only be read", DATA, "run/", fault=errno.EROFS),
    Case("a folder without permission", DATA, "run/", fault=errno.EACCES),
)
TEACHERS = (
    Case("a teacher without its key", ROUTES, "BIG_KEY", put("config.yaml", TEACHER), needs="run"),
    Case(
        "a key in the config",
        DATA,
        "extra",
        teachers("model: m", "model: m, extra: {user: sk-verysecretkey}"),
        environment=KEY,
    ),
    Case(
        "a key with a telling name in the config",
        DATA,
        "token",
        teachers("model: m", "model: m, extra: {token: x}"),
    ),
    Case(
        "a key in the place of its variable",
        DATA,
        "key_env",
        teachers("key_env: BIG_KEY", "key_env: sk-abc"),
    ),
    Case(
        "an address that is none",
        DATA,
        "base_url",
        teachers("model: m", "model: m, base_url: localhost"),
    ),
    Case(
        "a password in an address",
        DATA,
        "base_url",
        teachers("model: m", "model: m, base_url: 'http://me:pw@host/v1'"),
    ),
    Case("a teacher that is asked nothing", DATA, "'big'", teachers(", routes: 1", "")),
    Case(
        "a budget without prices",
        DATA,
        "budget_usd",
        teachers("kind: collect", "kind: collect, budget_usd: 1"),
    ),
    Case(
        "two teachers with one name",
        DATA,
        "'big'",
        teachers("teachers: [", "teachers: [{kind: api, name: big, model: n, routes: 1}, "),
    ),
    Case(
        "two teachers that are one",
        DATA,
        "'huge'",
        teachers("teachers: [", "teachers: [{kind: api, name: huge, model: m, routes: 1}, "),
    ),
    Case(
        "every teacher held out",
        DATA,
        "held_out",
        teachers("kind: collect", "kind: collect, held_out: [big]"),
    ),
    Case(
        "a store of replies that is no store",
        ROUTES,
        "run/teacher.sqlite",
        both(put("config.yaml", TEACHER), put("run/teacher.sqlite", "not a store" * 100)),
        needs="run",
        environment=KEY,
    ),
    Case(
        "a store of replies that is a link",
        ROUTES,
        "run/teacher.sqlite",
        both(put("config.yaml", TEACHER), link_store),
        needs="run",
        environment=KEY,
    ),
    Case(
        "a file of replies that is not there",
        ROUTES,
        "replies.jsonl",
        teachers(
            "kind: api, name: big, model: m, key_env: BIG_KEY",
            "kind: replay, name: big, path: replies.jsonl",
        ),
        needs="run",
    ),
)
MODEL_PLAN = "realm run config.yaml --set model=model --dry-run"


def with_model(setting: str) -> str:
    """Return a command that plans a run with a model and one setting."""
    return f"{MODEL_PLAN} --set {shlex.quote(setting)}"


def edit_template(template: str) -> Callable[[Path], None]:
    """Return a function that gives the tokenizer another chat template."""
    return put("model/chat_template.jinja", template)


MODELS = (
    Case("a model folder that is not there", "realm run config.yaml --set model=./modl", "modl"),
    Case(
        "a model folder without a config", MODEL_PLAN, "model", drop("config.json"), needs="model"
    ),
    Case(
        "an adapter in the place of a model",
        MODEL_PLAN,
        "model",
        both(drop("config.json"), put("model/adapter_config.json", "{}")),
        needs="model",
    ),
    Case(
        "a config of a model that is torn",
        MODEL_PLAN,
        "config.json",
        put("model/config.json", "{"),
        needs="model",
    ),
    Case(
        "a kind of model that is not known",
        MODEL_PLAN,
        "qwen9",
        edit_json("model/config.json", model_type="qwen9"),
        needs="model",
    ),
    Case(
        "a model that brings code",
        MODEL_PLAN,
        "model",
        edit_json("model/config.json", model_type="odd", auto_map={"AutoConfig": "code.Odd"}),
        needs="model",
    ),
    Case(
        "a size of a model that is a text",
        MODEL_PLAN,
        "hidden_size",
        edit_json("model/config.json", hidden_size="big"),
        needs="model",
    ),
    Case(
        "a context of a model that is a list",
        MODEL_PLAN,
        "max_position_embeddings",
        edit_json("model/config.json", max_position_embeddings=[1]),
        needs="model",
    ),
    Case(
        "a model of endless layers",
        MODEL_PLAN,
        "config.json",
        edit_json("model/config.json", num_hidden_layers=10**9),
        needs="model",
    ),
    Case(
        "a model without a tokenizer",
        MODEL_PLAN,
        "tokenizer",
        both(drop("tokenizer.json"), drop("tokenizer_config.json")),
        needs="model",
    ),
    Case(
        "a tokenizer that is a pointer of Git LFS",
        MODEL_PLAN,
        "tokenizer",
        put("model/tokenizer.json", "version https://git-lfs"),
        needs="model",
    ),
    Case(
        "weights that are a pointer of Git LFS",
        MODEL_PLAN,
        "model.safetensors",
        put("model/model.safetensors", "version https://git-lfs"),
        needs="model",
    ),
    Case(
        "weights that break off",
        MODEL_PLAN,
        "model.safetensors",
        cut("model/model.safetensors"),
        needs="model",
    ),
    Case(
        "a chat template with a mistake",
        MODEL_PLAN,
        "chat template",
        edit_template("{{ messages["),
        needs="model",
        is_slow=True,
    ),
    Case(
        "a chat template that asks for what is not there",
        MODEL_PLAN,
        "chat template",
        edit_template("{{ messages[0].name.upper() }}"),
        needs="model",
        is_slow=True,
    ),
    Case(
        "a chat template that never ends",
        MODEL_PLAN,
        "chat template",
        edit_template(
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
        ),
        needs="model",
        is_slow=True,
    ),
    Case(
        "a chat template that eats memory",
        MODEL_PLAN,
        "chat template",
        edit_template("{{ 'a' * 9999999999 }}"),
        needs="model",
        is_slow=True,
    ),
    Case(
        "a chat template that writes without end",
        MODEL_PLAN,
        "chat template",
        edit_template("{{ 'a' * 9999999 }}"),
        needs="model",
        is_slow=True,
    ),
    Case(
        "a chat template that knows no system role",
        with_model("prompt.system=Be brief."),
        "chat template",
        edit_template(
            "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}x"
        ),
        needs="model",
        is_slow=True,
    ),
    Case(
        "an unknown setting of TRL",
        with_model("train.grpo.num_generation=2"),
        "train.grpo.num_generation",
        needs="model",
    ),
    Case(
        "a setting of TRL that the method sets",
        with_model("train.grpo.shuffle_dataset=true"),
        "train.grpo.shuffle_dataset",
        needs="model",
    ),
    Case(
        "a text where TRL takes a number",
        with_model("train.grpo.max_steps=abc"),
        "train.grpo.max_steps",
        needs="model",
    ),
    Case(
        "a number where TRL takes a text",
        with_model("distill.sft.run_name=3"),
        "distill.sft.run_name",
        needs="model",
    ),
    Case(
        "a seed of TRL beyond 32 bits",
        with_model("distill.sft.seed=4294967296"),
        "distill.sft.seed",
        needs="model",
    ),
    Case(
        "a schedule of TRL that is not known",
        with_model("distill.sft.lr_scheduler_type=cosin"),
        "distill.sft",
        needs="model",
    ),
    Case(
        "checkpoints that could not be continued",
        with_model("train.grpo.save_only_model=true"),
        "train.grpo.save_only_model",
        needs="model",
    ),
    Case(
        "a batch that holds no whole group",
        with_model("train.grpo={num_generations: 3, per_device_train_batch_size: 4}"),
        "num_generations",
        needs="model",
    ),
    Case(
        "a tracker that is not installed",
        with_model("train.grpo.report_to=wandb"),
        "wandb",
        needs="model",
    ),
    Case(
        "a tracker that is not known",
        with_model("distill.sft.report_to=[wandbb]"),
        "wandbb",
        needs="model",
    ),
    Case(
        "vLLM that is not installed", with_model("train.grpo.use_vllm=true"), "vllm", needs="model"
    ),
    Case(
        "DeepSpeed that is not installed",
        with_model("distill.sft.deepspeed=zero.json"),
        "deepspeed",
        needs="model",
    ),
    Case(
        "an optimizer that is not installed",
        with_model("train.grpo.optim=adamw_bnb_8bit"),
        "bitsandbytes",
        needs="model",
    ),
    Case(
        "weights of 4 bits without the package for them",
        with_model("train.grpo.model_init_kwargs={quantization_config: {load_in_4bit: true}}"),
        "train.grpo.model_init_kwargs",
        needs="model",
    ),
    Case(
        "a local teacher in vLLM that is not installed",
        "realm run config.yaml",
        "'big'",
        put(
            "config.yaml",
            TEACHER.replace("kind: api", "kind: local, engine: vllm").replace(
                ", key_env: BIG_KEY", ""
            ),
        ),
    ),
    Case(
        "LoRA of modules that the model lacks",
        with_model("train.lora={target_modules: [c_attn]}"),
        "train.lora",
        needs="model",
    ),
    Case(
        "LoRA of the head",
        with_model("train.lora={target_modules: [lm_head]}"),
        "lm_head",
        needs="model",
    ),
    Case("LoRA of rank 0", with_model("train.lora={r: 0}"), "train.lora", needs="model"),
    Case(
        "an unknown setting of LoRA",
        with_model("train.lora={rank: 8}"),
        "train.lora",
        needs="model",
    ),
    Case(
        "an endpoint for a model that no evaluation has",
        with_model("evaluate.endpoints={student: {base_url: 'http://127.0.0.1:9/v1', model: m}}"),
        "evaluate.endpoints",
        needs="model",
    ),
    Case(
        "an endpoint for a round that the run does not have",
        with_model("evaluate.endpoints={round-1: {base_url: 'http://127.0.0.1:9/v1', model: m}}"),
        "evaluate.endpoints.round-1",
        needs="model",
    ),
    Case(
        "an endpoint where no server answers",
        with_model("evaluate.endpoints={base: {base_url: 'http://127.0.0.1:9/v1', model: m}}"),
        "evaluate.endpoints.base",
        needs="model",
    ),
    Case(
        "completions that are longer than the context",
        with_model("train.grpo.max_completion_length=9999"),
        "train.grpo.max_completion_length",
        needs="model",
    ),
    Case(
        "answers that are longer than the context",
        with_model("evaluate.max_new_tokens=9999"),
        "evaluate.max_new_tokens",
        needs="model",
    ),
    Case(
        "rows that may be longer than the context",
        with_model("distill.sft.max_length=9999"),
        "distill.sft.max_length",
        needs="model",
    ),
    Case(
        "reward weights that are all zero", with_model(ZERO_WEIGHTS), "train.reward", needs="model"
    ),
    Case(
        "self-distillation without rules", with_model("distill.kind=self"), "rules", needs="model"
    ),
)
GROUPS = {
    "The command line and the config": COMMAND_LINE,
    "Data files and imports": DATA_FILES,
    "Code of your own": CODE,
    "Run folders": RUN_FOLDERS,
    "Teachers": TEACHERS,
    "Models and trainings": MODELS,
}


def prepare_folder(folder: Path) -> None:
    """Write a config with problems and two files of answers."""
    write_text(folder / "config.yaml", CONFIG)
    rows = [{"id": str(n), "question": f"{n} + 1?", "answer": n + 1} for n in range(40)]
    write_jsonl(folder / "rows.jsonl", rows)
    for source in ("a", "b"):
        answers = [{"id": row["id"], "outputs": f"The answer is {row['answer']}."} for row in rows]
        write_jsonl(folder / f"{source}.jsonl", answers)


def run_case(case: Case) -> Result:
    """Run the command of a case in the working directory, and return its result."""
    arguments = shlex.split(case.command)[1:]
    replace = os.replace

    def fail(source: Path, target: Path) -> None:
        if case.fault:
            raise OSError(case.fault, os.strerror(case.fault))
        replace(source, target)

    with patch("realm.core.jsonl.os.replace", fail):
        return CliRunner(env=dict(case.environment)).invoke(
            app, arguments, input=case.standard_input
        )


def get_message(result: Result) -> str:
    """Return the message of a failed command: the last line on standard error."""
    message = result.stderr.strip().rpartition("\n")[2]
    return message.replace(f"{Path.cwd()}/", "").replace(str(Path.cwd()), "FOLDER")


def render_page(messages: dict[str, str]) -> str:
    """Return docs/errors.md, given the message of each case."""
    parts = [
        "# What goes wrong, and what ReaLM says\n",
        "Each line is a test, which gives the bad input to the command and compares the message.\n"
        "Each command ends with exit code 2 and leaves no half-written file. `make docs` writes\n"
        "this page.\n",
    ]
    for title, cases in GROUPS.items():
        rows = [render_row(case, messages[case.what]) for case in cases]
        head = [f"## {title}\n", "| bad input | command | message |", "|---|---|---|"]
        parts.append("\n".join([*head, *rows, ""]))
    return "\n".join(parts)


def render_row(case: Case, message: str) -> str:
    """Return the row of a case in docs/errors.md."""
    command = case.command if len(case.command) <= 100 else f"{case.command[:90]}..."
    for sign in "\\`*_<>|[]{}":
        message = message.replace(sign, f"\\{sign}")
    return f"| {case.what} | `{command}` | {message} |"


def fill_folder(case: Case, folder: Path, finished: Path) -> None:
    """Make the folder in which the command of a case runs, from one with a finished run."""
    shutil.copytree(finished, folder, symlinks=True, dirs_exist_ok=True)
    if case.needs != "run":
        shutil.rmtree(folder / "run")
    if case.needs != "model":
        shutil.rmtree(folder / "model")
    if case.prepare:
        case.prepare(folder)


def make_finished_run(folder: Path) -> None:
    """Write a config with its data, and do the run without a model, in the working directory."""
    from tiny import make_tiny  # loads torch

    prepare_folder(folder)
    make_tiny(folder / "model")
    result = CliRunner().invoke(app, ["run", "config.yaml"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
