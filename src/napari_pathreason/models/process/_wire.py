"""What parent and child say to each other, and the pipe it goes through. No torch."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from napari_pathreason import errors, types
from napari_pathreason.errors import ModelError, PathreasonError
from napari_pathreason.models import Fetched


@dataclass(frozen=True, slots=True)
class Load:
    """To the child, first: which model, and what it computes with; see `ModelProcess`."""

    model_id: str
    device: str = "auto"
    threads: int = 0
    offline: bool = False
    encoder: types.Encoder = "exact"
    precision: types.Precision = "auto"


@dataclass(frozen=True, slots=True, eq=False)
class Generate:
    """To the child: answer; ``run`` numbers the request in all that follows from it."""

    run: int
    prompt: types.Prompt
    settings: types.GenerationSettings


@dataclass(frozen=True, slots=True, eq=False)
class GenerateBatch:
    """To the child: answer several prompts together."""

    run: int
    prompts: Sequence[types.Prompt]
    settings: types.GenerationSettings


@dataclass(frozen=True, slots=True, eq=False)
class Write:
    """To the child: let its allocator write which windows to read; see `models.TextWindows`."""

    run: int
    prompt: types.Prompt
    settings: types.GenerationSettings


@dataclass(frozen=True, slots=True, eq=False)
class Allocate:
    """To the child: allocate a budget."""

    run: int
    overview: NDArray[np.uint8] | None
    query: types.Query
    native: int
    effort: types.Effort


@dataclass(frozen=True, slots=True)
class Cancel:
    """To the child: end this run at the next token."""

    run: int


@dataclass(frozen=True, slots=True)
class Fetching:
    """From the child: how far the download of its model is."""

    progress: Fetched
    run: int = 0


@dataclass(frozen=True, slots=True)
class Ready:
    """From the child: the model is loaded."""

    info: types.ModelInfo
    overview_budget: int
    run: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """From the child: text as it is written."""

    run: int
    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """From the child: a run has ended well."""

    run: int
    value: types.Completion | list[types.Completion] | types.Allocation


@dataclass(frozen=True, slots=True)
class Failure:
    """From the child: a run (0: loading) has failed; the class by name, the message as it was."""

    run: int
    kind: str
    message: str

    @classmethod
    def of(cls, run: int, error: Exception) -> Failure:
        """Wrap an error; one that is not meant for users becomes a `ModelError`."""
        if isinstance(error, PathreasonError):
            return cls(run, type(error).__name__, str(error))
        # its words may be told: a child knows its model, and nothing of the slide but pixels
        first = (str(error).strip() or "no message").splitlines()[0]
        return cls(
            run,
            ModelError.__name__,
            f"the model met an unexpected error ({type(error).__name__}: {first}); "
            "try another region or budget, and report it if it stays",
        )

    def error(self) -> PathreasonError:
        """The error again, of its own class."""
        kind = getattr(errors, self.kind, ModelError)
        return kind(self.message)


Request = Generate | GenerateBatch | Write | Allocate
Reply = Fetching | Ready | Piece | Done | Failure


class Wire:
    """Whole python values over a pair of byte streams.

    Pickle is safe here: both ends are this program, over a pipe that nobody else can open.

    Parameters
    ----------
    reader, writer : binary file
    """

    def __init__(self, reader: BinaryIO, writer: BinaryIO) -> None:
        self._reader = reader
        self._writer = writer
        self._lock = threading.Lock()

    def send(self, value: object) -> None:
        """Write one value; OSError or ValueError if the other end or the stream is closed."""
        data = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
        with self._lock:
            self._writer.write(data)
            self._writer.flush()

    def receive(self) -> Any:
        """Wait for one value.

        Raises
        ------
        EOFError
            If the other end is gone, in the middle of a value too.
        """
        try:
            return pickle.load(self._reader)
        except (EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
            raise EOFError from error
