"""A region read by windows: chosen in rounds, asked each by itself or all in one prompt."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.budgets import native_tokens, plan as make_plan
from napari_pathreason.errors import QueryError, SlideError
from napari_pathreason.geometry import Region
from napari_pathreason.tasks import (
    PLACES,
    Aggregate,
    as_trained,
    asks_most,
    form_of,
    is_finding,
    place_at,
)
from napari_pathreason.types import (
    Allocation,
    Completion,
    ModelInfo,
    Reading,
    Request,
    View,
    Views,
    WindowChoice,
)

from ._asking import Need
from ._checks import MOST_TOKENS, most_of_picture
from ._combine import MOSTLY, combine_readings, latest_readings, read_shares
from ._confidence import region_confidence
from ._job import Event, Job, Planned, Stage, StageStarted
from ._plan import JOINT_OVERVIEW, budget_flops, cost_of, numbered, view_of, window_budgets
from ._policies import LEARNED, USUAL, AllNative, Pick, Policy, State, Uniform, policy_named
from ._protocols import Allocator, WindowsAllocator
from ._reading import Found, Read, ask_each, ask_jointly, read
from ._reliability import windows_doubts
from ._scene import (
    Scene,
    is_large,
    lay_grid,
    middle_of,
    overview_size,
    shown_shares,
    window_side,
)

ROUNDS = 2
"""Of views, at the most: look, and look again."""
MOST_READ = 1 << 20
"""Visual tokens of an answer whose readings are not kept, at the most."""
BANNED = 0.5
"""Share of a window from which on it lies in a part that the user left out."""
MOST_TOGETHER = 32
"""Pictures that are held at once, at the most."""


def by_windows(job: Job, model: ModelInfo, most: int | None) -> bool:
    """Whether the region of a job is read by windows; parameters as of `read_windows`."""
    return job.policy is not None or asks_windows(job.request, model, most)


def asks_windows(request: Request, model: ModelInfo, most: int | None) -> bool:
    """Whether a region is read by windows.

    Parameters
    ----------
    request : Request
        Its region lies on the slide.
    model : ModelInfo
    most : int or None
        Visual tokens of one picture up to which the model's replies hold.
    """
    if request.windows:
        return True
    if request.policy != "auto":
        return request.policy != "one_view"
    if is_large(request.region, model):
        return not asks_most(request.query)
    if most is None or request.budget == "auto":
        return False
    budget = None if request.budget == "native" else request.budget
    return make_plan(request.region, budget, model.dims.token_px).tokens > most


def learned_windows(allocator: Allocator) -> Policy | None:
    """What an allocator has learnt of windows; None where that is nothing."""
    return allocator.windows if isinstance(allocator, WindowsAllocator) else None


def plan_windows(job: Job, model: ModelInfo, learned: Policy | None = None) -> Planned | None:
    """The first plan of a region's windows, before the model is loaded; nothing of it is spent.

    Parameters
    ----------
    job : Job
    model : ModelInfo
        What is known of the model that will answer.

    Returns
    -------
    Planned or None
        None where the region is read as one picture.

    Raises
    ------
    PathreasonError
        If the request is refused, or its overview cannot be read.
    """
    slide, request = job.slide.info, job.request
    region = request.region.clipped(slide.width, slide.height)
    query = as_trained(request.query, model.metadata)
    worded = replace(job, request=replace(request, region=region, query=query))
    most = model.max_visual_tokens if job.bounded else None
    steps: Generator[Event | Need, list[Completion], Found | None]
    if request.thread is not None and model.converses:
        from ._follow_up import read_thread  # it needs this module

        steps = read_thread(worded, model, request.thread, StageStarted)
    elif request.policy == "together":
        from ._several import read_together  # it needs this module

        steps = read_together(worded, model, most, StageStarted)
    elif by_windows(worded, model, most):
        steps = read_windows(worded, model, learned, most, StageStarted)
    else:
        return None
    try:
        return next((event for event in steps if isinstance(event, Planned)), None)
    finally:
        steps.close()  # where it would ask the model


def look_at(job: Job, model: ModelInfo, most: int | None = None) -> tuple[Scene, int]:
    """Cut a job's region into windows, and take the cheap look that policies choose by.

    Parameters
    ----------
    job : Job
        Its region lies on the slide.
    model : ModelInfo
    most : int, optional
        As of `read_windows`.

    Returns
    -------
    tuple
        The scene, and pixels decoded for it.

    Raises
    ------
    SlideError
        If nothing of the region can be read.
    """
    region = job.request.region
    grid = lay_grid(region, window_side(region, model, most), model.dims.token_px)
    around = replace(job, request=replace(job.request, outline=()))  # to tell what is unlike it
    image = read(around, region, overview_size(grid))
    return Scene(grid, image.pixels, job.request.outline), image.pixels_decoded


def read_windows(
    job: Job,
    model: ModelInfo,
    learned: Policy | None,
    most: int | None,
    begin: Callable[[Stage], StageStarted],
) -> Generator[Event | Need, list[Completion], Found | None]:
    """Choose windows of a region, read them and put their answers together.

    Parameters
    ----------
    job : Job
        Its region lies on the slide.
    model : ModelInfo
    learned : Policy or None
        What the model has learnt of windows.
    most : int or None
        Visual tokens of one picture up to which the model's replies hold.
    begin : callable
        Notes that a stage begins.

    Returns
    -------
    Found or None
        None where all windows are of glass.

    Raises
    ------
    QueryError
        If the windows are more than can be answered at once, or none was chosen.
    SlideError
        If nothing of them can be read.
    """
    _check_read(job, _most_asked(job, model))
    yield begin(Stage.OVERVIEW)
    scene, decoded = look_at(job, model, most)
    _leave_out(scene, [one.region for one in job.request.windows if one.tokens == 0])
    rounds = _Rounds(job, model, learned, most, scene)
    if not scene.worth.any() and not rounds.pins and not rounds.before:
        return None
    yield begin(Stage.ALLOCATE)
    for _ in range(ROUNDS):
        new = rounds.choose()
        if not new:
            break
        yield rounds.planned(new)
        yield begin(Stage.GENERATE)
        if rounds.joint:
            captions = [caption(view, job.request.region) for view in new]
            rounds.reads.append((yield from ask_jointly(job, model, new, captions)))
            break
        rounds.reads += yield from ask_each(job, model, new)
    return rounds.together(decoded)


class _Rounds:
    """The windows of a region as they are chosen and read, round by round."""

    def __init__(
        self, job: Job, model: ModelInfo, learned: Policy | None, most: int | None, scene: Scene
    ) -> None:
        self.job, self.model, self.scene = job, model, scene
        self.bounded = most is not None
        self.most = most_of_picture(most)
        request = job.request
        self.policy = job.policy or _policy(request, model, learned)
        # what a second round needs is an answer of each window
        asks_each = self.policy.rounds > 1 or form_of(request.query) in ("count", "boxes")
        self._asks_each = asks_each
        most_asked = _most_asked(job, model)
        self.joint = model.joint and not asks_each and most_asked <= MOST_TOKENS
        self.pins = pinned_windows(request, model)
        before = tuple(one for one in job.before if one.view.role != "zoom")
        shown = [view for one in before for view in one.views if view.role == "window"]
        # one prompt holds all windows, so those of before stand in it again
        self.before: tuple[Reading, ...] = () if self.joint else before
        self._again = shown if self.joint else []
        self.reads: list[Read] = []
        self.views: list[View] = [] if self.joint else shown
        self.order: tuple[Region, ...] = ()
        self.lowered: dict[Region, int] = {}  # windows that had more tokens than a picture may
        self.budgets = window_budgets(scene.grid.window(0), model, self.most)
        self.native = len(scene.cover) * self.budgets[-1]
        self._window_flops = budget_flops(self.budgets, model)
        mpp = job.slide.info.mpp
        self._mpp = None if mpp is None else sum(mpp) / 2
        self._total = (
            self.native
            if request.budget == "native"
            else None
            if request.budget == "auto"
            else request.budget
        )
        self._flops = 0.0

    @property
    def readings(self) -> tuple[Reading, ...]:
        """Of all windows so far, those that were read before first."""
        return (*self.before, *(one.reading for one in self.reads))

    def choose(self) -> tuple[View, ...]:
        """The views of the next round, those that the user pinned first of all."""
        request, token_px = self.job.request, self.model.dims.token_px
        taken = [view.region for view in (*self._again, *self.views)]
        pinned = [
            Pick(one.region, one.tokens or USUAL, one.reason)
            for one in self.pins
            if one.region not in taken
        ]
        taken += [pick.region for pick in pinned]
        spent = sum(view.tokens for view in (*self._again, *self.views))
        spent += sum(pick.tokens for pick in pinned)
        choice = self.policy.choose(
            State(
                query=request.query,
                scene=self.scene,
                budgets=self.budgets,
                left=None if self._total is None else max(0, self._total - spent),
                effort=request.effort,
                small=tuple(label.casefold() for label in self.model.zoom_labels),
                seed=request.settings.seed,
                readings=self.readings,
                taken=tuple(taken),
                flops=self._window_flops,
                mpp=self._mpp,
            )
        )
        self._flops += choice.flops
        self.order = choice.order
        first = 1 + max((view.number for view in (*self._again, *self.views)), default=0)
        views = numbered((self._view(pick, token_px) for pick in (*pinned, *choice.picks)), first)
        server = self.model.server
        shown = 1 + len(self._again) + len(views)
        if self.joint and server is not None and shown > server.pictures and not self._again:
            self.joint = False
        if self.joint and (views or self._again):
            overview = view_of(
                request.region, self.model.holding(JOINT_OVERVIEW), token_px, "overview"
            )
            views = (overview, *self._again, *views)
        return views

    def _view(self, pick: Pick, token_px: int) -> View:
        slide = self.job.slide.info
        region = pick.region.clipped(slide.width, slide.height)
        fitting = self.model.holding(min(pick.tokens, self.most))
        view = view_of(region, fitting, token_px, "window")
        native = native_tokens(region, token_px)
        wanted = min(pick.tokens, native)
        if self.job.request.budget == "native" and all(one.region != region for one in self.pins):
            wanted = native
        if wanted > self.most:
            self.lowered[region] = wanted
        return replace(view, why=pick.why)

    def planned(self, new: tuple[View, ...]) -> Planned:
        """Take views up, and tell what they cost.

        Raises
        ------
        QueryError
            If they are more than can be answered at once.
        """
        self.views += new
        views = self.all_views
        _check_read(self.job, views.tokens)
        sizes = self.job.slide.level_sizes
        cost = cost_of(new, self.model, sizes, joint=self.joint, together=MOST_TOGETHER)
        return Planned(self.allocation, views, cost)

    @property
    def allocation(self) -> Allocation:
        """How many tokens the views have together, and who said so."""
        if self._total is None:
            tokens, effort = self.all_views.tokens, self.job.request.effort
            by: Literal["policy", "rule"] = "policy" if self.policy.name == LEARNED else "rule"
            return Allocation(tokens, by, flops=self._flops, effort=effort)
        native = self.job.request.budget == "native"
        return Allocation(None if native else self._total, "user", flops=self._flops)

    @property
    def all_views(self) -> Views:
        """All that was and will be read."""
        picture = native_tokens(self.job.request.region, self.model.dims.token_px)
        return Views(tuple(self.views), picture, self.native, self.joint, self.policy.name)

    def together(self, overview_decoded: int) -> Found:
        """The answer of all windows.

        Raises
        ------
        QueryError
            If none was chosen.
        SlideError
            If none of them could be read.
        """
        readings, query = self.readings, self.job.request.query
        if not self.views:
            raise QueryError(
                "no window was chosen; pin or list one, give a larger budget or another policy"
            )
        if not readings:
            raise SlideError(
                "no window of the region could be read, its tiles are damaged; "
                "get a whole copy of the file or mark another region"
            )
        if self.joint:
            last = readings[-1]  # the only one
            combined = Aggregate(last.answer, last.confidence, support=(len(readings) - 1,))
        else:
            readings = latest_readings(readings)
            combined = combine_readings(query, self.scene, readings, self.model.zoom_labels)
            if len(readings) > 1:
                own, about = self.model.calibration, self.model.metadata
                whole = region_confidence(combined.confidence, query, own, about)
                combined = replace(combined, confidence=whole)
        if query.task == "detection":
            found = bool(combined.detections)
        else:
            found = form_of(query) == "count" or is_finding(query, combined.answer.text)
        share = self._read_share()
        doubts = windows_doubts(readings, combined.support, found=found, read_share=share)
        warnings = [*self._lowered(), *self._alone()]
        read = {view for one in self.readings for view in one.views}
        if lost := sum(view not in read for view in self.views):
            warnings.append(
                f"{lost:,} of {len(self.views):,} windows are damaged and could not be read; "
                "the answer knows nothing of them"
            )
        views, decoded = self.all_views, sum(one.reading.pixels_decoded for one in self.reads)
        token_px = self.model.dims.token_px
        return Found(
            allocation=self.allocation,
            views=views,
            reads=tuple(self.reads),
            before=self.before,
            answer=combined.answer,
            detections=combined.detections,
            confidence=combined.confidence,
            picture_size=make_plan(self.job.request.region, max(views.tokens, 1), token_px).size,
            pixels_decoded=overview_decoded + decoded,
            doubts=tuple(doubts),
            warnings=(*combined.notes, *warnings),
            unread=self._unread(),
            windows=max(len(self.scene.cover), 1),
        )

    def _alone(self) -> list[str]:
        """That windows were asked about one by one, where a server takes no more in a prompt."""
        server = self.model.server
        if server is None or self.joint or self._asks_each or len(self.views) <= server.pictures:
            return []
        most = "one picture" if server.pictures == 1 else f"{server.pictures:,} pictures"
        return [
            f"this server takes {most} in a prompt at the most, so each window was asked about by "
            "itself"
        ]

    def _lowered(self) -> list[str]:
        """Which windows were read coarser than was asked, and why."""
        if not self.lowered:
            return []
        what = "up to which this model's replies hold" if self.bounded else "of one picture"
        return [
            f"{len(self.lowered):,} of {len(self.views):,} windows would have up to "
            f"{max(self.lowered.values()):,} visual tokens, more than the {self.most:,} {what}; "
            "they were read with that many, list smaller windows to see more"
        ]

    @cached_property
    def _shares(self) -> NDArray[np.float64]:
        """Share of each covering window that was read."""
        return read_shares(self.scene, self.readings)

    def _unread(self) -> tuple[Region, ...]:
        """Windows that were not read, as the policy would go on, and behind them all others."""
        cover = self.scene.cover_windows
        rest = [one for one, share in zip(cover, self._shares, strict=True) if share < MOSTLY]
        return tuple(dict.fromkeys([*self.order, *rest]))

    def _read_share(self) -> float:
        return float(self._shares.mean()) if len(self._shares) else 1.0


def _policy(request: Request, model: ModelInfo, learned: Policy | None) -> Policy:
    """What chooses the windows of a request that brings no policy of its own."""
    if request.budget == "native" and request.policy != "listed":
        return AllNative()
    if request.policy == "auto" and not is_large(request.region, model):
        return Uniform()  # cut for its budget alone, it is read whole
    return policy_named(request.policy, learned)


def pinned_windows(request: Request, model: ModelInfo) -> list[WindowChoice]:
    """Windows that the user wants read, as far as they lie in the region, each once.

    Raises
    ------
    QueryError
        If one shows none of the region, or less of it than a visual token is wide.
    """
    token_px = model.dims.token_px
    pins: dict[Region, WindowChoice] = {}
    for one in request.windows:
        if one.tokens == 0:
            continue
        part = one.region.within(request.region)
        if part is None or min(part.width, part.height) < token_px:
            r = one.region
            shown = "nothing" if part is None else f"{part.width} x {part.height} px"
            raise QueryError(
                f"the window {r.x} {r.y} {r.width} {r.height} shows {shown} of what is asked "
                f"about, thinner than one visual token ({token_px} px); move it or make it larger"
            )
        tokens = one.tokens
        if tokens is None and request.budget == "native":
            tokens = native_tokens(part, token_px)
        pins.setdefault(part, replace(one, region=part, tokens=tokens))
    return list(pins.values())


def _most_asked(job: Job, model: ModelInfo) -> int:
    """Visual tokens that a budget asks for, at the most."""
    native = native_tokens(job.request.region, model.dims.token_px)
    budget = job.request.budget
    return 0 if budget == "auto" else native if budget == "native" else min(budget, native)


def _check_read(job: Job, tokens: int) -> None:
    """Refuse more visual tokens than one answer may have whose readings are not kept.

    Raises
    ------
    QueryError
        Names what can be done.
    """
    if tokens > MOST_READ and job.journal is None:
        raise QueryError(
            f"the windows of this region have {tokens:,} visual tokens, more than the "
            f"{MOST_READ:,} of an answer that is lost where it is cut; give a budget, or auto, or "
            "in the shell a folder that keeps what is read (--keep); for lesions of a whole slide "
            "there is `pathreason detect`"
        )


def _leave_out(scene: Scene, banned: Sequence[Region]) -> None:
    """Take windows that lie in parts which the user left out from what is worth reading."""
    if not banned:
        return
    places = np.flatnonzero(scene.worth)
    windows = [scene.grid.window(int(place)) for place in places]
    scene.worth[places[shown_shares(windows, banned) >= BANNED]] = False


def caption(view: View, region: Region) -> str:
    """What a view in a prompt of several is, in words.

    Parameters
    ----------
    view : View
    region : Region
        What the question is about, level-0 pixels.
    """
    if view.role == "overview":
        return "Overview of the region."
    share = view.region.width / region.width
    return f"Window {view.number}, {place_in(view.region, region)}, {share:.0%} of its width."


def place_in(window: Region, region: Region) -> str:
    """Ninth of a region in which the middle of a window lies, one of `tasks.PLACES`."""
    return PLACES[place_at(*middle_of(window), region)]
