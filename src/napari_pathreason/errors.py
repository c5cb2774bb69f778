"""Errors a user can meet; each message is one line that names the remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

OWN_WORDS = 80
"""Characters of a library's own words that are passed on; more help nobody."""
LINE = 2_000
"""Characters of an error's line; what is cut there is a value of a file that it quotes."""
STEERING = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Characters that move a terminal's cursor, turn the order of letters, or are none at all."""


class PathreasonError(Exception):
    """Base of all errors that are shown to users as one line, without a traceback.

    One line it is whatever it quotes: values of a file may hold line ends, codes that steer a
    terminal, or millions of letters.

    Parameters
    ----------
    message : str
    """

    def __init__(self, message: str = "") -> None:
        line = STEERING.sub("\N{REPLACEMENT CHARACTER}", str(message))
        if len(line) > LINE:
            line = f"{line[: LINE // 2]} ... {line[-LINE // 4 :]}"
        super().__init__(line)


class SlideError(PathreasonError):
    """The file is not an image that can be opened, or it is damaged."""


class RegionError(PathreasonError):
    """The region is empty, outside the slide, or thinner than one visual token."""


class QueryError(PathreasonError):
    """The question, its options or the budget cannot be used as given."""


class ModelError(PathreasonError):
    """The model is unknown, incomplete, of an unserved family, or its process died."""


class WorkerError(PathreasonError):
    """Workers of a cluster died over some tiles; those of another slide they may answer."""


class OutOfMemoryError(PathreasonError):
    """The answer needs more memory than the device has; a smaller budget helps."""


class ExportError(PathreasonError):
    """A file of results cannot be written, or cannot be read back."""


@contextmanager
def reading(name: str, error: type[PathreasonError], remedy: str) -> Iterator[None]:
    """Turn whatever a decoder or parser raises into the one-line error of the file it belongs to.

    Libraries raise what they like for damaged input, also `RecursionError` and `MemoryError`: this
    is the one seam where that ends. Errors of this project pass as they are.

    Parameters
    ----------
    name : str
        Of the file, without its folder.
    error : type
        Kind of error that a user is to see.
    remedy : str
        What to do, the end of the line.
    """
    try:
        yield
    except PathreasonError:
        raise
    except MemoryError as fault:
        raise error(f"{name} asks for more memory than there is; {remedy}") from fault
    except Exception as fault:
        raise error(f"{name} cannot be read ({in_words(fault)}); {remedy}") from fault


def in_words(fault: BaseException) -> str:
    """One short line of what went wrong, without the folder that a library may have named."""
    if isinstance(fault, OSError) and fault.strerror:
        return fault.strerror
    if isinstance(fault, RecursionError):
        return "nested too deeply"
    words = " ".join(str(fault).split())
    if not words or len(words) > OWN_WORDS or "/" in words or "\\" in words:
        return f"damaged: {type(fault).__name__}"
    return words
