"""Any exception of a run as one line that names the remedy."""

from __future__ import annotations

from napari_pathreason.errors import OutOfMemoryError, PathreasonError, SlideError

from ._events import Stage

_MEMORY = frozenset({"MemoryError", "OutOfMemoryError"})


def as_user_error(error: Exception, stage: Stage) -> PathreasonError:
    """Error to show for ``error``, with that one as its cause.

    Out of memory is told by class name, so that torch need not be imported. Messages of unknown
    exceptions are left out, since they may hold paths; the cause keeps them for a traceback.
    """
    if isinstance(error, PathreasonError):
        return error
    shown: PathreasonError
    if any(kind.__name__ in _MEMORY for kind in type(error).__mro__):
        shown = OutOfMemoryError(
            "there is not enough memory for this answer; ask with a smaller budget or region, "
            "or close other programs"
        )
    elif isinstance(error, OSError) and stage in (Stage.OVERVIEW, Stage.READ):
        why = error.strerror or type(error).__name__
        shown = SlideError(
            f"the slide could not be read ({why}); check that its file and disk are still there"
        )
    else:
        shown = PathreasonError(
            f"unexpected {type(error).__name__} in the stage {stage.value!r}; "
            "please report it with what you asked"
        )
    shown.__cause__ = error
    return shown
