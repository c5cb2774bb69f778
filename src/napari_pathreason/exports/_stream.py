"""The elements of a long JSON array, one at a time.

The decoder is the standard library's: unlike the streaming parsers built on yajl it takes the bare
NaN that QuPath writes for a measurement it could not make.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import IO, Any

CHUNK = 1 << 20
"""Characters that are read at a time."""
_SPACE = re.compile(r"[ \t\r\n]*")


def stream_json(file: IO[str], key: str) -> Iterator[Any]:
    """Elements of a top-level array, or of the array under ``key`` of a top-level object.

    An object without that array is given as a whole, as the only element.

    Raises
    ------
    ValueError
        If the text is not JSON or is cut off.
    """
    text = _Text(file)
    if text.peek() == "[":
        yield from text.array()
    elif text.peek() == "{":
        yield from _members(text, key)
    else:
        yield text.value()
    if text.peek():
        raise ValueError("text after the end")


def _members(text: _Text, key: str) -> Iterator[Any]:
    rest: dict[str, Any] = {}
    found = False
    text.take("{")
    while text.peek() != "}":
        if rest or found:
            text.take(",")
        name = text.value()
        text.take(":")
        if name == key and text.peek() == "[":
            found = True
            yield from text.array()
        else:
            rest[name] = text.value()
    text.take("}")
    if not found:
        yield rest


class _Text:
    """A window on the file that moves forward."""

    def __init__(self, file: IO[str]) -> None:
        self.file, self.window, self.at = file, "", 0
        self.decode = json.JSONDecoder().raw_decode

    def more(self) -> bool:
        """Widen the window, at least to twice what is still in it; False at the end."""
        kept = self.window[self.at :]
        read = self.file.read(max(CHUNK, len(kept)))
        self.window, self.at = kept + read, 0
        return bool(read)

    def peek(self) -> str:
        """Next character that is not space; empty at the end."""
        while True:
            space = _SPACE.match(self.window, self.at)
            self.at = space.end() if space else self.at
            if self.at < len(self.window) or not self.more():
                return self.window[self.at : self.at + 1]

    def take(self, mark: str) -> None:
        """Step over a mark that must come now."""
        if self.peek() != mark:
            raise ValueError(f"{mark} is missing")
        self.at += 1

    def value(self) -> Any:
        """Any value, whole."""
        self.peek()
        while True:
            try:
                value, end = self.decode(self.window, self.at)
            except json.JSONDecodeError:
                if not self.more():
                    raise
                continue
            # a number at the edge of the window may go on
            if end < len(self.window) or not self.more():
                self.at = end
                return value

    def array(self) -> Iterator[Any]:
        """Elements of the array that starts here."""
        self.take("[")
        first = True
        while self.peek() != "]":
            if not first:
                self.take(",")
            first = False
            yield self.value()
        self.take("]")
