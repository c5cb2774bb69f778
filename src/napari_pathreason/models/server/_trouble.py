"""What can go wrong with a server, each in one line with its remedy."""

from __future__ import annotations

import json
import re
from typing import Any

from napari_pathreason.errors import ModelError

from ._address import Address

MOST_WORDS = 160
"""Characters of a server's own words in a message."""
_CONTEXT = re.compile(
    r"context (length|size|window|limit)|maximum (model|context) len|max_model_len|"
    r"exceed_context|too many tokens|longer than the maximum",
    re.IGNORECASE,
)
_NO_PICTURES = re.compile(
    r"not (a )?multi-?modal|image input is not supported|mmproj|at most 0 image|"
    r"(does not|doesn't|not) support (image|vision|multimodal)|unsupported content.*image|"
    r"missing data required for image|not a vision|only text|text-only|"
    r"image_url.{0,40}(only supported by certain|not supported)|unknown variant .?image|"
    r"(does not|doesn't|not) support [a-z ]{0,20}image|no endpoints found that support image",
    re.IGNORECASE,
)
_FEWER = re.compile(
    r"at most (\d+) image|only (one|1|a single) image|multiple images|limit.mm.per.prompt",
    re.IGNORECASE,
)
_PICTURE = re.compile(
    r"(cannot|can't|could not|failed to|unable to|invalid|error)[^.]{0,40}"
    r"(image|base64|media|picture|bitmap)|image file is truncated|image.{0,20}too (large|small)",
    re.IGNORECASE,
)
_NO_MODEL = re.compile(
    r"model.{0,300}(does not exist|not found|not loaded|unknown|no such)|no such model|"
    r"(is not a valid|invalid) model",
    re.IGNORECASE | re.DOTALL,
)


class Refused(ModelError):
    """A request that the server refused.

    Parameters
    ----------
    message : str
    status : int
    words : str
        Of the server.
    """

    def __init__(self, message: str, status: int, words: str) -> None:
        super().__init__(message)
        self.status, self.words = status, words

    @property
    def names_fields(self) -> bool:
        """Whether a field of the request may be what was refused."""
        return self.status in (400, 422)

    @property
    def most_pictures(self) -> int | None:
        """How many pictures a prompt may have, where there were more; None if it says none."""
        match = _FEWER.search(self.words)
        if match is None:
            return None
        return int(match[1]) if match[1] else 1


class NoPictures(Refused):
    """The model reads no pictures."""


def refusal(address: Address, status: int, body: str, location: str = "") -> Refused:
    """The error of a response that is not 200.

    Parameters
    ----------
    address : Address
    status : int
    body : str
        Of the response; words out of it may stand in the message.
    location : str
        Where a redirect points.
    """
    words = _words(body)
    own = f" ({plain(words)})" if words else ""
    name = _model(address)
    kind, line = Refused, ""
    if 300 <= status < 400:
        line = (
            f"the server {address.place} sends requests on to "
            f"{plain(location) or 'another address'}; "
            "give that address if you trust it, as nothing is sent there by itself"
        )
    elif status in (401, 403):
        line = (
            f"the server {address.place} refuses the key, or wants one; set PATHREASON_API_KEY to "
            "the key of this server, or store it in the system keyring"
        )
    elif _NO_PICTURES.search(words) and status != 404:
        kind, line = (
            NoPictures,
            f"{name} of the server {address.place} reads text alone{own}; choose one that reads "
            "pictures, on llama.cpp start it with its --mmproj file",
        )
    elif status == 404 and _NO_MODEL.search(words):
        line = (
            f"the server {address.place} has no {name.removeprefix('the ')}; "
            f"`pathreason doctor --model {address.url}` lists what it has"
        )
    elif status in (404, 405):
        line = (
            f"the server {address.place} has nothing at {address.url}/chat/completions; "
            + ("check the path" if address.url.endswith("/v1") else f"try {address.url}/v1")
            + ", most addresses end in /v1"
        )
    elif status == 413:
        line = f"the picture is too large for the server {address.place}; ask with a smaller budget"
    elif _CONTEXT.search(words):
        line = (
            f"the question and its pictures are longer than the context of {name}{own}; ask with "
            "a smaller budget, or start the server with a longer context"
        )
    elif _FEWER.search(words):
        line = (
            f"the server {address.place} takes fewer pictures in a prompt{own}; ask again, each "
            "is then asked about by itself"
        )
    elif _PICTURE.search(words):
        line = (
            f"the server {address.place} refuses the picture{own}; ask with another budget, or "
            "choose another model"
        )
    elif status in (429, 503):
        line = f"the server {address.place} is busy{own}; ask again later"
    elif status >= 500:
        line = (
            f"the server {address.place} failed inside ({status}){own}; ask again, and look at "
            "its log if it comes back"
        )
    else:
        line = f"the server {address.place} refused the request ({status}){own}; check the model"
    return kind(line, status, words)


def unreachable(address: Address, why: str) -> ModelError:
    """The error of a connection that did not come about."""
    lower = why.lower()
    if "ssl" in lower or "certificate" in lower or "tls" in lower:
        return ModelError(
            f"the server {address.place} was not reached by TLS ({plain(why)}); give http:// "
            "where it speaks plain HTTP, or have its certificate trusted on this machine"
        )
    return ModelError(
        f"the server {address.place} cannot be reached ({plain(why)}); start it, or check host "
        "and port"
    )


def silent(address: Address, seconds: float) -> ModelError:
    """The error of a server that said nothing for too long."""
    return ModelError(
        f"the server {address.place} said nothing for {seconds:g} s; ask again when it is less "
        "busy, or set PATHREASON_SERVER_TIMEOUT to more seconds"
    )


def died(address: Address) -> ModelError:
    """The error of a server that went away before it had written anything."""
    return ModelError(
        f"the server {address.place} broke off before it answered; ask again, and look at its log "
        "if it comes back"
    )


def foreign(address: Address) -> ModelError:
    """The error of a server that answers in another form."""
    return ModelError(
        f"what {address.place} answers is no chat completion; give the address of an "
        "OpenAI-compatible API, most end in /v1"
    )


def withheld(address: Address) -> ModelError:
    """The error of an answer that a filter of the server keeps back."""
    return ModelError(
        f"the server {address.place} withheld the answer by its content filter; ask in other "
        "words, or choose another model"
    )


def said_in_stream(address: Address, value: dict[str, Any]) -> ModelError | None:
    """The error that a chunk of a stream holds; None where it holds none."""
    error = value.get("error")
    if not error and not value.get("choices"):  # as older servers and proxies say it
        error = value.get("detail") or value.get("message")
        if isinstance(code := value.get("code"), int) and error:
            error = {"message": error, "code": code}
    if not error:
        return None
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and 400 <= code < 600 else 500
    return refusal(address, status, json.dumps({"error": error}))


def _model(address: Address) -> str:
    return f"the model {address.model}" if address.model else "the model"


def _words(body: str) -> str:
    """What a server says, out of the several forms in which servers say it."""
    try:
        value: Any = json.loads(body)
    except (ValueError, RecursionError):
        return "" if "<" in body[:20] else body.strip()
    for key in ("error", "message", "detail"):
        while isinstance(value, dict) and key in value:
            value = value[key]
    if isinstance(value, list) and all(isinstance(one, dict) and "msg" in one for one in value):
        # of pydantic; what else it says repeats the request, its pictures too
        return "; ".join(f"{'.'.join(map(str, one.get('loc', ())))}: {one['msg']}" for one in value)
    if isinstance(value, dict | list):
        return json.dumps(value)
    return str(value)


def plain(words: str) -> str:
    """A server's words on one line, cut, and without what is no letter."""
    line = " ".join("".join(c if c.isprintable() else " " for c in words).split()).rstrip(".")
    return line if len(line) <= MOST_WORDS else f"{line[: MOST_WORDS - 3]}..."
