"""Ask from Python in one call."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .budgets import budget_of
from .errors import QueryError, RegionError
from .geometry import Outline, Region
from .types import (
    Budget,
    Effort,
    Encoder,
    GenerationSettings,
    PolicyName,
    Precision,
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
    outline: Sequence[tuple[float, float]] = (),
    regions: Sequence[Region | tuple[int, int, int, int]] = (),
    question: str = "",
    task: TaskName = "vqa",
    choices: Sequence[str] = (),
    budget: Budget = "auto",
    effort: Effort = "balanced",
    model: str | Path | Models = "embedded",
    device: str = "auto",
    encoder: Encoder = "exact",
    precision: Precision = "auto",
    seed: int = 0,
    mpp: float | tuple[float, float] | None = None,
    zoom: bool = True,
    check_order: bool = False,
    policy: PolicyName = "auto",
    windows: Sequence[WindowChoice | View | Region | tuple[int, int, int, int]] = (),
    keep: str | Path | None = None,
    after: Result | None = None,
) -> Result:
    """Ask a question about a region of a slide.

    Parameters
    ----------
    slide : str, Path or Slide
        A file that is opened and closed again, or an open slide.
    region : Region or (x, y, width, height), optional
        Level-0 pixels; the whole slide if not given.
    outline : sequence of (x, y)
        Corners of a polygon, level-0 pixels: what lies outside is not shown to the model, as of an
        annotation in the dock and the shell. Without a ``region`` its bounds are asked about.
    regions : sequence of Region or (x, y, width, height)
        Several regions of one question, in place of ``region``: each is shown as one picture of
        one prompt, as ``region 1`` and so on. The model must read several.
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
        ``embedded``, a folder, a hub id, a server such as ``http://host:8000/v1#name``, or what
        `models.load_models` returned: with that, several questions load the model once.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; not used where ``model`` is loaded.
    encoder : {"exact", "fast", "openvino"}
        See `models.load_models`; not used where ``model`` is loaded.
    precision : Precision
        What its weights are loaded as; not used where ``model`` is loaded.
    seed : int
        For models that sample; greedy answers do not depend on it.
    mpp : float or (float, float), optional
        Micrometres per level-0 pixel, which go before what the file says.
    zoom : bool
        Zoom at small detections, on top of the budget, where the model knows how.
    check_order : bool
        Ask a question with choices again with these reversed; `Result.order` says whether the
        answer holds.
    policy : PolicyName
        How a large region is read: as one picture (``one_view``), or which windows of it; ``auto``
        decides by its size and the kind of question.
    windows : sequence of WindowChoice, View, Region or (x, y, width, height)
        Parts to read first, or to leave out; with the policy ``listed`` nothing else is read. A
        view of an earlier result is read as it was then.
    keep : str or Path, optional
        Folder of this question, in which what is read is kept window by window: the same call goes
        on from there. There is no limit to what is read then. ``model`` must be a name or a folder.
    after : Result, optional
        An earlier answer that this question follows on: the same pictures of the same region are
        shown, and the model knows what was asked and answered so far. A loaded ``model`` that gave
        that answer reads them once. Region, budget, policy and windows are those of that answer; a
        model that was not taught conversations is asked a new question, and the warnings say so.

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
    >>> ask("slide.svs", question="Which of them are in mitosis?", after=result)
    """
    from .engine import Job, ask as run, follow_up, regions_together, result_of
    from .models import load_models
    from .slide_run import LoadSame, check_kept, run_kept, used_model

    with opened(slide, mpp, "mpp") as source:
        whole = Region(0, 0, source.info.width, source.info.height)
        bounds, corners = _outlined(outline) if outline else (whole, ())
        if region is None:
            region = bounds
        elif not isinstance(region, Region):
            region = Region(*region)
        query = Query(task, question, tuple(choices))
        settings = GenerationSettings(seed=seed, zoom=zoom, check_order=check_order)
        chosen = tuple(map(_window, windows))
        request = Request(region, query, budget, settings, effort, policy, chosen, corners)
        own_region = region != whole or bool(outline)
        if after is not None:
            if regions or own_region or chosen or policy != "auto" or budget != "auto":
                raise QueryError(
                    "a question that follows on an answer is about what that one saw; leave out "
                    "region, outline, regions, budget, policy and windows"
                )
            if after.slide != source.info:
                raise QueryError(f"that answer is about another slide, {after.slide.name}")
            request = follow_up(after, query, settings)
        elif regions:
            if own_region or chosen or policy != "auto":
                raise QueryError(
                    "regions stand alone; leave out region, outline, windows and policy"
                )
            several = [r if isinstance(r, Region) else Region(*r) for r in regions]
            request = regions_together(request, several)
        job = Job(source, request)
        if not isinstance(model, str | Path):
            if keep is not None:
                raise QueryError(KNOWN_BY_WEIGHTS)
            return run(job, model.performer, model.allocator)
        if keep is None:
            loaded = load_models(model, device, encoder, precision)
            return run(job, loaded.performer, loaded.allocator)
        folder, now = Path(keep), partial(used_model, str(model), device, encoder, precision)
        used = now()
        check_kept(folder, job, used)
        same = LoadSame(used, now, partial(load_models, model, device, encoder, precision))()
        return result_of(run_kept(job, folder, used, same.performer, same.allocator))


KNOWN_BY_WEIGHTS = (
    "what is kept in a folder is known by the weights of its model; give the model as embedded, a "
    "folder or a hub id"
)


def opened(
    slide: str | Path | Slide, mpp: float | tuple[float, float] | None, name: str
) -> AbstractContextManager[Slide]:
    """A slide that is closed at the end where it was opened here.

    Parameters
    ----------
    slide : str, Path or Slide
    mpp : float or (float, float), optional
        Micrometres per level-0 pixel.
    name : str
        Of the argument that gives them.

    Raises
    ------
    QueryError
        If the slide is open already and they are given.
    """
    from .slides import open_slide

    if isinstance(slide, str | Path):
        return open_slide(slide, mpp)
    if mpp is not None:
        raise QueryError(f"the slide is open already; give {name} to open_slide as mpp instead")
    return nullcontext(slide)


def _window(one: WindowChoice | View | Region | tuple[int, int, int, int]) -> WindowChoice:
    if isinstance(one, WindowChoice):
        return one
    if isinstance(one, View):
        return WindowChoice(one.region, budget_of(one), one.why)
    return WindowChoice(one if isinstance(one, Region) else Region(*one))


def _outlined(outline: Sequence[tuple[float, float]]) -> tuple[Region, Outline]:
    """Bounds and corners of a polygon, as those of an annotation in a file.

    Raises
    ------
    RegionError
        If it is no polygon.
    """
    from .engine import parse_outlines

    corners = [[float(value) for value in corner] for corner in outline]
    if len(corners) < 3 or any(len(corner) != 2 for corner in corners):
        raise RegionError("the outline is no polygon; give three corners (x, y) or more")
    ring = [*corners, corners[0]]
    ((bounds, polygon),) = parse_outlines({"type": "Polygon", "coordinates": [ring]})
    return bounds, polygon
