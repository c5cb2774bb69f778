"""Frozen values that cross the borders between rooms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ._geometry import Box, Region
from ._token_report import TokenReport as TokenReport

TaskName = Literal["vqa", "subtyping", "detection"]
Budget = int | Literal["auto", "native"]
Effort = Literal["low", "balanced", "high"]
BoxSpace = Literal["relative", "resized"]
Level = Literal["reliable", "uncertain", "none"]
"""How far an answer may be relied on, the best first."""
Form = Literal["choice", "yes/no", "count", "boxes", "free text"]
"""What an answer looks like: one of given choices, yes or no, a number, boxes, or any words."""
Messages = list[dict[str, Any]]


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
class Allocation:
    """How many visual tokens a region was given, and by whom.

    ``budget`` is None for native size. ``source`` is ``user`` for a pinned rung, ``fixed`` for a
    constant default, ``policy`` for a learned allocator. ``tokens_spent`` is what the allocator's
    own look at the overview cost, ``flops`` its operations. ``probabilities`` follow the order of
    the ladder, native last; ``effort`` is the policy's trade-off between tokens and score.
    """

    budget: int | None
    source: Literal["user", "fixed", "policy"]
    tokens_spent: int = 0
    probabilities: tuple[float, ...] | None = None
    flops: float = 0.0
    effort: Effort | None = None


@dataclass(frozen=True, slots=True)
class GenerationSettings:
    """How text is drawn: greedy at ``temperature`` 0, else sampled with ``seed``.

    ``begin`` is what the answer begins with, as if the model had written it. With ``closer`` small
    finds get a closer look on top of the budget, where the model knows how; see
    `Metadata.zoom_labels`.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    seed: int = 0
    begin: str = ""
    closer: bool = True


@dataclass(frozen=True, slots=True)
class Strangeness:
    """How far a picture lies from those that a model was trained to answer its question on.

    ``score`` is 1 where almost all known pictures still lie below it; ``against`` names the
    training pictures that it was held against; ``reason`` says in words what is strange, empty
    where nothing is.
    """

    score: float
    against: tuple[str, ...]
    reason: str = ""

    @property
    def strange(self) -> bool:
        """Whether the picture is further away than known ones are."""
        return self.score > 1


@dataclass(frozen=True, slots=True)
class WrittenToken:
    """A written token among those that could have stood there.

    ``choices`` are (text, natural logarithm of the probability at temperature 1); what they leave
    of 1 belongs to the rest of the vocabulary. ``chosen`` is the place of the one written.
    """

    choices: tuple[tuple[str, float], ...]
    chosen: int = 0

    @property
    def text(self) -> str:
        """What was written."""
        return self.choices[self.chosen][0]


@dataclass(frozen=True, slots=True)
class Completion:
    """What a performer wrote, with its own count of tokens and seconds.

    ``prompt_tokens`` counts the whole prompt, the visual tokens included; ``new_tokens`` the
    tokens written, the one that ended the answer included. ``written`` are those of the text, one
    by one; empty where the performer does not tell. ``strangeness`` is of the picture.
    """

    text: str
    prompt_tokens: int
    visual_tokens: int
    new_tokens: int
    finish: Literal["stop", "length", "cancelled"]
    seconds: float
    written: tuple[WrittenToken, ...] = ()
    strangeness: Strangeness | None = None


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

    ``confidence``, 0 to 1, is that something of this label is there; None where it is not told.
    """

    label: str
    box: Box
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class ModelDims:
    """Sizes of a vision-language model, as far as its cost depends on them.

    ``patch`` is the side of an encoder patch in px, ``merge`` how many patches a side go into one
    visual token, so one token covers ``patch * merge`` px a side.
    """

    patch: int
    merge: int
    vision_depth: int
    vision_hidden: int
    vision_mlp: int
    text_depth: int
    text_hidden: int
    text_mlp: int
    text_heads: int
    text_kv_heads: int
    head_dim: int
    vocabulary: int
    vision_gated: bool = False

    @property
    def cell(self) -> int:
        """Side of one visual token in pixels of the resized picture."""
        return self.patch * self.merge


@dataclass(frozen=True, slots=True)
class Scale:
    """How a probability p becomes an honest one: the share whose log-odds are logit(p)/T + b.

    A ``temperature`` T above 1: the model is surer than it is right; ``offset`` b above 0: it is
    right more often than it says. ``rationale`` takes the least sure token of the rationale in:
    where the rationale states the answer, that is where the doubt lies.
    """

    temperature: float = 1.0
    offset: float = 0.0
    rationale: bool = False


@dataclass(frozen=True, slots=True)
class Calibration:
    """What makes a model's probabilities honest, fitted on questions with known answers.

    ``choice`` of answers among given choices, ``open`` of free ones such as counts, ``box`` of
    labelled boxes, or of there being none. ``least`` is the confidence below which an answer is
    uncertain.
    """

    choice: Scale = Scale()
    open: Scale = Scale()
    box: Scale = Scale()
    least: float = 0.5


@dataclass(frozen=True, slots=True)
class Topic:
    """A kind of question that a model was trained on.

    Parameters
    ----------
    name : str
        Such as ``number of nuclei``.
    form : Form
        Of its answers.
    words : frozenset of str
        Content words of its questions, choices and labels, as `tasks.content_words` gives them.
    example : Query
        A question of this kind, as users may ask it.
    """

    name: str
    form: Form
    words: frozenset[str]
    example: Query


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a model says of its training; written beside the weights by what trained it.

    Parameters
    ----------
    topics : tuple of Topic
    labels : tuple of str
        Of the boxes that it can look for.
    tissues : tuple of str
        What its training images show, where that was stated.
    mpp : (float, float) or None
        Least and most um per pixel of its training images as the model read them.
    max_visual_tokens : int or None
        Of one picture, up to which its replies hold.
    zoom_labels : tuple of str
        Labels of small things that it boxes better when it looks at each detection again.
    """

    topics: tuple[Topic, ...] = ()
    labels: tuple[str, ...] = ()
    tissues: tuple[str, ...] = ()
    mpp: tuple[float, float] | None = None
    max_visual_tokens: int | None = None
    zoom_labels: tuple[str, ...] = ()

    @property
    def forms(self) -> tuple[Form, ...]:
        """Forms of answer that it was trained to give, in the order of its topics."""
        return tuple(dict.fromkeys(topic.form for topic in self.topics))


@dataclass(frozen=True, slots=True)
class Reliability:
    """Whether an answer may be relied on, as far as the system can tell.

    ``reliable``: nothing speaks against it. ``uncertain``: to be checked by eye. ``none``: there
    is no reliable answer, whatever the model wrote is a guess. ``reasons`` say why, in plain words
    and without numbers of one picture, those of the level first; empty for ``reliable``.
    """

    level: Level
    reasons: tuple[str, ...] = ()


NOT_JUDGED = Reliability("none", ("nobody has judged this answer",))
"""Of an answer that no engine has given, such as one of an older file."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a caller must know of a performer.

    ``calibration`` is None where nobody has fitted one; its probabilities are then taken as they
    are. ``metadata`` is what it says of its training; None for a model that says nothing, such as
    a foreign checkpoint. ``comparable`` is the number of visual tokens from which on a picture can
    be held against the training images; None where none can.
    """

    name: str
    family: Literal["qwen3_vl", "qwen2_5_vl"]
    box_space: BoxSpace
    dims: ModelDims
    device: str = "cpu"
    calibration: Calibration | None = None
    metadata: Metadata | None = None
    comparable: int | None = None

    @property
    def zoom_labels(self) -> tuple[str, ...]:
        """See `Metadata.zoom_labels`; empty where it says nothing."""
        return self.metadata.zoom_labels if self.metadata is not None else ()

    @property
    def max_visual_tokens(self) -> int | None:
        """See `Metadata.max_visual_tokens`; None where it says nothing."""
        return self.metadata.max_visual_tokens if self.metadata is not None else None


@dataclass(frozen=True, slots=True)
class SlideInfo:
    """Identity of a slide without its path: file name, level-0 size in px, mpp in um/px (x, y)."""

    name: str
    width: int
    height: int
    mpp: tuple[float, float] | None = None
    mpp_source: Literal["file", "user", "unknown"] = "unknown"


@dataclass(frozen=True, slots=True)
class Result:
    """One question about one region, answered; `engine.result_to_dict` gives its JSON form.

    ``reliability`` says first what the system has reason to doubt. ``confidence``, 0 to 1, is the
    probability that the answer is right, of a count that it lies within a fifth, of boxes the mean
    of theirs; None where the model does not tell. ``model.calibration`` says whether it was fitted
    on known answers.
    ``strangeness`` is None where the model knows nothing of its training pictures. ``warnings``
    are notes that do not touch the answer's reliability.
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
    settings: GenerationSettings = GenerationSettings()
    confidence: float | None = None
    strangeness: Strangeness | None = None
    reliability: Reliability = NOT_JUDGED
