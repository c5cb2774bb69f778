"""Ask from Python in one call."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from .budgets import budget_of
from .errors import QueryError
from .geometry import Region
from .types import (
    Budget,
    Effort,
    Encoder,
    GenerationSettings,
    PolicyName,
    Query,
    Request,
    Result,
    TaskName,
    View,
    WindowChoice,
)

if TYPE_CHECKING:
    from .engine import Models
    from .slides import Slide


def ask(
    slide: str | Path | Slide,
    *,
    region: Region | tuple[int, int, int, int] | None = None,
    question: str = "",
    task: TaskName = "vqa",
    choices: Sequence[str] = (),
    budget: Budget = "auto",
    effort: Effort = "balanced",
    model: str | Path | Models = "embedded",
    device: str = "auto",
    encoder: Encoder = "exact",
    seed: int = 0,
    mpp: float | tuple[float, float] | None = None,
    zoom: bool = True,
    policy: PolicyName = "auto",
    windows: Sequence[WindowChoice | View | Region | tuple[int, int, int, int]] = (),
) -> Result:
    """Ask a question about a region of a slide.

    Parameters
    ----------
    slide : str, Path or Slide
        A file that is opened and closed again, or an open slide.
    region : Region or (x, y, width, height), optional
        Level-0 pixels; the whole slide if not given.
    question : str
        Plain words; may be empty for subtyping and detection.
    task : {"vqa", "subtyping", "detection"}
    choices : sequence of str
        Choices (vqa, subtyping) or lesion names (detection).
    budget : int, "auto" or "native"
        Most visual tokens to spend; ``auto`` leaves it to the allocator.
    effort : {"low", "balanced", "high"}
        How readily a learned allocator spends tokens.
    model : str, Path or Models
        ``embedded``, a folder, a hub id, or what `models.load_models` returned: with that, several
        questions load the model once.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; not used where ``model`` is loaded.
    encoder : {"exact", "fast"}
        See `models.load_models`; not used where ``model`` is loaded.
    seed : int
        For models that sample; greedy answers do not depend on it.
    mpp : float or (float, float), optional
        Micrometres per level-0 pixel, where the file does not say.
    zoom : bool
        Zoom at small detections, on top of the budget, where the model knows how.
    policy : PolicyName
        How a large region is read: as one picture (``one_view``), or which windows of it; ``auto``
        decides by its size and the kind of question.
    windows : sequence of WindowChoice, View, Region or (x, y, width, height)
        Parts to read first, or to leave out; with the policy ``listed`` nothing else is read. A
        view of an earlier result is read as it was then.

    Returns
    -------
    Result
        Answer, rationale, boxes in level-0 pixels, and the account of tokens.

    Raises
    ------
    PathreasonError
        One line that names the remedy.

    Examples
    --------
    >>> result = ask("slide.svs", region=(0, 0, 2048, 2048), question="How many nuclei?")
    >>> result.answer.text, result.tokens.saved
    """
    from .engine import Job, ask as run
    from .models import load_models
    from .slides import open_slide

    opened: AbstractContextManager[Slide]
    if isinstance(slide, str | Path):
        opened = open_slide(slide, mpp)
    elif mpp is None:
        opened = nullcontext(slide)
    else:
        raise QueryError("the slide is open already; give mpp to open_slide instead")
    with opened as source:
        whole = Region(0, 0, source.info.width, source.info.height)
        if region is None:
            region = whole
        elif not isinstance(region, Region):
            region = Region(*region)
        query = Query(task, question, tuple(choices))
        settings = GenerationSettings(seed=seed, zoom=zoom)
        chosen = tuple(map(_window, windows))
        job = Job(source, Request(region, query, budget, settings, effort, policy, chosen))
        if isinstance(model, str | Path):
            model = load_models(model, device, encoder)
        return run(job, model.performer, model.allocator)


def _window(one: WindowChoice | View | Region | tuple[int, int, int, int]) -> WindowChoice:
    if isinstance(one, WindowChoice):
        return one
    if isinstance(one, View):
        return WindowChoice(one.region, budget_of(one), one.why)
    return WindowChoice(one if isinstance(one, Region) else Region(*one))
