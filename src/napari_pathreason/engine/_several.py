"""Several regions of one slide in one question, such as "compare these two": one prompt, all named.

Nothing is chosen here: the user marked the regions. A budget is shared by them in equal parts.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace

from napari_pathreason.budgets import native_tokens
from napari_pathreason.errors import QueryError
from napari_pathreason.geometry import Outline, Region
from napari_pathreason.types import (
    Allocation,
    Completion,
    ModelInfo,
    PolicyName,
    Query,
    Request,
    View,
    Views,
    WindowChoice,
)

from ._asking import Need
from ._checks import MOST_TOKENS, most_of_picture
from ._job import Event, Job, Planned, Stage, StageStarted
from ._plan import cost_of, numbered, view_of
from ._policies import USUAL
from ._reading import Found, ask_jointly
from ._windows import pinned_windows, place_in

TOGETHER: PolicyName = "together"
"""The policy of a request that asks about its windows in one prompt."""
LEAST = 2
"""Regions of such a question, at the least."""


def regions_together(
    request: Request,
    regions: Sequence[Region],
    outlines: Sequence[Outline] = (),
    slides: Sequence[str] = (),
) -> Request:
    """A request as one question about several regions, of one slide or of several.

    Parameters
    ----------
    request : Request
        Whose question, budget and settings are taken.
    regions : sequence of Region
        Level-0 pixels, in the order in which they are numbered.
    outlines : sequence of outlines, optional
        Of each region; an empty one where all of it is shown.
    slides : sequence of str, optional
        Name of the slide of each region in `Job.others`; empty of the one that is asked about,
        which must be among them.

    Raises
    ------
    QueryError
        If they are fewer than two, or one stands there twice.
    """
    names = slides or [""] * len(regions)
    if len(set(zip(regions, names, strict=True))) < max(LEAST, len(regions)):
        raise QueryError(
            "a question about several regions needs two or more, each once; mark another one, or "
            "ask about the one alone"
        )
    own = [region for region, name in zip(regions, names, strict=True) if not name]
    left, top = min(r.x for r in own), min(r.y for r in own)
    right = max(r.x + r.width for r in own)
    bottom = max(r.y + r.height for r in own)
    return replace(
        request,
        region=Region(left, top, right - left, bottom - top),
        policy=TOGETHER,
        windows=tuple(
            WindowChoice(region, outline=outline, slide=name)
            for region, outline, name in zip(
                regions, outlines or [()] * len(regions), names, strict=True
            )
        ),
        outline=(),
    )


def read_together(
    job: Job,
    model: ModelInfo,
    most: int | None,
    begin: Callable[[Stage], StageStarted],
) -> Generator[Event | Need, list[Completion], Found]:
    """Read the regions of a job, each as one picture, and ask about all of them in one prompt.

    Parameters
    ----------
    job : Job
        Its request's windows are the regions; its region holds them.
    model : ModelInfo
    most : int or None
        Visual tokens of one picture up to which the model's replies hold.
    begin : callable
        Notes that a stage begins.

    Raises
    ------
    QueryError
        If the model reads one picture in a prompt, boxes are asked for, the regions are fewer than
        two, or they are more than can be answered.
    SlideError
        If nothing of one can be read.
    """
    request, token_px = job.request, model.dims.token_px
    check_together(request.query, model)
    yield begin(Stage.ALLOCATE)
    pins = _pins(job, model)
    if len(pins) < LEAST:
        raise QueryError(
            f"{len(pins)} of the regions lies on the slide, and a question about several needs "
            "two; mark another one, or ask about the one alone"
        )
    tokens = _tokens_of_each(request, len(pins))
    limit = most_of_picture(most)
    views = numbered((_view(one, tokens, limit, model) for one in pins), 1)
    if (spent := sum(view.tokens for view in views)) > MOST_TOKENS:
        raise QueryError(
            f"the regions have {spent:,} visual tokens together, more than the {MOST_TOKENS:,} "
            "that can be answered; give a budget, or mark smaller ones"
        )
    native = sum(native_tokens(view.region, token_px) for view in views)
    planned = Views(views, native, native, joint=True, policy=TOGETHER)
    allocation = allocation_of(request, spent)
    cost = cost_of(views, model, job.slide.level_sizes, joint=True)
    yield Planned(allocation, planned, cost)
    yield begin(Stage.GENERATE)
    captions = [caption(view, request.region) for view in views]
    one = yield from ask_jointly(job, model, views, captions)
    return Found(
        allocation=allocation,
        views=planned,
        reads=(one,),
        before=(),
        answer=one.reading.answer,
        detections=(),
        confidence=one.reading.confidence,
        picture_size=views[0].size,
        pixels_decoded=one.reading.pixels_decoded,
        doubts=one.doubts,
        completion=one.completion,
        warnings=_lowered(views, tokens, limit, token_px),
    )


def _lowered(
    views: Sequence[View], tokens: int | None, limit: int, token_px: int
) -> tuple[str, ...]:
    """Which regions were read coarser than was asked, as one picture may have no more."""
    if tokens is not None and tokens <= limit:
        return ()
    count = sum(native_tokens(view.region, token_px) > limit for view in views)
    if not count:
        return ()
    return (
        f"{count:,} of {len(views):,} regions were read with at most {limit:,} visual tokens, as "
        "many as one picture may have; mark smaller ones to see more",
    )


def caption(view: View, among: Region) -> str:
    """What a picture in the prompt is, in words."""
    if view.slide:  # by no name: that of a file may be a patient's, and leaves for servers
        return f"Region {view.number}, of another slide."
    place = place_in(view.region, among)
    return f"Region {view.number}, {place} of all that is shown."


def check_together(query: Query, model: ModelInfo | None) -> None:
    """Refuse a question about several regions that a model cannot be asked; None is any model.

    Raises
    ------
    QueryError
        If boxes are asked for, or the model reads one picture in a prompt.
    """
    if query.task == "detection":
        raise QueryError(
            "boxes are looked for in one region at a time; ask about each by itself, without "
            "--together in the shell"
        )
    if model is not None and not model.joint:
        raise QueryError(
            f"the model {model.name} reads one picture in a prompt, so it cannot compare regions; "
            "ask about each by itself (without --together in the shell), or choose a model that "
            "reads several, see `pathreason models`"
        )


def _tokens_of_each(request: Request, count: int) -> int | None:
    """Most visual tokens of each region; None for its native size."""
    if request.budget == "native":
        return None
    return USUAL if request.budget == "auto" else max(1, request.budget // count)


def _pins(job: Job, model: ModelInfo) -> list[WindowChoice]:
    """The regions as they lie on their slides, in their order, each once."""
    request = job.request
    pins: dict[tuple[str, Region], WindowChoice] = {}
    for one in request.windows:
        frame = request.region
        if one.slide:
            info = job.slide_named(one.slide).info
            frame = Region(0, 0, info.width, info.height)
        for pin in pinned_windows(replace(request, region=frame, windows=(one,)), model):
            pins.setdefault((pin.slide, pin.region), pin)
    return list(pins.values())


def _view(one: WindowChoice, tokens: int | None, limit: int, model: ModelInfo) -> View:
    token_px = model.dims.token_px
    wanted = native_tokens(one.region, token_px) if tokens is None else model.fit(tokens)
    view = view_of(one.region, min(wanted, limit), token_px)
    why = f"of the slide {one.slide}" if one.slide else ""
    return replace(view, role="region", slide=one.slide, why=why)


def allocation_of(request: Request, spent: int) -> Allocation:
    """Who chose the tokens of pictures that stand in one prompt, ``spent`` of them in all."""
    if request.budget == "auto":
        return Allocation(spent, "rule", effort=request.effort)
    return Allocation(None if request.budget == "native" else request.budget, "user")
