"""The three tasks: what each asks, how it reads a reply and how it scores an answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Protocol

from napari_pathreason.types import Answer, AnswerBox, BoxSpace, Messages, Query, TaskName

from ._choices import find_option, same_choice, whole_choice
from ._metrics import count_score, iou_score, token_f1
from ._numbers import asks_count, asks_number, has_words, read_count
from ._parsing import is_json, parse_boxes, split_frame

SYSTEM = (
    "You are a pathologist's assistant. First reason about the picture inside <think> </think>, "
    "then give the answer inside <answer> </answer>."
)
SUBTYPING_QUESTION = "Which subtype does this tissue show?"
DETECTION_FORMAT = (
    'Answer with a JSON list of {"bbox_2d": [x1, y1, x2, y2], "label": name}, [] if none.'
)
Y_FIRST_FORMAT = (
    'Answer with a JSON list of {"box_2d": [ymin, xmin, ymax, xmax], "label": name}, [] if none.'
)
"""As models ask for it that were taught boxes with y first."""
IN_PIXELS = "Coordinates are pixels of the picture as you see it."
"""Said to models that write boxes so; those that write 0 to 1000 were trained without a word."""


@dataclass(frozen=True, slots=True)
class Target:
    """A label: ``text`` for vqa and subtyping, ``boxes`` (0-1000 of the region) for detection.

    ``choices`` are those of the question, of which the text is one; empty for open questions.
    """

    text: str = ""
    boxes: tuple[AnswerBox, ...] = ()
    choices: tuple[str, ...] = ()


class Task(Protocol):
    """One kind of question."""

    def messages(
        self, query: Query, captions: Sequence[str] = (), box_space: BoxSpace = "relative"
    ) -> Messages:
        """Build the chat messages.

        Parameters
        ----------
        query : Query
        captions : sequence of str
            Of several pictures in their order, such as ``Window 2, upper right.``; each stands
            before its picture, and an empty one leaves nothing there. None at all: of one picture.
        box_space : BoxSpace
            How the model writes boxes.
        """

    def parse(self, text: str, query: Query) -> Answer:
        """Read a completion; total: any text gives an `Answer`, at worst an unreadable one."""

    def score(self, answer: Answer, target: Target) -> float:
        """Agreement of an answer with a label, 0 to 1."""


def chat(instruction: str, captions: Sequence[str] = ()) -> Messages:
    """System message plus one user turn that holds the pictures and the instruction."""
    parts: list[dict[str, str]] = []
    for caption in captions or ("",):
        parts += [{"type": "text", "text": caption}] if caption else []
        parts.append({"type": "image"})
    return [
        {"role": "system", "content": [{"type": "text", "text": SYSTEM}]},
        {"role": "user", "content": [*parts, {"type": "text", "text": instruction}]},
    ]


class _VQA:
    """Questions in plain words; the answer is one of the choices or a short text."""

    def messages(
        self, query: Query, captions: Sequence[str] = (), box_space: BoxSpace = "relative"
    ) -> Messages:
        """See `Task.messages`."""
        question = self._question(query)
        choices = f" Choices: {', '.join(query.options)}." if query.options else ""
        return chat(question + choices, captions)

    def parse(self, text: str, query: Query) -> Answer:
        """See `Task.parse`.

        What is none of the choices, a list of boxes, a number that nobody asked for and a count
        without a number are no answers: their text is empty. Without choices free text is one.
        """
        rationale, body, whole = split_frame(text)
        question, choices = self._question(query), query.options
        if choices and (exact := whole_choice(body, choices)) is not None:
            answer = exact
        elif is_json(body):
            answer = ""
        elif choices:
            answer = find_option(body, choices, question) or ""
        elif asks_count(question):
            answer = read_count(body)
        else:
            numeric = any(map(str.isdigit, body)) and asks_number(question)
            answer = body if has_words(body) or numeric else ""
        return Answer(rationale, answer, (), whole and bool(answer), text)

    def score(self, answer: Answer, target: Target) -> float:
        """The right choice or none of it; counts by relative error, open answers by words shared.

        Half the words of a choice are not half right ("upper left" for "upper right").
        """
        predicted, truth = answer.text.strip(), target.text.strip()
        if target.choices:
            return float(same_choice(predicted, truth, target.choices))
        if truth.isdecimal():
            is_count = predicted.isdecimal() and len(predicted) < 10
            return count_score(int(predicted), int(truth)) if is_count else 0.0
        return token_f1(predicted, truth)

    def _question(self, query: Query) -> str:
        return query.question.strip()


class _Subtyping(_VQA):
    """Closed choice among subtypes; scored by the exact name."""

    def score(self, answer: Answer, target: Target) -> float:
        """1 for the right name, else 0."""
        return float(same_choice(answer.text, target.text, target.choices))

    def _question(self, query: Query) -> str:
        return query.question.strip() or SUBTYPING_QUESTION


class _LesionDetection:
    """Boxes around everything that bears one of the given names; an empty list is an answer too."""

    def messages(
        self, query: Query, captions: Sequence[str] = (), box_space: BoxSpace = "relative"
    ) -> Messages:
        """See `Task.messages`."""
        names = " and ".join(query.options) or "lesion"
        question = query.question.strip() or f"Find every {names}."
        if query.question.strip() and query.options:
            question = f"{question} Names: {', '.join(query.options)}."
        form = Y_FIRST_FORMAT if box_space == "relative_yx" else DETECTION_FORMAT
        if box_space == "resized":
            form = f"{form} {IN_PIXELS}"
        return chat(f"{question} {form}", captions)

    def parse(self, text: str, query: Query) -> Answer:
        """See `Task.parse`.

        A box whose label was not asked for is left out and makes the answer malformed. Nothing
        was found where a whole list is empty; where a list was cut off, left no box or is none,
        what is there is unknown, and the answer cannot be read.
        """
        rationale, body, whole = split_frame(text)
        names = query.options or ("lesion",)
        boxes, complete = parse_boxes(body, names[0] if len(names) == 1 else None)
        named = boxes
        if query.options:
            labels = [whole_choice(box.label, query.options) for box in boxes]
            pairs = zip(boxes, labels, strict=True)
            named = tuple(replace(box, label=label) for box, label in pairs if label is not None)
        complete = complete and len(named) == len(boxes)
        if not named and not complete:
            return Answer(rationale, "", (), False, text)
        return Answer(rationale, summary(named), named, whole and complete, text)

    def score(self, answer: Answer, target: Target) -> float:
        """Matched overlap over the larger count, see `iou_score`; unreadable text scores 0."""
        return iou_score(answer.boxes, target.boxes) if answer.readable else 0.0


def summary(boxes: tuple[AnswerBox, ...]) -> str:
    """Boxes in words, such as ``2 white cells, 1 platelet``; ``none found`` for none."""
    counts = Counter(box.label for box in boxes)
    return ", ".join(f"{n} {label}" for label, n in counts.items()) or "none found"


TASKS: Mapping[TaskName, Task] = MappingProxyType(
    {"vqa": _VQA(), "subtyping": _Subtyping(), "detection": _LesionDetection()}
)

SCORING = 2
"""Number of the rules by which replies are parsed and scored, raised with every change of them:
scores that were tabulated under other rules are worth nothing."""
