"""Any exception as one line that names the remedy, and such a line as a sentence."""

from __future__ import annotations

from napari_pathreason.errors import OutOfMemoryError, PathreasonError, SlideError

_MEMORY = frozenset({"MemoryError", "OutOfMemoryError"})


def as_user_error(
    error: Exception, where: str, remedy: str = "please report it", *, reads_slide: bool = False
) -> PathreasonError:
    """Error to show for ``error``, with that one as its cause.

    Out of memory is told by class name, so that torch need not be imported. Messages of unknown
    exceptions are left out, since they may hold paths; the cause keeps them for a traceback.

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
