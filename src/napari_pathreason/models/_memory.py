"""Running out of memory, as one error for every device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from napari_pathreason.errors import OutOfMemoryError

_SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")


@contextmanager
def memory_errors(remedy: str) -> Iterator[None]:
    """Turn any backend's failed allocation into `OutOfMemoryError`.

    Parameters
    ----------
    remedy : str
        What the user can do, as the end of the message.
    """
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        # torch's CPU and MPS allocators have no class of their own, only a message
        if isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in _SIGNS):
            raise OutOfMemoryError(f"the device has not enough memory; {remedy}") from error
        raise
