"""A question that follows on an answer: the same pictures, and all that was said of them.

The first answer decides what is shown. A model that was never taught a conversation is asked anew.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace

from napari_pathreason.errors import QueryError
from napari_pathreason.geometry import Region
from napari_pathreason.tasks import TASKS
from napari_pathreason.types import (
    Completion,
    GenerationSettings,
    ModelInfo,
    Query,
    Request,
    Result,
    Thread,
    Turn,
    View,
    Views,
)

from . import _several, _windows
from ._asking import Need
from ._checks import MOST_TOKENS
from ._job import Event, Job, Planned, Stage, StageStarted
from ._plan import cost_of
from ._reading import Found, ask_jointly

MOST_PICTURES = 999
"""In one prompt of a model that is not on a server, which states how many it takes."""


def follow_up(result: Result, query: Query, settings: GenerationSettings | None = None) -> Request:
    """A request that asks more about what an answer saw, knowing what was said.

    Parameters
    ----------
    result : Result
        An answer, which may itself be one to a follow-up question.
    query : Query
        What is asked now.
    settings : GenerationSettings, optional
        Those of the answer if left out.

    Raises
    ------
    QueryError
        If the answer stands for several, such as a slide run.
    """
    request = result.request
    if request is None or result.views is None:
        raise QueryError("nothing can follow on an answer of many tiles; ask about a region of it")
    turn = Turn(result.query, _reply_of(result))
    if request.thread is not None:
        thread = replace(request.thread, turns=(*request.thread.turns, turn))
    else:
        thread = Thread(_shown(result), (turn,))
    own = replace(request.settings, begin="", check_order=False)
    return replace(request, query=query, settings=settings or own, thread=thread)


def said_before(result: Result) -> tuple[tuple[str, str], ...]:
    """Questions and answers that an answer follows on, in words, oldest first."""
    thread = None if result.request is None else result.request.thread
    if thread is None:
        return ()
    return tuple(
        (
            turn.query.question.strip() or ", ".join(turn.query.options) or turn.query.task,
            TASKS[turn.query.task].parse(turn.reply, turn.query).text or "no readable answer",
        )
        for turn in thread.turns
    )


def _reply_of(result: Result) -> str:
    """What the model wrote; of windows that were asked by themselves, what was made of it."""
    first = [one for one in result.readings if one.view.role != "zoom"]
    if len(first) == 1:
        return first[0].answer.reply
    return f"<think>{result.answer.rationale}</think><answer>{result.answer.text}</answer>"


def _shown(result: Result) -> Views:
    """The views of an answer as they stand in one prompt; zooms at details are left out."""
    readings = [one for one in result.readings if one.view.role != "zoom"]
    views = tuple(dict.fromkeys(view for one in readings for view in one.views))
    whole = result.views
    if whole is None or not views:
        raise QueryError("this answer does not say what was read; ask a new question")
    return replace(whole, views=views, joint=len(views) > 1)


def read_thread(
    job: Job,
    model: ModelInfo,
    thread: Thread,
    begin: Callable[[Stage], StageStarted],
) -> Generator[Event | Need, list[Completion], Found]:
    """Show the pictures of a conversation, tell what was said of them, and ask the job's question.

    Parameters
    ----------
    job : Job
    model : ModelInfo
        That holds a conversation.
    thread : Thread
        Of the job's request.
    begin : callable
        Notes that a stage begins.

    Raises
    ------
    QueryError
        If the pictures do not go into one prompt of the model, or boxes are asked for in several.
    SlideError
        If nothing of one can be read.
    """
    request, views = job.request, thread.views
    _check(request.query, model, views)
    yield begin(Stage.ALLOCATE)
    allocation = _several.allocation_of(request, views.tokens)
    cost = cost_of(views.views, model, job.slide.level_sizes, joint=views.joint)
    yield Planned(allocation, views, cost)
    yield begin(Stage.GENERATE)
    captions = captions_of(views.views, request.region)
    one = yield from ask_jointly(job, model, views.views, captions)
    return Found(
        allocation=allocation,
        views=views,
        reads=(one,),
        before=(),
        answer=one.reading.answer,
        detections=one.reading.detections,
        confidence=one.reading.confidence,
        picture_size=views.views[0].size,
        pixels_decoded=one.reading.pixels_decoded,
        doubts=one.doubts,
        completion=one.completion,
    )


def captions_of(views: tuple[View, ...], region: Region) -> tuple[str, ...]:
    """What stands before each picture of a prompt; nothing before one alone."""
    if len(views) == 1:
        return ()
    return tuple(
        (_several.caption if view.role == "region" else _windows.caption)(view, region)
        for view in views
    )


def _check(query: Query, model: ModelInfo, views: Views) -> None:
    count = len(views.views)
    most = MOST_PICTURES if model.server is None else model.server.pictures
    if count > 1 and query.task == "detection":
        raise QueryError(
            f"boxes are looked for in one picture at a time, and this answer saw {count}; ask for "
            "them in a new question"
        )
    if count > 1 and (not model.joint or count > most or views.tokens > MOST_TOKENS):
        can = "one picture" if not model.joint else f"{min(most, count):,} pictures"
        raise QueryError(
            f"this answer saw {count:,} windows of {views.tokens:,} visual tokens, and the model "
            f"{model.name} takes {can} of at most {MOST_TOKENS:,} in a prompt; ask a new question "
            "about fewer"
        )


def new_question_note(model: ModelInfo) -> str:
    """What is said where a follow-up question was asked as a new one."""
    return (
        f"the model {model.name} was not trained on conversations; this was asked as a new "
        "question, which knows nothing of the answers before"
    )
