"""One request about one open slide, ready to run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_pathreason.types import Request

if TYPE_CHECKING:
    from napari_pathreason.slides import Slide


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
    """

    slide: Slide
    request: Request
    bounded: bool = True
