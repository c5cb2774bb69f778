"""How a region will be read, and going on with reading it: plans, their cost, and more windows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from napari_pathreason.engine import (
    TOGETHER,
    Job,
    Planned,
    asks_windows,
    check_query,
    follow_up,
    other_order,
    plan_windows,
)
from napari_pathreason.errors import PathreasonError
from napari_pathreason.exports import other_names
from napari_pathreason.models import find_windows
from napari_pathreason.types import (
    GenerationSettings,
    ModelInfo,
    Request,
    Result,
    Views,
    WindowChoice,
)

from ._inquiry import Draft
from ._layers import is_slide, slide_opener
from ._questions import Question, request_of
from ._session import Entry, Session, image_closed
from ._settings import Preferences
from ._slide_file import shown_slides
from ._steering import choices_line
from ._window_map import USUAL

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image

AT_LEAST = 4
"""Windows at their usual tokens that are read more, where an answer took less."""


def reads_windows(request: Request, model: ModelInfo | None) -> bool:
    """Whether a region will be read by windows, or several in one prompt.

    False where nothing is known of the model.
    """
    if model is None:
        return False
    try:
        return asks_windows(request, model, model.max_visual_tokens)
    except PathreasonError:  # a region below one token
        return False


def reading_note(viewer: Viewer, session: Session, draft: Draft, model: ModelInfo | None) -> str:
    """How the region of a form will be read, where that is by windows; else empty."""
    try:
        request = request_of(viewer, session, draft, Preferences())
    except PathreasonError:
        return ""
    joint = request.policy == TOGETHER or draft.source == "layers"
    if joint or not reads_windows(request, model):
        return ""
    words = [] if request.policy == "auto" else [policy_words(request.policy)]
    words += filter(None, [choices_line(request.windows)])
    return f"Read as windows{': ' if words else ''}{', '.join(words)}."


POLICY_WORDS = {"one_view": "one picture", "table": "by kind of question"}
"""Of policies whose names say nothing to who reads them first."""


def policy_words(name: str) -> str:
    """A policy as docks call it."""
    return POLICY_WORDS.get(name, name.replace("_", " "))


def planned_question(
    viewer: Viewer, session: Session, draft: Draft, preferred: Preferences
) -> Question:
    """What a form says as a question that need not be one yet: only its plan is made.

    Raises
    ------
    PathreasonError
        As of `request_of`.
    """
    request = request_of(viewer, session, draft, preferred)
    if draft.image is None:
        raise PathreasonError("there is no image to ask about; open a slide first")
    return Question(slide_opener(draft.image), request, draft.model_id, preferred.compute)


def plan_of_windows(question: Question, model: ModelInfo) -> Planned | str | None:
    """The windows of a question and their cost, for a worker; the model is not loaded.

    Returns
    -------
    Planned, str or None
        A text says why there is no plan; None where the region is read as one picture.
    """
    try:
        learned = find_windows(question.model)
        return plan_windows(Job(question.slide(), question.request), model, learned)
    except PathreasonError as error:
        return str(error)
    except Exception as error:  # a fault of ours must be shown, not lost in a thread
        return f"unexpected {type(error).__name__} while planning; please report it"


def pace(entries: Iterable[Entry], model: ModelInfo) -> float | None:
    """FLOPs a second of a model's earlier answers; None without any."""
    speeds = [
        entry.result.tokens.flops / seconds
        for entry in entries
        if entry.result.model == model
        and entry.former is None
        and entry.result.tokens.flops
        and (seconds := sum(entry.result.seconds.values())) > 0
    ]
    return median(speeds) if speeds else None


@dataclass(frozen=True, slots=True)
class More:
    """Going on from an answer.

    Parameters
    ----------
    entry : Entry
        What is gone on from.
    question : Question
    """

    entry: Entry
    question: Question


def more_of(session: Session, entry: Entry, preferred: Preferences) -> More:
    """Read the next windows of an answer's region, in the order in which its policy would go on.

    As many visual tokens as its last round took, at least those of some usual windows, and windows
    that the user has pinned since.

    Raises
    ------
    PathreasonError
        If its image was closed, or no window is left.
    """
    image, result = entry.image(), entry.result
    if image is None:
        raise image_closed(entry, "go on")
    if result.request is None or not result.unread:
        raise PathreasonError("all windows of this region were read")
    spent = windows_tokens(result)
    last = spent - (0 if entry.former is None else windows_tokens(entry.former.result))
    windows = session.steering.within(image, result.region)
    before = {view.region for one in result.readings for view in one.views}
    pinned = sum(
        USUAL if one.tokens is None else one.tokens for one in windows if one.region not in before
    )
    if result.request.policy == "listed":  # it goes on with nothing of its own
        windows += tuple(WindowChoice(region) for region in result.unread[:AT_LEAST])
        windows = tuple({one.region: one for one in (*result.request.windows, *windows)}.values())
    request = replace(
        result.request,
        budget=spent + max(last, AT_LEAST * USUAL) + pinned,
        windows=windows,
    )
    question = Question(
        slide_opener(image), request, entry.model_id, preferred.compute, result.readings
    )
    return More(entry, question)


def follow_up_of(viewer: Viewer, entry: Entry, draft: Draft, preferred: Preferences) -> Question:
    """What a form says, asked of what an answer saw, by the model that gave it.

    Parameters
    ----------
    viewer : napari.Viewer
    entry : Entry
        What is followed on.
    draft : Draft
        Its task, words, choices and the check of their order are taken.
    preferred : Preferences

    Raises
    ------
    PathreasonError
        If the question cannot be asked, or the image of the answer was closed.
    """
    image, result = entry.image(), entry.result
    if image is None or image not in viewer.layers:
        raise image_closed(entry, "follow up")
    check_query(draft.query, draft.budget, result.model.metadata)
    settings = GenerationSettings(
        zoom=preferred.zoom,
        check_order=draft.check_order and other_order(draft.query) is not None,
    )
    request = follow_up(result, draft.query, settings)
    others = _others(viewer, request)
    return Question(
        slide_opener(image),
        request,
        entry.model_id,
        preferred.compute,
        name=entry.name,
        others={name: slide_opener(layer) for name, layer in others.items()},
        shown=shown_slides(others),
    )


def _others(viewer: Viewer, request: Request) -> dict[str, Image]:
    """The layers of the other slides that a conversation shows, by their names."""
    layers = {layer.name: layer for layer in viewer.layers if is_slide(layer)}
    return {name: layers[name] for name in other_names(request) if name in layers}


def windows_tokens(result: Result) -> int:
    """Visual tokens of the windows that an answer has read, without zooms."""
    views = (view for one in result.readings for view in one.views if view.role != "zoom")
    return sum(view.tokens for view in views)


def cost_line(plan: Planned, seconds: float | None) -> str:
    """What a plan costs, before anything of it is spent."""
    cost, views = plan.cost, plan.views
    words = [
        _tokens(cost.tokens, views),
        f"about {cost.flops / 1e9:,.1f} GFLOPs" if cost.flops else "FLOPs not known",
        f"{cost.pixels / 1e6:,.1f} Mpx to decode",
        f"{cost.memory / 1e6:,.1f} MB of pictures",
    ]
    if seconds is not None:
        words.append(f"about {seconds:,.1f} s")
    return f"{_count(views)}, {policy_words(views.policy)}: {', '.join(words)}."


def realised_line(result: Result) -> str:
    """What windows have cost, against what was planned."""
    if result.views is None:
        return ""
    tokens, views = result.tokens, result.views
    words = [
        _tokens(tokens.realised, views),
        f"{tokens.flops / 1e9:,.1f} GFLOPs" if tokens.flops else "FLOPs not known",
        f"{result.pixels_decoded / 1e6:,.1f} Mpx decoded",
        f"{sum(result.seconds.values()):,.1f} s",
    ]
    if tokens.zoom:
        words.insert(1, f"{tokens.zoom:,} for zooms")
    planned = sum(view.tokens for view in views.views if view.role != "zoom")
    return (
        f"{_count(views)} read, {policy_words(views.policy)}: {', '.join(words)}; "
        f"{planned:,} planned."
    )


def _tokens(count: int, views: Views) -> str:
    share = count / max(views.native_windows, 1)
    return f"{count:,} of {views.native_windows:,} visual tokens ({100 * share:.0f} %)"


def _count(views: Views) -> str:
    what = "region" if views.policy == TOGETHER else "window"
    count = sum(view.role == what for view in views.views)
    return f"1 {what}" if count == 1 else f"{count:,} {what}s"
