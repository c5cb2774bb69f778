"""Servers on loopback that speak as vLLM, transformers, llama.cpp and Ollama do, or fail as asked.

Shapes of requests and replies, status codes and layout of chunks are those that were recorded of
the real servers. The model is a rule: it looks for dark pixels in the pictures that it is sent.
"""

from __future__ import annotations

import base64
import io
import json
import math
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_pathreason.budgets import smart_resize

Pictures = Sequence[NDArray[np.uint8]]
Answer = Callable[[str, Pictures], tuple[str, str]]
"""Words of the user and pictures -> rationale and answer."""


def find_dark(words: str, pictures: Pictures) -> tuple[str, str]:
    """Boxes from 0 to 1000 where boxes are asked for, else ``no`` or ``yes``: is there dark?"""
    dark = [picture[..., 0] < 128 for picture in pictures]
    if "box_2d" not in words:
        if "white?" in words:
            return "it looks bright", "yes"
        return "dark pixels", "yes" if any(one.any() for one in dark) else "no"
    boxes = []
    for one in dark:
        rows, columns = np.nonzero(one)
        if rows.size:
            height, width = one.shape
            corners = [
                1000 * float(columns.min()) / width,
                1000 * float(rows.min()) / height,
                1000 * float(columns.max() + 1) / width,
                1000 * float(rows.max() + 1) / height,
            ]
            label = words.partition("Find every ")[2].partition(".")[0] or "rectangle"
            boxes.append({"bbox_2d": corners, "label": label})
    return "one dark spot" if boxes else "all white", json.dumps(boxes)


@dataclass
class Dialect:
    """How a kind of server behaves; the defaults are those of vLLM.

    Parameters
    ----------
    models : tuple of str
    token_px, floor, cap : int
        Side of a visual token; bounds of a picture's pixels.
    fixed : int
        Visual tokens of every picture; 0 where size decides.
    several : int
        Pictures in a prompt, at the most; 0 of a model that reads text alone.
    thinks_in : str
        Field of the rationale, or ``content`` with its tags.
    logprobs, continues, counts, always_counts, lists : bool
        Tells probabilities; goes on with an answer; its template writes how many visual tokens
        there are; sends usage unasked; lists its models.
    pixels : str
        Field that sets the bounds; empty: none does.
    structured : str
        Field that binds an answer to choices; empty: none does.
    unknown : frozenset of str
        Fields that are refused (422), or ``{"mm_processor_kwargs"}`` with 400.
    """

    models: tuple[str, ...] = ("Qwen/Qwen3-VL-2B-Instruct",)
    token_px: int = 32
    floor: int = 65_536
    cap: int = 16_777_216
    fixed: int = 0
    several: int = 8
    thinks_in: str = "content"
    logprobs: bool = True
    continues: bool = True
    counts: bool = False
    always_counts: bool = False
    lists: bool = True
    pixels: str = ""
    structured: str = "structured_outputs"
    refused: tuple[str, ...] = ()
    refuses_with: int = 400
    context: int = 8192
    any_name: bool = False


def vllm(**changes: Any) -> Dialect:
    """VLLM as it starts: bounds of pixels are refused unless it was started with trust in them."""
    return Dialect(**{"refused": ("mm_processor_kwargs",), **changes})


def transformers_serve(**changes: Any) -> Dialect:
    """``transformers serve``: refuses fields that it does not know, tells no probabilities."""
    usual: dict[str, Any] = {
        "floor": 3136,
        "cap": 1_003_520,
        "thinks_in": "reasoning_content",
        "logprobs": False,
        "continues": False,
        "counts": True,
        "always_counts": True,
        "pixels": "chat_template_kwargs",
        "structured": "",
        "refused": (
            "mm_processor_kwargs",
            "continue_final_message",
            "add_generation_prompt",
            "top_logprobs",
            "stream_options",
        ),
        "refuses_with": 422,
    }
    return Dialect(**{**usual, **changes})


def llama_cpp(**changes: Any) -> Dialect:
    """A llama.cpp server: 9 tokens at least, any name of a model."""
    usual: dict[str, Any] = {
        "models": ("/srv/models/medgemma-4b.gguf",),
        "floor": 9 * 1024,
        "cap": 4096 * 1024,
        "thinks_in": "reasoning_content",
        "structured": "grammar",
        "any_name": True,
    }
    return Dialect(**{**usual, **changes})


def ollama(**changes: Any) -> Dialect:
    """Ollama with a model of fixed pictures; says nothing of probabilities."""
    usual: dict[str, Any] = {
        "models": ("medgemma1.5:latest", "llama3:latest"),
        "fixed": 256,
        "thinks_in": "reasoning",
        "logprobs": False,
        "continues": False,
        "structured": "",
    }
    return Dialect(**{**usual, **changes})


@dataclass
class FakeServer:
    """A running server.

    Attributes
    ----------
    url : str
        Base of its API.
    bodies : list of dict
        Of the chat requests so far; ``keys`` are their bearer tokens.
    faults : list
        What becomes of the next chat requests, one each: a status, or ``half``, ``silence``,
        ``hang_up``, ``midway``, ``redirect``, ``html``, ``stream_error``; ``None`` is an answer.
    always : object
        A fault of every chat request.
    delay : float
        Seconds before each piece of text.
    key : str
        That is wanted; empty for none.
    most_at_once, cut : int
        Requests that were answered at the same time, at the most; that were cut by the client.
    """

    dialect: Dialect
    answer: Answer = find_dark
    key: str = ""
    delay: float = 0.0
    faults: list[Any] = field(default_factory=list)
    always: Any = None
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    most_at_once: int = 0
    cut: int = 0
    url: str = ""
    elsewhere: str = "http://elsewhere.invalid/v1/chat/completions?key=secret"
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ended: threading.Event = field(default_factory=threading.Event)

    @property
    def address(self) -> str:
        """Its address with the name of its first model."""
        return f"{self.url}#{self.dialect.models[0]}"

    @property
    def questions(self) -> list[dict[str, Any]]:
        """Bodies of requests that hold pictures other than plain white ones."""
        return [body for body in self.bodies if any(one.min() < 255 for one in _pictures(body))]


@contextmanager
def serving(dialect: Dialect | None = None, **settings: Any) -> Iterator[FakeServer]:
    """Run a server on a free port of loopback."""
    fake = FakeServer(dialect or vllm(), **settings)
    server = _Server(("127.0.0.1", 0), _Handler)
    server.fake = fake
    fake.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        fake._ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    fake: FakeServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""
        self.fake.cut += 1


class _Refusal(Exception):
    def __init__(self, status: int, body: Any) -> None:
        self.status, self.body = status, body


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: Any) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        fake = self.server.fake
        if not self._key_is_right():
            return
        if self.path != "/v1/models":
            self._json(404, {"detail": "Not Found"})
        elif not fake.dialect.lists:
            self._json(500, {"error": "Internal Server Error"})
        else:
            listed = [
                {"id": one, "object": "model", "max_model_len": fake.dialect.context}
                for one in fake.dialect.models
            ]
            self._json(200, {"object": "list", "data": listed})

    def do_POST(self) -> None:
        fake = self.server.fake
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self._key_is_right():
            return
        if self.path != "/v1/chat/completions":
            self._json(404, {"detail": "Not Found"})
            return
        with fake._lock:
            fake.bodies.append(body)
            fault = fake.faults.pop(0) if fake.faults else fake.always
            fake._now += 1
            fake.most_at_once = max(fake.most_at_once, fake._now)
        try:
            self._chat(body, fault)
        except _Refusal as refusal:
            self._json(refusal.status, refusal.body)
        finally:
            with fake._lock:
                fake._now -= 1

    def _key_is_right(self) -> bool:
        fake = self.server.fake
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        fake.keys.append(given)
        if fake.key and given != fake.key:
            self._json(401, {"error": {"message": "Invalid API Key", "code": 401}})
            return False
        return True

    def _chat(self, body: dict[str, Any], fault: Any) -> None:
        fake = self.server.fake
        if isinstance(fault, int):
            self._json(fault, {"error": {"message": f"fault {fault}", "code": fault}})
            return
        if isinstance(fault, tuple):  # status and the server's own words
            self._json(fault[0], {"error": {"message": fault[1], "code": fault[0]}})
            return
        if fault == "redirect":
            self.send_response(307)
            self.send_header("Location", fake.elsewhere)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if fault == "html":
            self._body(200, "<html>a page</html>", "text/html")
            return
        if fault == "silence":
            fake._ended.wait(30)
            self.close_connection = True
            return
        if fault == "hang_up":
            self.close_connection = True
            return
        events = _events(fake, body)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number, event in enumerate(events):
            if fake.delay:
                time.sleep(fake.delay)
            line = f"data: {json.dumps(event)}\n\n"
            if fault == "half" and number == 3:
                self._chunk(line[: len(line) // 2])
                self._chunk("")
                return
            if fault == "midway" and number == 3:
                self.close_connection = True
                return
            if fault == "stream_error" and number == 3:
                self._chunk('data: {"error": {"message": "CUDA error", "code": 500}}\n\n')
                self._chunk("")
                return
            if fault == "stall" and number == 3:
                fake._ended.wait(30)
                self.close_connection = True
                return
            self._chunk(line)
        self._chunk("data: [DONE]\n\n")
        self._chunk("")

    def _chunk(self, text: str) -> None:
        data = text.encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _json(self, status: int, value: Any) -> None:
        self._body(status, json.dumps(value), "application/json")

    def _body(self, status: int, text: str, kind: str) -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _events(fake: FakeServer, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages of a stream, or a refusal."""
    dialect = fake.dialect
    _check_fields(dialect, body)
    pictures = _pictures(body)
    prompt = _prompt_tokens(dialect, body, pictures)
    if prompt + body.get("max_tokens", 16) > dialect.context:
        raise _Refusal(
            400,
            {
                "error": {
                    "message": f"This model's maximum context length is {dialect.context} tokens. "
                    f"However, your request has {prompt} input tokens.",
                    "type": "BadRequestError",
                    "code": 400,
                }
            },
        )
    rationale, answer = fake.answer(_words(body), pictures)
    text = f"<think>{rationale}</think><answer>{answer}</answer>"
    if dialect.structured in body:
        text = _bound(str(body[dialect.structured]), rationale, answer)
    tokens = _pieces(text)
    finish = "length" if len(tokens) > body.get("max_tokens", 16) else "stop"
    tokens = tokens[: body.get("max_tokens", 16)]
    events = [_event({"role": "assistant", "content": ""})]
    apart, text = dialect.thinks_in != "content" and "<think>" in text, ""
    for token in tokens:
        text += token
        split = apart and "</think>" not in text
        shown = token.replace("<think>", "") if split else token
        delta = {dialect.thinks_in if split else "content": shown}
        if dialect.thinks_in != "content" and token == "</think>":
            continue
        events.append(_event(delta, _logprob(body, token) if dialect.logprobs else None))
    events.append(_event({}, finish=finish))
    if dialect.always_counts or body.get("stream_options", {}).get("include_usage"):
        usage = {"prompt_tokens": prompt, "completion_tokens": len(tokens)}
        events.append({"object": "chat.completion.chunk", "choices": [], "usage": usage})
    return events


def _bound(pattern: str, rationale: str, answer: str) -> str:
    """The answer as a pattern of choices lets it be: the first choice where it is none of them."""
    _, _, options = pattern.partition("<answer>")
    inside = re.search(r"\((.*)\)", options)
    assert inside is not None, pattern
    choices = [re.sub(r"\\\\?(.)", r"\1", one.strip(' "')) for one in inside[1].split("|")]
    answer = answer if answer in choices else choices[0]
    thought = f"<think>{rationale}</think>" if "think" in pattern else ""
    return f"{thought}<answer>{answer}</answer>"


def _check_fields(dialect: Dialect, body: dict[str, Any]) -> None:
    if not dialect.any_name and body["model"] not in dialect.models:
        raise _Refusal(
            404,
            {
                "error": {
                    "message": f"The model `{body['model']}` does not exist.",
                    "type": "NotFoundError",
                    "code": 404,
                }
            },
        )
    refused = [name for name in dialect.refused if name in body]
    if refused:
        words = f"Unexpected keys in the request: {set(refused)}"
        raise _Refusal(dialect.refuses_with, {"detail": words})
    if body.get("top_logprobs", 0) > 20:
        raise _Refusal(400, {"error": {"message": "more logprobs than allowed: 20", "code": 400}})
    pictures = len(_pictures(body))
    if pictures and not dialect.several:
        raise _Refusal(400, {"error": {"message": "m is not a multimodal model", "code": 400}})
    if pictures > dialect.several:
        words = f"At most {dialect.several} image(s) may be provided in one prompt."
        raise _Refusal(400, {"error": {"message": words, "code": 400}})


def _prompt_tokens(dialect: Dialect, body: dict[str, Any], pictures: Pictures) -> int:
    words = len(_words(body, everything=True).split()) + 4 * len(body["messages"])
    if body["messages"][-1]["role"] == "assistant":
        words -= 4 if dialect.continues and body.get("continue_final_message") else -4
    bounds = body.get(dialect.pixels, {}) if dialect.pixels else {}
    least, most = bounds.get("min_pixels", dialect.floor), bounds.get("max_pixels", dialect.cap)
    told = body.get("chat_template_kwargs", {}).get("visual_tokens")
    for picture in pictures:
        height, width = smart_resize(*picture.shape[:2], dialect.token_px, least, most)
        words += dialect.fixed or math.prod((height, width)) // dialect.token_px**2
        words += 2 + (2 if dialect.counts and told else 0)
    return words


def _words(body: dict[str, Any], everything: bool = False) -> str:
    said = []
    for message in body["messages"]:
        if message["role"] != "user" and not everything:
            continue
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        said += [part["text"] for part in parts if part["type"] == "text"]
    return "\n".join(said)


def _pictures(body: dict[str, Any]) -> list[NDArray[np.uint8]]:
    found = []
    for message in body["messages"]:
        if isinstance(message["content"], str):
            continue
        for part in message["content"]:
            if part["type"] == "image_url":
                data = part["image_url"]["url"].partition("base64,")[2]
                image = Image.open(io.BytesIO(base64.b64decode(data)))
                found.append(np.asarray(image.convert("RGB")))
    return found


def _pieces(text: str) -> list[str]:
    """Text as tokens: tags whole, words with the blank before them."""
    pieces: list[str] = []
    for tag in ("<think>", "</think>", "<answer>", "</answer>"):
        text = text.replace(tag, f"\0{tag}\0")
    for part in filter(None, text.split("\0")):
        if part.startswith("<"):
            pieces.append(part)
        else:
            first, *rest = part.split(" ")
            pieces += [first, *(f" {word}" for word in rest)]
    return [piece for piece in pieces if piece]


def _logprob(body: dict[str, Any], token: str) -> dict[str, Any] | None:
    if not body.get("logprobs"):
        return None
    other = {"yes": "no", "no": "yes"}.get(token, "~")
    sure = 0.8 if other != "~" else 0.99
    top = [
        {"token": token, "logprob": math.log(sure)},
        {"token": other, "logprob": math.log(1 - sure)},
    ][: body.get("top_logprobs", 0)]
    return {"content": [{"token": token, "logprob": math.log(sure), "top_logprobs": top}]}


def _event(
    delta: dict[str, Any], logprobs: Any = None, finish: str | None = None
) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice]}
