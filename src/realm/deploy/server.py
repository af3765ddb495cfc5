"""`realm serve`: an OpenAI-compatible endpoint with the prompts that a model was trained with."""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from realm.core.errors import ConfigError, DataError, RealmError, RunError
from realm.core.settings import MAX_SEED
from realm.method.thoughts import read_parts

if TYPE_CHECKING:
    from fastapi import FastAPI

    from realm.deploy.student import Reply, Student

logger = logging.getLogger(__name__)

_REFUSED = ("tools", "functions", "logprobs", "response_format")
"""Fields of a request that ask for what the student cannot do; the rest is ignored aloud."""
_HARMLESS = {"user", "metadata", "store", "stream_options", "service_tier", *_REFUSED}


class ChatRequest(BaseModel):
    """The fields of a chat completion request that the student honours."""

    model_config = ConfigDict(extra="allow")

    messages: list[dict[str, Any]]
    model: str | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """Without one the answer is greedy, as in the evaluation."""
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = None
    n: int | None = None
    stream: bool | None = None
    self_routes: Annotated[int, Field(ge=0, le=64)] | None = None
    """Ours: in place of the server's --self-routes."""


class Answerer:
    """Answers requests by a student: one after the other, unless a server holds its weights."""

    def __init__(self, student: Student, name: str, self_routes: int, max_new_tokens: int) -> None:
        self.student = student
        self.name = name
        self.self_routes = self_routes
        self.max_new_tokens = max_new_tokens
        # One model, one request at a time: two at once would share its memory and its cores. A
        # server behind it makes batches of what comes together.
        self._lock = nullcontext() if student.has_upstream else threading.Lock()
        self._ignored: set[str] = set()

    def answer(self, request: ChatRequest) -> dict[str, Any]:
        """Return the body of a chat completion.

        Raises:
            RealmError: The request cannot be answered as it is.
        """
        self._check(request)
        question = read_question(request.messages)
        if len([one for one in request.messages if one.get("role") != "developer"]) > 1:
            self._warn("earlier turns and system messages: the model was trained on one question")
        limit = request.max_completion_tokens or request.max_tokens or self.max_new_tokens
        routes = self.self_routes if request.self_routes is None else request.self_routes
        with self._lock:
            reply = self.student.ask(
                question,
                self_routes=routes,
                max_new_tokens=min(limit, self.max_new_tokens),
                temperature=request.temperature or 0.0,
                seed=7 if request.seed is None else request.seed,
            )
        return write_completion(reply, self.name)

    def _check(self, request: ChatRequest) -> None:
        if request.model not in (None, self.name):
            raise DataError(f"model: found {request.model!r}; this server has {self.name!r}.")
        if request.n not in (None, 1):
            raise DataError(f"n: found {request.n}; one answer is given. Ask again with a seed.")
        extra = {key for key, value in (request.model_extra or {}).items() if value}
        if refused := sorted(extra.intersection(_REFUSED)):
            raise DataError(f"{refused[0]}: the student cannot do this. Leave it out.")
        for key in sorted(extra - _HARMLESS):
            self._warn(key)

    def _warn(self, what: str) -> None:
        if what not in self._ignored:
            self._ignored.add(what)
            logger.warning("serve    ignored in requests: %s", what)


def read_question(messages: list[dict[str, Any]]) -> str:
    """Return the text of the last message by the user.

    >>> read_question([{"role": "user", "content": [{"type": "text", "text": "1 + 1?"}]}])
    '1 + 1?'

    Raises:
        DataError: There is none, or it is empty.
    """
    for message in reversed(messages):
        if message.get("role") == "user":
            _, text = read_parts(message.get("content"))
            if text.strip():
                return text
            break
    raise DataError("messages: the last message by the user is missing or empty.")


def write_completion(reply: Reply, name: str) -> dict[str, Any]:
    """Return a chat completion with the reasoning and the answer apart.

    `reasoning_content` is the field of vLLM and DeepSeek; `realm` holds what has no field there.
    """
    message = {
        "role": "assistant",
        "content": reply.judgement.answer or "",
        "reasoning_content": reply.judgement.reasoning,
    }
    prompt_tokens = reply.completion.prompt_tokens
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": name,
        "choices": [
            {
                "index": 0,
                "message": message,
                "finish_reason": "length" if reply.is_cut else "stop",
            }
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": reply.num_tokens,
            "total_tokens": prompt_tokens + reply.num_tokens,
        },
        "realm": {
            "completion": reply.completion.text,
            "own_answers": list(reply.own_answers),
            "verdicts": list(reply.judgement.verdicts),
        },
    }


def split_into_events(body: dict[str, Any]) -> Iterator[str]:
    """Yield a finished completion as the events of a stream: reasoning, answer, end.

    The answer is known only when the whole completion is parsed, so that nothing comes earlier.
    """
    choice = body["choices"][0]
    message = choice["message"]
    common = {name: body[name] for name in ("id", "created", "model")}
    common["object"] = "chat.completion.chunk"
    deltas: list[dict[str, Any]] = [{"role": "assistant"}]
    if message["reasoning_content"]:
        deltas.append({"reasoning_content": message["reasoning_content"]})
    deltas += [{"content": message["content"]}, {}]
    for number, delta in enumerate(deltas, 1):
        is_last = number == len(deltas)
        finish = choice["finish_reason"] if is_last else None
        event = common | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        if is_last:
            event |= {"usage": body["usage"], "realm": body["realm"]}
        yield f"data: {json.dumps(event, ensure_ascii=False)}\n\n"
    yield "data: [DONE]\n\n"


def require_server() -> None:
    """Raise `ConfigError` if the packages of the server are not installed."""
    if not find_spec("fastapi") or not find_spec("uvicorn"):
        raise ConfigError(
            'realm serve needs the packages fastapi and uvicorn: pip install "realm-slm[serve]"'
        )


def make_app(answerer: Answerer) -> FastAPI:
    """Return the web application: /health, /v1/models and /v1/chat/completions."""
    from fastapi import FastAPI
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse, Response, StreamingResponse

    app = FastAPI(title="ReaLM", docs_url=None, redoc_url=None)

    def refuse(message: str, status: int = 400) -> Response:
        kind = "invalid_request_error" if status == 400 else "server_error"
        error = {"message": message, "type": kind, "code": None}
        return JSONResponse({"error": error}, status_code=status)

    @app.exception_handler(RequestValidationError)
    def explain_fields(_: Any, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return refuse(f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg']}")

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/models")
    def list_models() -> dict[str, Any]:
        entry = {"id": answerer.name, "object": "model", "created": 0, "owned_by": "realm"}
        return {"object": "list", "data": [entry]}

    # Not async: the model answers in a thread, and /health stays reachable.
    def complete(request: ChatRequest) -> Response:
        try:
            body = answerer.answer(request)
        except RunError as error:  # the server behind this one
            return refuse(str(error), 502)
        except RealmError as error:
            return refuse(str(error))
        if request.stream:
            return StreamingResponse(split_into_events(body), media_type="text/event-stream")
        return JSONResponse(body)

    app.post("/v1/chat/completions", response_model=None)(complete)
    return app


def run_server(answerer: Answerer, host: str, port: int) -> None:
    """Answer requests until the process is interrupted.

    Raises:
        RealmError: The address cannot be used.
    """
    import socket

    import uvicorn

    try:
        # Bound here, since uvicorn would end the process with its own message.
        place = socket.create_server((host, port))
    except OSError as error:
        raise DataError(
            f"--host {host} --port {port}: cannot be used ({error.strerror}). Choose another port."
        ) from error
    port = place.getsockname()[1]
    logger.info("serving %s at http://%s:%d/v1; Ctrl-C ends it", answerer.name, host, port)
    settings = uvicorn.Config(make_app(answerer), log_level="warning")
    uvicorn.Server(settings).run(sockets=[place])
