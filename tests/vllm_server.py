"""A stand-in for `vllm serve` with the addresses that TRL's `VLLMClient` asks, on this machine.

It answers with a model of its own, which takes weights in place of those that NCCL would bring.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import torch
from transformers import AutoModelForCausalLM


class VllmServer:
    """Serves a model from threads of its own, and records what it is asked.

    `calls` holds (path, body) of each request, in order. `info` is the configuration that the
    development endpoint shows; None: there is no such endpoint, as without VLLM_SERVER_DEV_MODE.
    `failures` is how often the server says that it is not ready.
    """

    def __init__(self, model: str, *, name: str | None = None, max_model_len: int = 4096) -> None:
        self.card: dict[str, Any] = {
            "id": name or model,
            "root": model,
            "max_model_len": max_model_len,
        }
        self.info: dict[str, Any] | None = {
            "weight_transfer_config": {"backend": "nccl"},
            "model_config": {"logprobs_mode": "processed_logprobs"},
        }
        self.failures = 0
        self.calls: list[tuple[str, Any]] = []
        self.model: Any = None
        self._announced: dict[str, list[int]] = {}

    def __enter__(self) -> VllmServer:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._reply(*fake.answer_get(urlsplit(self.path).path))

            def do_POST(self) -> None:
                size = int(self.headers.get("content-length", 0))
                body = json.loads(self.rfile.read(size) or b"null")
                fake.calls.append((self.path, body))
                self._reply(200, fake.answer_post(self.path, body))

            def _reply(self, status: int, value: Any) -> None:
                content = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def load(self, folder: Any) -> None:
        """Load the model that answers."""
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def receive(self, tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
        """Take the weights that were announced, in their order."""
        own, shapes = dict(self.model.named_parameters()), {}
        with torch.no_grad():
            # One by one: an adapter is merged while they are sent only.
            for name, value in tensors:
                own[name].copy_(value)
                shapes[name] = list(value.shape)
        assert shapes == self._announced

    def answer_get(self, path: str) -> tuple[int, Any]:
        if path == "/health":
            self.failures -= 1
            return (503 if self.failures >= 0 else 200), {}
        if path == "/v1/models":
            return 200, {"data": [self.card]}
        if path == "/get_world_size":
            return 200, {"world_size": 1}
        if path == "/server_info" and self.info is not None:
            return 200, {"vllm_config": self.info}
        return 404, {"detail": "Not Found"}

    def answer_post(self, path: str, body: Any) -> Any:
        if path == "/update_weights":
            info = body["update_info"]
            self._announced = dict(zip(info["names"], info["shapes"], strict=True))
        if path != "/v1/completions":
            return {"success": True}
        return {
            "choices": [
                self._complete(prompt, body) for prompt in body["prompt"] for _ in range(body["n"])
            ]
        }

    @torch.no_grad()
    def _complete(self, prompt: list[int], body: dict[str, Any]) -> dict[str, Any]:
        """Return one choice: token ids and their log-probabilities, as vLLM writes them."""
        ids, logprobs = list(prompt), []
        for _ in range(body["max_tokens"]):
            logits = self.model(input_ids=torch.tensor([ids])).logits[0, -1]
            chances = (logits / body["temperature"]).log_softmax(-1)
            ids.append(int(torch.multinomial(chances.exp(), 1)))
            logprobs.append(float(chances[ids[-1]]))
        new = ids[len(prompt) :]
        return {
            "prompt_token_ids": prompt,
            "token_ids": new,
            "logprobs": {
                "tokens": [f"token_id:{token}" for token in new],
                "token_logprobs": logprobs,
                "top_logprobs": [{} for _ in new],
            },
        }
