"""A local OpenAI-compatible endpoint that records its requests, waits, and fails on demand."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Body = dict[str, Any]


@dataclass
class Call:
    """One request that came in."""

    body: Body
    headers: dict[str, str]
    came: float
    fault: str | None
    answered: bool = False
    """A whole, right answer was written to the connection."""

    @property
    def question(self) -> str:
        return self.body["messages"][-1]["content"]


@dataclass
class Endpoint:
    """Serves /v1/chat/completions, /v1/completions and /v1/models from a thread of its own.

    `answer` writes the text of a reply, `fault` names what goes wrong: `429` (with Retry-After),
    `500`, `drop` (the connection), `torn` (half the JSON), `stall` (no answer), `endless` (a body
    without end), `drip` (the same, a byte now and then), or another status.
    `n` is ignored: there is one choice.
    """

    answer: Callable[[Body], str | Body] = lambda body: "The answer is 1"
    fault: Callable[[int, Body], str | None] = lambda number, body: None
    latency: float = 0.0
    retry_after: Callable[[], str] = lambda: "0"
    says: str | None = None
    """What an error's message says; null: the status. `{authorization}` is the header that came."""
    error_code: str | None = None
    """The code in the body of an error."""
    body: Callable[[Body], Body] | None = None
    """The whole body of a reply of status 200, in place of a chat completion."""
    completion_tokens: Callable[[Body], int] = lambda body: 5
    usage: bool = True
    cards: list[Body] = field(default_factory=lambda: [{"id": "big-1"}])
    """What /v1/models lists."""
    calls: list[Call] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0

    def __enter__(self) -> Endpoint:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        assert ready.wait(10)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def answered(self) -> list[Call]:
        return [call for call in self.calls if call.answered]

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=512)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._end.wait()
        server.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")
                headers = {
                    name.lower(): value.strip()
                    for name, _, value in (line.partition(":") for line in lines[1:] if line)
                }
                if lines[0].startswith("GET "):
                    is_known = lines[0].split()[1] == "/v1/models"
                    listed = json.dumps({"object": "list", "data": self.cards})
                    await _send(writer, 200 if is_known else 404, listed if is_known else "{}")
                    continue
                body = json.loads(await reader.readexactly(int(headers["content-length"])))
                self.in_flight += 1
                self.most_in_flight = max(self.most_in_flight, self.in_flight)
                try:
                    await self._reply(body, headers, reader, writer)
                finally:
                    self.in_flight -= 1
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            writer.close()

    async def _reply(
        self,
        body: Body,
        headers: dict[str, str],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        call = Call(body, headers, time.time(), self.fault(len(self.calls), body))
        self.calls.append(call)
        if call.fault == "stall":
            await reader.read()  # until the client hangs up
            return
        await asyncio.sleep(self.latency)
        if call.fault == "drop":
            writer.transport.abort()
        elif call.fault == "torn":
            text = json.dumps(self._completion(body))
            await _send(writer, 200, text[: len(text) // 2])
        elif call.fault in ("endless", "drip"):
            writer.write(b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\n\r\n")
            piece, pause = (b" " * 2**20, 0.0) if call.fault == "endless" else (b" ", 0.1)
            while True:  # until the client hangs up
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause)
        elif call.fault is not None:
            said = (self.says or f"a fault: {call.fault}").replace(
                "{authorization}", headers.get("authorization", "")
            )
            more = {"Retry-After": self.retry_after()} if call.fault == "429" else {}
            await _send(
                writer,
                int(call.fault),
                json.dumps({"error": {"message": said, "code": self.error_code}}),
                more,
            )
        else:
            await _send(writer, 200, json.dumps(self._completion(body)))
            call.answered = True

    def _completion(self, body: Body) -> Body:
        if self.body is not None:
            return self.body(body)
        said = self.answer(body)
        if "prompt" in body:  # of /v1/completions, where an answer is a text or a whole choice
            choice = {"index": 0, "text": said} if isinstance(said, str) else {"index": 0, **said}
            usage = {"prompt_tokens": len(body["prompt"]), "total_tokens": 0}
            usage["completion_tokens"] = self.completion_tokens(body)
            return {
                "id": "x",
                "object": "text_completion",
                "created": 0,
                "model": body["model"],
                "choices": [{"finish_reason": "stop", "logprobs": None, **choice}],
                "usage": usage if self.usage else None,
            }
        message = {"role": "assistant", **(said if isinstance(said, dict) else {"content": said})}
        finish = message.pop("finish_reason", "stop")
        usage = {"prompt_tokens": sum(len(part["content"].split()) for part in body["messages"])}
        usage["completion_tokens"] = self.completion_tokens(body)
        return {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            **({"usage": usage} if self.usage else {}),
        }


async def _send(
    writer: asyncio.StreamWriter, status: int, text: str, more: dict[str, str] | None = None
) -> None:
    content = text.encode()
    fields = {
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
        **(more or {}),
    }
    head = (
        f"HTTP/1.1 {status} X\r\n"
        + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        + "\r\n"
    )
    writer.write(head.encode() + content)
    await writer.drain()


def write_sums(
    folder: Path, *, train: int = 6, test: int = 2, domain: Body | None = None, **routes: Any
) -> Path:
    """Write problems (sums), a rule book, and a config that collects routes; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        f"p{n},{n} plus {n + 1},{2 * n + 1},{'train' if n < train else 'test'}"
        for n in range(train + test)
    ]
    (folder / "sums.csv").write_text(
        "\n".join(["id,question,answer,split", *rows]) + "\n", encoding="utf-8"
    )
    (folder / "rules.md").write_text(
        "# Sums\n\n1. Plus adds.\n2. Minus subtracts.\n", encoding="utf-8"
    )
    files = {
        "kind": "files",
        "path": "sums.csv",
        "answer": "number",
        "columns": {"split": "split"},
        "rules": "rules.md",
    }
    collected = {"kind": "collect", "teachers": [teacher()], **routes}
    config = {
        "run": str(folder / "run"),
        "domain": {**files, **(domain or {})},
        "routes": collected,
    }
    path = folder / "sums.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def teacher(**settings: Any) -> Body:
    """Return the settings of a teacher behind the endpoint that OPENAI_BASE_URL names."""
    return {
        "kind": "api",
        "name": "big",
        "model": "big-1",
        "key_env": None,
        "routes": 1,
        "eval_routes": 1,
        **settings,
    }


def add_up(body: Body) -> str:
    """Return the right answer to a question of `write_sums`."""
    first, second = re.findall(r"(\d+) plus (\d+)", body["messages"][-1]["content"])[-1]
    return f"Adding up. The answer is {int(first) + int(second)}"
