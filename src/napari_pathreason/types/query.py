"""What is asked, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from napari_pathreason.geometry import Outline, Region

from .view import Views

TaskName = Literal["vqa", "subtyping", "detection"]
Budget = int | Literal["auto", "native"]
Effort = Literal["low", "balanced", "high"]
PolicyName = Literal[
    "auto",
    "one_view",
    "uniform",
    "random",
    "surprise",
    "again",
    "table",
    "learned",
    "listed",
    "together",
]
"""Who chooses what is read of a large region; docs/using/views.md says what each does."""
Form = Literal["choice", "yes/no", "count", "boxes", "free text"]
"""What an answer looks like: one of given choices, yes or no, a number, boxes, or any words."""

PINNED = "pinned by you"
"""Why a window is read that the user chose."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked.

    Parameters
    ----------
    task : {"vqa", "subtyping", "detection"}
    question : str
        Plain words; may be empty for subtyping and detection, which have a default wording.
    options : tuple of str
        Choices (vqa, subtyping) or lesion names (detection).
    """

    task: TaskName
    question: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GenerationSettings:
    """How text is written: greedy at ``temperature`` 0, else sampled with ``seed``.

    ``begin`` is what the answer begins with, as if the model had written it. With ``zoom`` small
    detections get a zoom on top of the budget, where the model knows how; see
    `Metadata.zoom_labels`. ``check_order`` asks a question with choices once more with these
    reversed, to see whether the answer holds.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    seed: int = 0
    begin: str = ""
    zoom: bool = True
    check_order: bool = False


@dataclass(frozen=True, slots=True)
class WindowChoice:
    """What a user says of a part of a region.

    Parameters
    ----------
    region : Region
        Level-0 pixels.
    tokens : int or None
        Most visual tokens to read it with; 0: it is not read at all; None: as many as the policy
        gives a window, at a budget of ``native`` its native size.
    why : str
        What a policy said of it before the user did. Two choices that differ in it alone are equal:
        the same is read.
    outline : tuple of (float, float)
        Of one of several regions in one question: corners of its annotation; what lies outside is
        filled with the slide's background. Empty: all of the region.
    slide : str
        Of one of several regions in one question, as of `View`.
    """

    region: Region
    tokens: int | None = None
    why: str = field(default="", compare=False)
    outline: Outline = ()
    slide: str = ""

    @property
    def reason(self) -> str:
        """Why it is read, in words."""
        if not self.why or self.why.startswith(PINNED):
            return self.why or PINNED
        return f"{PINNED}; {self.why}"


@dataclass(frozen=True, slots=True)
class Turn:
    """A question of a conversation, and the whole reply of the model as it was written."""

    query: Query
    reply: str


@dataclass(frozen=True, slots=True)
class Thread:
    """What a follow-up question knows: the pictures of a conversation, and what was said of them.

    Parameters
    ----------
    views : Views
        That stand in its first prompt.
    turns : tuple of Turn
        Questions and answers so far, the first of them about the pictures.
    """

    views: Views
    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of which region, and what it may cost; of any slide and any model.

    The docks, the shell, Python, a manifest and training hand this one value to the engine.

    Parameters
    ----------
    region : Region
        Level-0 pixels; what lies outside the slide is left out.
    query : Query
    budget : int, "auto" or "native"
        Most visual tokens to spend; ``auto`` asks the allocator.
    settings : GenerationSettings
    effort : {"low", "balanced", "high"}
        How readily an allocator spends tokens where the budget is ``auto``.
    policy : PolicyName
        How a region is read: as one picture, or which windows of it; ``auto`` decides by its size
        and the kind of question.
    windows : tuple of WindowChoice
        Parts that the user wants read, in this order and first of all, or left out; the policy
        chooses beside them, ``listed`` nothing else. With the policy ``together`` they are the
        regions of one question, which are shown in one prompt.
    outline : tuple of (float, float)
        Corners (x, y) of an annotation within the region, level-0 pixels; windows off it are not
        read, and of what is read all that lies outside is filled with the slide's background.
        Empty: all of the region.
    thread : Thread or None
        Of a follow-up question, what was shown and said before: the same pictures are read,
        whatever policy and windows say. None: a new question.
    """

    region: Region
    query: Query
    budget: Budget = "auto"
    settings: GenerationSettings = field(default_factory=GenerationSettings)
    effort: Effort = "balanced"
    policy: PolicyName = "auto"
    windows: tuple[WindowChoice, ...] = ()
    outline: Outline = ()
    thread: Thread | None = None
