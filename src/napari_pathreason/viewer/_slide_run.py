"""One slide run on its way: everything a worker needs, and nothing of Qt."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_pathreason.engine import as_user_error
from napari_pathreason.slide_run import (
    AnswersHere,
    DetectSettings,
    RunEvent,
    RunFailed,
    run_slide,
    used_model,
)
from napari_pathreason.slides import Slide, open_slide, slide_from_arrays

from ._layers import SLIDE_KEY, known_mpp, slide_opener
from ._session import Session

if TYPE_CHECKING:
    from threading import Event as Flag

    from napari.layers import Image

NO_NAME = re.compile(r'[\\/:*?"<>|]')
"""What a folder's name may not hold on every system."""


@dataclass(frozen=True, slots=True)
class SlideRequest:
    """What the user wants looked for, on which slide, with which model.

    Parameters
    ----------
    slide : callable
        Gives the open `Slide`, as a context that closes it where nobody else has it open; called
        in the worker.
    folder : Path
        Of this slide's run.
    settings : DetectSettings
    model : str
        ``embedded``, a folder or a hub id.
    """

    slide: Callable[[], AbstractContextManager[Slide]]
    folder: Path
    settings: DetectSettings
    model: str = "embedded"


def run_request(session: Session, request: SlideRequest, cancel: Flag) -> Iterator[RunEvent]:
    """Events of `slide_run.run_slide`, the model in the session's own process; never raises.

    The model is started only if there is a tile left to answer.
    """
    try:
        used = used_model(request.model)
        with request.slide() as slide:
            answers = AnswersHere(slide, lambda: session.models(request.model))
            yield from run_slide(slide, request.folder, request.settings, used, answers, cancel)
    except Exception as error:  # a fault of ours must end the run, not hang the dock
        shown = as_user_error(error, "before the slide run")
        yield RunFailed(str(shown), shown)


def run_opener(
    layer: Image, mpp: float | None = None
) -> Callable[[], AbstractContextManager[Slide]]:
    """What opens the slide behind an image layer, in any thread.

    Parameters
    ----------
    layer : napari.layers.Image
    mpp : float, optional
        Micrometres per level-0 pixel, for a layer that does not know its own.

    Raises
    ------
    SlideError
        If the layer is not one plane.
    """
    opener = slide_opener(layer)
    slide: Any = layer.metadata.get(SLIDE_KEY)
    if mpp is None or known_mpp(layer) is not None:
        return lambda: nullcontext(opener())
    path = slide.path if isinstance(slide, Slide) else None
    if path is not None:
        return lambda: open_slide(path, mpp)
    levels = list(layer.data) if layer.multiscale else [layer.data]
    name = layer.name
    return lambda: nullcontext(slide_from_arrays(levels, name, mpp))


def run_folder(parent: Path, layer: Image) -> Path:
    """Folder of a slide's run among others, named as `pathreason detect` names it."""
    slide: Any = layer.metadata.get(SLIDE_KEY)
    name = slide.info.name if isinstance(slide, Slide) else layer.name
    return parent / (NO_NAME.sub("_", name).strip(" .") or "slide")
