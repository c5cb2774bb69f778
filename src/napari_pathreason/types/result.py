"""An answer with its account, and how far it may be relied on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from napari_pathreason.geometry import Box, Region

from .model import ModelInfo, OODScore
from .query import Effort, GenerationSettings, Query, Request
from .view import View, Views

Level = Literal["reliable", "uncertain", "none"]
"""How far an answer may be relied on, the best first."""


IccState = Literal["none", "ignored", "applied"]
"""Of a slide: it has no ICC profile, colours are as they lie there, or were turned into sRGB."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """How many visual tokens a region was given, and by whom.

    ``budget`` is None for native size. ``source`` is ``user`` for a pinned budget, ``fixed`` for a
    constant default, ``policy`` for a learned allocator, ``rule`` for a policy without training.
    ``tokens_spent`` is what the allocator's own overview cost, ``flops`` its FLOPs.
    ``probabilities`` follow the order of the budget grid, native last; ``effort`` is the policy's
    trade-off between tokens and score.
    """

    budget: int | None
    source: Literal["user", "fixed", "policy", "rule"]
    tokens_spent: int = 0
    probabilities: tuple[float, ...] | None = None
    flops: float = 0.0
    effort: Effort | None = None


@dataclass(frozen=True, slots=True)
class SlideInfo:
    """Identity of a slide without its path: file name, level-0 size in px, mpp in um/px (x, y).

    ``channels`` are those of fluorescence that the user chose, as `slides.open_slide` takes them;
    ``icc`` says whether the file has an ICC profile, and whether colours were turned by it.
    """

    name: str
    width: int
    height: int
    mpp: tuple[float, float] | None = None
    mpp_source: Literal["file", "user", "unknown"] = "unknown"
    channels: str = ""
    icc: IccState = "none"


@dataclass(frozen=True, slots=True)
class AnswerBox:
    """A box as the model wrote it, (x1, y1, x2, y2) in the checkpoint's own box space."""

    label: str
    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True, slots=True)
class Answer:
    """Parsed completion; malformed text is a value with ``well_formed`` False, never an error.

    ``text`` is empty where no answer could be read; of detection that means unknown, not none.
    ``reply`` is the completion as it was written.
    """

    rationale: str
    text: str
    boxes: tuple[AnswerBox, ...] = ()
    well_formed: bool = True
    reply: str = ""

    @property
    def readable(self) -> bool:
        """Whether an answer could be read in the reply."""
        return bool(self.text)


@dataclass(frozen=True, slots=True)
class Detection:
    """A labelled box on the slide, level-0 pixels.

    ``confidence``, 0 to 1, is that something of this label is there; None where it is not known.
    """

    label: str
    box: Box
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class TokenReport:
    """Account of one answer; all counts are visual tokens unless named otherwise.

    ``realised`` of the ``requested`` are those of the views that the budget is for; ``zoom`` is
    what zooms at their detections took besides, ``check`` the same question asked again with its
    choices reversed, ``allocator`` the overview that chose the budget. ``cached`` are those of a
    follow-up question's pictures that the model still knew from the question before: an earlier
    answer paid for them.
    Native size has two names: ``native_picture`` is the region as one picture, ``native_windows``
    the windows that cover its tissue, each at native size. Of a region that is read as one picture
    both are the same; ``flops_native_picture`` and ``flops_native_windows`` are the same answer's.
    """

    allocator: int
    requested: int | None
    realised: int
    native_picture: int
    native_windows: int
    encoder_patches: int
    prompt_tokens: int
    new_tokens: int
    flops: float
    flops_native_picture: float
    flops_native_windows: float
    zoom: int = 0
    check: int = 0
    cached: int = 0

    @property
    def read(self) -> int:
        """Tokens that the performer read, in all its views."""
        return self.realised + self.zoom + self.check

    @property
    def spent(self) -> int:
        """All tokens, those of the allocator's overview included."""
        return self.read + self.allocator

    @property
    def saved(self) -> int:
        """Tokens not spent against native windows, the allocator's own counted; may be negative.

        What an earlier answer of the same conversation paid for is not saved once more.
        """
        return self.native_windows - self.realised - self.cached - self.allocator


@dataclass(frozen=True, slots=True)
class Reliability:
    """Whether an answer may be relied on, as far as the system can tell.

    ``reliable``: nothing speaks against it. ``uncertain``: to be checked by eye. ``none``: there
    is no reliable answer, whatever the model wrote is a guess. ``reasons`` say why, in plain words
    and without numbers of one picture, those of the level first; empty for ``reliable``.
    """

    level: Level
    reasons: tuple[str, ...] = ()


NOT_ASSESSED = Reliability("none", ("nobody has judged this answer",))
"""Of an answer that no engine has assessed, such as one of an older file."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One prompt, answered: a view by itself, or several in one prompt.

    Parameters
    ----------
    views : tuple of View
        What the prompt showed, in its order.
    answer : Answer
    detections : tuple of Detection
        Level-0 pixels, inside the view.
    confidence : float or None
        Of the answer, as of `Result`.
    reliability : Reliability
        Of this reading alone.
    ood : OODScore or None
        Of its pictures, the one furthest from the training images.
    visual_tokens, prompt_tokens, new_tokens : int
        Realised; the prompt's hold the visual ones.
    cached_tokens, cached_visual_tokens : int
        Of these, as of `Completion`.
    choices : tuple of float
        Probability of each choice of the question, before calibration, 1 together; empty where the
        model did not tell, or the answer was kept from before.
    pixels_decoded : int
        What reading its pictures took.
    level : int
        Pyramid level of the first of them.
    unreadable : float
        Share (0 to 1) of its pictures that is damaged.
    seconds : float
        Of the model.
    """

    views: tuple[View, ...]
    answer: Answer
    detections: tuple[Detection, ...] = ()
    confidence: float | None = None
    reliability: Reliability = NOT_ASSESSED
    ood: OODScore | None = None
    visual_tokens: int = 0
    prompt_tokens: int = 0
    new_tokens: int = 0
    pixels_decoded: int = 0
    level: int = 0
    unreadable: float = 0.0
    seconds: float = 0.0
    cached_tokens: int = 0
    cached_visual_tokens: int = 0
    choices: tuple[float, ...] = ()

    @property
    def view(self) -> View:
        """The first of its views; the only one where it was read by itself."""
        return self.views[0]


@dataclass(frozen=True, slots=True)
class OrderCheck:
    """What was answered with the choices reversed.

    Parameters
    ----------
    answer : str
        Empty where it could not be read.
    flipped : bool
        Whether it is another one than with the choices as they were given.
    """

    answer: str
    flipped: bool


@dataclass(frozen=True, slots=True)
class Result:
    """One question about one region, answered; `engine.result_to_dict` gives its JSON form.

    ``reliability`` says first what the system has reason to doubt. ``confidence``, 0 to 1, is the
    probability that the answer is right, of a count that it lies within a fifth, of boxes the mean
    of theirs; None where the model does not tell. ``model.calibration`` says whether it was fitted
    on known answers.
    ``ood`` is None where the model knows nothing of its training pictures. ``warnings``
    are notes that do not touch the answer's reliability. ``views`` is what was read, ``readings``
    what each prompt gave; ``unread`` are windows of the region that hold tissue and were not read,
    in the order in which the policy would go on. ``picture_size`` (width, height) in px is the
    picture's, or the frame of the answer's boxes where there are several. ``request`` is what was
    asked, its region cut to the slide; None where a result stands for several, such as a slide run.
    ``order`` says whether the answer held with its choices reversed; None where that was not asked.
    """

    query: Query
    region: Region
    slide: SlideInfo
    model: ModelInfo
    allocation: Allocation
    answer: Answer
    detections: tuple[Detection, ...]
    tokens: TokenReport
    picture_size: tuple[int, int]
    level: int
    pixels_decoded: int
    seconds: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    settings: GenerationSettings = field(default_factory=GenerationSettings)
    confidence: float | None = None
    ood: OODScore | None = None
    reliability: Reliability = NOT_ASSESSED
    views: Views | None = None
    readings: tuple[Reading, ...] = ()
    unread: tuple[Region, ...] = ()
    request: Request | None = None
    order: OrderCheck | None = None
