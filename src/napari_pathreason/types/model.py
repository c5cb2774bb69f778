"""What a model is, and what it writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from .query import Form, Query

if TYPE_CHECKING:  # budgets are reckoned without an array library
    import numpy as np
    from numpy.typing import NDArray

BoxSpace = Literal["relative", "resized", "relative_yx"]
"""Where a model writes boxes: 0 to 1000 of the picture, pixels of the picture as it was shown, or
0 to 1000 with y before x."""
Encoder = Literal["exact", "fast", "openvino"]
"""How the vision encoder computes on a processor: in float32, in bfloat16 where that is fast, or by
OpenVINO where it is installed."""
Precision = Literal["auto", "float32", "bfloat16", "float16", "4bit"]
"""What weights are loaded as; ``auto`` is float32 on a processor and of small models, else
bfloat16, or float16 where the device has no other. In ``4bit`` they are packed, and computed with
in bfloat16."""
Messages = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """What a performer is shown and asked.

    Parameters
    ----------
    pictures : tuple of uint8 array (height, width, 3)
        Already of the planned sizes; nobody resizes them any more.
    messages : list of dict
        Chat messages with one ``{"type": "image"}`` part for each picture, in their order.
    choices : tuple of str
        One of which is the answer, for a performer that can see to it; the messages name them.
    """

    pictures: tuple[NDArray[np.uint8], ...]
    messages: Messages
    choices: tuple[str, ...] = ()

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(height, width) of each picture in pixels; prompts of equal shapes batch best."""
        return tuple((picture.shape[0], picture.shape[1]) for picture in self.pictures)


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
    def token_px(self) -> int:
        """Side of one visual token in pixels of the resized picture."""
        return self.patch * self.merge

    @property
    def has_flops(self) -> bool:
        """Whether they tell FLOPs; of a model on a server only the side of a token is known."""
        return self.text_depth > 0


def unknown_dims(token_px: int) -> ModelDims:
    """Dimensions of a model of which only the side of a visual token is known; its FLOPs are 0."""
    return ModelDims(token_px, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class TokenLevel:
    """A number of visual tokens that a picture may have, where not every number can be had.

    Parameters
    ----------
    tokens : int
        That are spent, at the most: a thumbnail beside tiles counts.
    detail : int
        Visual tokens of a picture that shows all the detail that these can hold; it is read so.
    """

    tokens: int
    detail: int


@dataclass(frozen=True, slots=True)
class Scale:
    """How a probability p becomes an honest one: the share whose log-odds are logit(p)/T + b.

    A ``temperature`` T above 1: the model is more confident than it is right; ``offset`` b above
    0: it is right more often than it says. ``rationale`` takes the least probable token of the
    rationale in: where the rationale states the answer, that is where the doubt lies.
    """

    temperature: float = 1.0
    offset: float = 0.0
    rationale: bool = False


@dataclass(frozen=True, slots=True)
class TopicScale:
    """A `Scale` of the questions that a model's training knows apart by their words.

    Parameters
    ----------
    form : Form
        Of their answers.
    topics : tuple of str
        Names of all topics that such a question may be of, in alphabetical order; see
        `tasks.topic_names`. None, of a region's answer: any of that form.
    scale : Scale
    """

    form: Form
    topics: tuple[str, ...]
    scale: Scale


@dataclass(frozen=True, slots=True)
class Calibration:
    """What makes a model's probabilities honest, fitted on questions with known answers.

    ``choice`` of answers among given choices, ``open`` of free ones such as counts, ``box`` of
    labelled boxes, or of there being none. ``topics`` go before these where a question is of
    theirs: a model may be right in one kind of question and guess in another, and be as sure of
    both. ``regions`` are of answers that were put together from several windows, on top of the
    windows' own confidence: the more windows, the likelier the most telling one errs. ``least`` is
    the confidence below which an answer is uncertain.
    """

    choice: Scale = Scale()
    open: Scale = Scale()
    box: Scale = Scale()
    least: float = 0.5
    topics: tuple[TopicScale, ...] = ()
    regions: tuple[TopicScale, ...] = ()


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
    window : int or None
        Side in native pixels of the windows that a large region is best cut into for it.
    joint : bool
        Whether it was trained on several pictures in one prompt.
    conversation : bool
        Whether it was trained on questions that follow on earlier answers.
    """

    topics: tuple[Topic, ...] = ()
    labels: tuple[str, ...] = ()
    tissues: tuple[str, ...] = ()
    mpp: tuple[float, float] | None = None
    max_visual_tokens: int | None = None
    zoom_labels: tuple[str, ...] = ()
    window: int | None = None
    joint: bool = False
    conversation: bool = False

    @property
    def forms(self) -> tuple[Form, ...]:
        """Forms of answer that it was trained to give, in the order of its topics."""
        return tuple(dict.fromkeys(topic.form for topic in self.topics))


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a server lets its clients do with a model.

    Parameters
    ----------
    pictures : int
        In one prompt, at the most.
    at_once : int
        Requests that are sent before the first of them is answered, at the most.
    least : int
        Visual tokens of the smallest picture.
    logprobs : bool
        Whether it tells how probable its tokens were; else there is no confidence.
    continues : bool
        Whether it goes on with an answer that was begun.
    """

    pictures: int = 999
    at_once: int = 4
    least: int = 1
    logprobs: bool = False
    continues: bool = False


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a caller must know of a performer.

    ``calibration`` is None where nobody has fitted one; its probabilities are then taken as they
    are. ``metadata`` is what it says of its training; None for a model that says nothing, such as
    a foreign checkpoint. ``comparable`` is the number of visual tokens from which on a picture can
    be compared with the training images; None where none can. ``encoder`` is how its vision encoder
    computes; ``notes`` say in a line each what is otherwise than was asked for. ``levels`` are the
    numbers of visual tokens that a picture may have, rising; empty where any can be had.
    ``several`` is whether its family reads several pictures in one prompt. ``precision`` is what
    its weights are loaded as. ``box_space`` is None where nobody knows how the model writes boxes.
    ``boxes_by`` says in words how boxes are read and who says so, where that is neither the model
    itself nor its family on this machine. ``server`` is None for a model that is computed here.
    """

    name: str
    family: str
    box_space: BoxSpace | None
    dims: ModelDims
    device: str = "cpu"
    calibration: Calibration | None = None
    metadata: Metadata | None = None
    comparable: int | None = None
    encoder: Encoder = "exact"
    notes: tuple[str, ...] = ()
    server: ServerInfo | None = None
    levels: tuple[TokenLevel, ...] = ()
    several: bool = True
    precision: Precision = "float32"
    boxes_by: str = ""

    def fit(self, budget: int) -> int:
        """Visual tokens to read a picture with for a budget.

        Parameters
        ----------
        budget : int
            Most visual tokens to spend on the picture.

        Returns
        -------
        int
            The budget itself where any number can be had; else the detail of the highest level
            within it, or of the lowest, which then costs more than the budget.
        """
        if not self.levels:
            return budget
        within = [level.detail for level in self.levels if level.tokens <= budget]
        return within[-1] if within else self.levels[0].detail

    def holding(self, detail: int) -> int:
        """Visual tokens to read a picture with that shall show some detail.

        Parameters
        ----------
        detail : int
            Visual tokens of a picture that would show just that.

        Returns
        -------
        int
            The same where any number can be had; else the detail of the lowest level that holds
            it, or of the highest.
        """
        holds = (level.detail for level in self.levels if level.detail >= detail)
        return next(holds, self.levels[-1].detail) if self.levels else detail

    @property
    def zoom_labels(self) -> tuple[str, ...]:
        """See `Metadata.zoom_labels`; empty where it says nothing."""
        return self.metadata.zoom_labels if self.metadata is not None else ()

    @property
    def window(self) -> int | None:
        """See `Metadata.window`; None where it says nothing."""
        return self.metadata.window if self.metadata is not None else None

    @property
    def joint(self) -> bool:
        """Whether several pictures in one prompt are read together; see `Metadata.joint`.

        A model that says nothing of its training is a large one, which most families trained so.
        """
        if self.server is not None and self.server.pictures < 2:
            return False
        return self.several and (self.metadata is None or self.metadata.joint)

    @property
    def converses(self) -> bool:
        """Whether a follow-up question may know the answers before; see `Metadata.conversation`.

        A model that says nothing of its training is a large one, which all were trained so.
        """
        return self.metadata is None or self.metadata.conversation

    @property
    def max_visual_tokens(self) -> int | None:
        """See `Metadata.max_visual_tokens`, no more than the highest level; None if unbounded."""
        own = self.metadata.max_visual_tokens if self.metadata is not None else None
        if not self.levels:
            return own
        return self.levels[-1].detail if own is None else min(own, self.levels[-1].detail)


@dataclass(frozen=True, slots=True)
class OODScore:
    """How far a picture lies from those that a model was trained to answer its question on.

    ``score`` is 1 where almost all training pictures still lie below it; ``against`` names those
    that it was compared with; ``reason`` says in words what is unlike them, empty where nothing
    is.
    """

    score: float
    against: tuple[str, ...]
    reason: str = ""

    @property
    def is_ood(self) -> bool:
        """Whether the picture is further away than the training pictures are."""
        return self.score > 1


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
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
    by one; empty where the performer does not tell. ``ood`` is of the picture. ``finish`` is
    ``broken`` where a server went away while it wrote. ``cached_tokens`` of the prompt, among them
    ``cached_visual_tokens``, were known from the question before it and not computed again.
    """

    text: str
    prompt_tokens: int
    visual_tokens: int
    new_tokens: int
    finish: Literal["stop", "length", "cancelled", "broken"]
    seconds: float
    written: tuple[TokenLogprobs, ...] = ()
    ood: OODScore | None = None
    cached_tokens: int = 0
    cached_visual_tokens: int = 0
