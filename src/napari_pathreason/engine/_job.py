"""One job: what goes in, what it reports on its way, and how it fails.

Events come in order; the last one is always an ending.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from napari_pathreason.errors import (
    OutOfMemoryError,
    PathreasonError,
    QueryError,
    SlideError,
)
from napari_pathreason.types import Allocation, Reading, Request, Result, Views

from ._plan import Cost

if TYPE_CHECKING:
    from napari_pathreason.slides import Slide

    from ._policies import Policy

_MEMORY = frozenset({"MemoryError", "OutOfMemoryError"})


@dataclass(frozen=True, slots=True)
class Job:
    """What to run.

    Parameters
    ----------
    slide : Slide
        Must stay open until the job has ended.
    request : Request
    bounded : bool
        Whether what the model says that it cannot do is refused; who measures a model asks all
        the same.
    before : tuple of Reading
        Windows of the same request that were read and answered already; they are not read again,
        and their answers count.
    policy : Policy, optional
        Chooses windows in place of the one that the request names, such as a measured one.
    journal : tuple of Reading or None
        What the same job had read when it was cut. It goes through the same steps again, and takes
        from here what it would ask once more, so that its answer is that of a job that was not cut.
        Not None: what it reads is kept, so there may be more of it than of another answer.
    others : dict of Slide
        Further slides that regions of the same question lie on, by the names that its windows give
        them; they must stay open too.
    """

    slide: Slide
    request: Request
    bounded: bool = True
    before: tuple[Reading, ...] = ()
    policy: Policy | None = None
    journal: tuple[Reading, ...] | None = None
    others: Mapping[str, Slide] = field(default_factory=dict)

    def slide_named(self, name: str) -> Slide:
        """The slide that a view or window shows.

        Parameters
        ----------
        name : str
            Empty for the one that is asked about.

        Raises
        ------
        QueryError
            If it is not among the others.
        """
        if not name:
            return self.slide
        if name not in self.others:
            raise QueryError(
                f"this question shows regions of the slide {name} too, which is not open here; ask "
                "it anew in the docks, where all its slides are open"
            )
        return self.others[name]


class Stage(StrEnum):
    """The steps of one answer, in order; also the keys of `Result.seconds`."""

    OVERVIEW = "overview"
    ALLOCATE = "allocate"
    READ = "read"
    GENERATE = "generate"
    ZOOM = "zoom"
    PARSE = "parse"
    CHECK = "check"


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A stage begins."""

    stage: Stage


@dataclass(frozen=True, slots=True)
class Planned:
    """Budgets are chosen and turned into exact sizes; nothing of these views is spent yet.

    A second round of views is another plan: ``views`` holds all that were and will be read,
    ``cost`` is that of those still to be read.
    """

    allocation: Allocation
    views: Views
    cost: Cost


@dataclass(frozen=True, slots=True)
class ViewRead:
    """A window was read and answered, or several that stood in one prompt.

    ``more`` readings that were asked together with it come next.
    """

    reading: Reading
    more: int = 0


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer as it is written."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """Ending: the answer."""

    result: Result


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Ending: the user cancelled during ``stage``."""

    stage: Stage


@dataclass(frozen=True, slots=True)
class Failed:
    """Ending: an error during ``stage``; ``reason`` is one line that names the remedy."""

    stage: Stage
    reason: str
    error: Exception


Event = StageStarted | Planned | ViewRead | TextDelta | Finished | Cancelled | Failed


def as_user_error(
    error: Exception, where: str, remedy: str = "please report it", *, reads_slide: bool = False
) -> PathreasonError:
    """Error to show for ``error``, with that one as its cause.

    Out of memory is recognised by its class name, so that torch need not be imported. Messages of
    unknown exceptions are left out, since they may hold paths; the cause keeps them for a
    traceback.

    Parameters
    ----------
    error : Exception
        A `PathreasonError` is returned as it is.
    where : str
        What was going on, as it stands behind "unexpected OSError", such as ``in the slide run``.
    remedy : str
        What to do about an error that nobody foresaw.
    reads_slide : bool
        Whether an `OSError` is one of the slide's file.
    """
    if isinstance(error, PathreasonError):
        return error
    shown: PathreasonError
    if any(kind.__name__ in _MEMORY for kind in type(error).__mro__):
        shown = OutOfMemoryError(
            "there is not enough memory for this answer; ask with a smaller budget or region, "
            "or close other programs"
        )
    elif isinstance(error, OSError) and reads_slide:
        why = error.strerror or type(error).__name__
        shown = SlideError(
            f"the slide could not be read ({why}); check that its file and disk are still there"
        )
    else:
        shown = PathreasonError(f"unexpected {type(error).__name__} {where}; {remedy}")
    shown.__cause__ = error
    return shown


def sentence(words: object) -> str:
    """An error or a reason as a sentence, with a capital letter and a full stop."""
    text = str(words)
    return f"{text[:1].upper()}{text[1:]}."
