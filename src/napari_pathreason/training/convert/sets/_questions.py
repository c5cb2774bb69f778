"""Questions about one picture, made of what its labels say, and how they are worded.

Sets that carry labels and no questions are asked in phrasings of this project, several of a kind,
so that words teach little; some of each kind are held out, for `test` alone. They vary with a
random generator: the same seed asks the same. Now and then a picture is asked what it cannot
answer, and answerable questions offer that choice too, so that a model learns to say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

from napari_pathreason.training.samples import Area, Facts, Files, Phrasing, Sample, Split
from napari_pathreason.types import TaskName

from ._layout import Draw, Place

YES_NO = ("yes", "no")
CANNOT_TELL = "cannot tell"
"""The choice, the answer and the topic of questions that a picture cannot answer."""
ABSTAINING = 0.35
"""Share of pictures that are asked such a question, and of the answerable questions of the same
kinds that offer the choice as well."""
LUNG_KINDS = ("adenocarcinoma", "squamous cell carcinoma", "normal")
CELL_KINDS = ("white cells", "platelets", "red cells")

NOTHING = Facts()

Subject = Literal["lymph", "lung", "blood", "nuclei"]

HELD_OUT_SHARE = 0.5
"""Share of the questions of `test` that are put in a held-out phrasing."""


@dataclass(frozen=True, slots=True)
class Phrasings:
    """Phrasings of one kind of question; ``{}`` is filled with a name."""

    trained: tuple[str, ...]
    held_out: tuple[str, ...]


TUMOUR_PRESENT = Phrasings(
    (
        "Is there tumour in this field?",
        "Is there any tumour here?",
        "Does this lymph node tissue contain tumour?",
        "Does this region contain tumour?",
        "Do you see metastasis here?",
        "Do you see tumour in this picture?",
        "Is tumour present?",
        "Any tumour cells in this region?",
        "Are there tumour cells in this field?",
    ),
    ("Do you see any tumour in this field?", "Is tumour present in this lymph node?"),
)
TUMOUR_KIND = Phrasings(
    (
        "Which label fits this lymph node tissue?",
        "Classify this lymph node tissue.",
        "What does this lymph node tissue show?",
        "What does this region show?",
        "Which label fits this region?",
    ),
    ("What does this field of lymph node show?", "Classify this region."),
)
LUNG_KIND = Phrasings(
    (
        "Which subtype does this lung tissue show?",
        "What type of lung tissue is this?",
        "Classify this lung tissue.",
        "Which lung subtype is it?",
        "What does this lung tissue show?",
        "Which label fits this lung tissue?",
    ),
    ("Which subtype of lung tissue is this?", "What type does this lung tissue show?"),
)
LUNG_NORMAL = Phrasings(
    (
        "Is this lung tissue normal?",
        "Is this normal lung?",
        "Does this lung tissue look normal?",
        "Is the lung normal here?",
        "Does this region show normal lung?",
    ),
    ("Does this look like normal lung tissue?", "Is this a normal lung?"),
)
COUNT = Phrasings(
    (
        "How many {} are there?",
        "How many {} do you see?",
        "How many {} are in this region?",
        "Count the {}.",
        "Count the {} in this picture.",
        "What is the number of {} in this region?",
        "Number of {}?",
    ),
    ("How many {} does this region contain?", "What is the number of {} here?"),
)
PRESENCE = Phrasings(
    (
        "Are there {} here?",
        "Are there any {}?",
        "Do you see any {}?",
        "Do you see {} in this region?",
        "Are {} present?",
        "Does this region contain {}?",
    ),
    ("Are any {} present here?", "Does this picture contain any {}?"),
)
NUCLEI_DENSE = Phrasings(
    (
        "Are the nuclei dense or sparse?",
        "How closely packed are the nuclei?",
        "Is this region dense or sparse in nuclei?",
        "How dense are the nuclei here?",
    ),
    ("Are nuclei dense or sparse in this region?", "How closely packed are nuclei here?"),
)
NUCLEI_WHERE = Phrasings(
    (
        "Where are the nuclei most crowded?",
        "In which part are the nuclei most crowded?",
        "Which part holds the most nuclei?",
        "Where are most nuclei?",
    ),
    ("Which part is most crowded with nuclei?", "In which part are most of the nuclei?"),
)
FIND = Phrasings(
    (
        "",
        "",
        "Find every {}.",
        "Find each {}.",
        "Where is each {}?",
        "Mark every {}.",
        "Box each {}.",
    ),
    ("Box every {}.", "Mark each {}."),
)

PHRASINGS = (
    TUMOUR_PRESENT,
    TUMOUR_KIND,
    LUNG_KIND,
    LUNG_NORMAL,
    COUNT,
    PRESENCE,
    NUCLEI_DENSE,
    NUCLEI_WHERE,
    FIND,
)
"""All of them."""


@dataclass(frozen=True, slots=True)
class Questions:
    """Questions about one picture; each call draws a phrasing, so their order counts.

    Parameters
    ----------
    rng : random.Random
        Draws phrasings, and the order of choices.
    split : {"train", "val", "test"}
    image : str or grid of str
        See `Sample`.
    source : str
        Name of the set.
    facts : Facts
        What the labels say of the whole picture.
    region : tuple of int, optional
        (x, y, width, height) in level-0 pixels; None for the whole picture.
    """

    rng: Random
    split: Split
    image: Files
    source: str
    facts: Facts = NOTHING
    region: Place | None = None

    def ask(
        self,
        phrasings: Phrasings,
        name: str = "",
        *,
        topic: str,
        task: TaskName = "vqa",
        choices: Sequence[str] = (),
        answer: str = "",
        boxes: Sequence[Area] = (),
        shuffled: bool = False,
        abstaining: bool = False,
    ) -> Sample:
        """One question.

        Parameters
        ----------
        phrasings : Phrasings
        name : str
            What the phrasing is about, where it leaves that open.
        topic, task, choices, answer, boxes
            See `Sample`.
        shuffled : bool
            Offer the choices in a random order.
        abstaining : bool
            Offer "cannot tell" as well, at times.
        """
        question, phrasing = _draw_phrasing(self.rng, phrasings, self.split, name)
        offered = tuple(choices)
        if shuffled:
            offered = tuple(self.rng.sample(offered, len(offered)))
        if abstaining and self.rng.random() < ABSTAINING:
            offered = (*offered, CANNOT_TELL)
        return Sample(
            image=self.image,
            region=self.region,
            facts=self.facts,
            source=self.source,
            task=task,
            question=question,
            phrasing=phrasing,
            choices=offered,
            answer=answer,
            boxes=tuple(boxes),
            topic=topic,
        )

    def boxes(self, names: Sequence[str], boxes: Sequence[Area], topic: str = "") -> Sample:
        """Where everything of one or several names (in the singular) lies; level-0 pixels."""
        named = " and ".join(names)
        topic = topic or f"boxes of {named}"
        return self.ask(FIND, named, topic=topic, task="detection", choices=names, boxes=boxes)

    def number(self, names: str, number: int, topic: str = "") -> Sample:
        """How many things of a name (in the plural) there are."""
        return self.ask(COUNT, names, topic=topic or f"number of {names}", answer=str(number))

    def presence(
        self, names: str, present: bool, topic: str = "", phrasings: Phrasings = PRESENCE
    ) -> Sample:
        """Whether there is anything of a name (in the plural)."""
        return self.ask(
            phrasings,
            names,
            topic=topic or f"presence of {names}",
            choices=YES_NO,
            answer=YES_NO[0] if present else YES_NO[1],
            abstaining=True,
        )

    def cannot_tell(self, subject: Subject) -> Iterator[Sample]:
        """Now and then one question about another subject than the picture's.

        Parameters
        ----------
        subject : {"lymph", "lung", "blood", "nuclei"}
            What the picture shows.
        """
        if self.rng.random() >= ABSTAINING:
            return
        others: tuple[Subject, ...] = ("lymph", "lung", "blood")
        about = self.rng.choice([other for other in others if other != subject])
        if about == "lymph":
            choices = (*YES_NO, CANNOT_TELL)
            yield self.ask(TUMOUR_PRESENT, topic=CANNOT_TELL, choices=choices, answer=CANNOT_TELL)
        elif about == "lung":
            yield self.ask(
                LUNG_KIND,
                topic=CANNOT_TELL,
                task="subtyping",
                choices=(*LUNG_KINDS, CANNOT_TELL),
                answer=CANNOT_TELL,
                shuffled=True,
            )
        else:
            name = self.rng.choice(CELL_KINDS)
            yield self.ask(COUNT, name, topic=CANNOT_TELL, answer=CANNOT_TELL)


def ask_label(
    file: Path,
    question: str,
    labels: tuple[str, ...],
    label: str,
    source: str,
    topic: str,
    draw: Draw,
    region: Place | None = None,
) -> Iterator[Sample]:
    """Which of all labels of a set fits, in the same words for each picture; a set's `Ask`.

    Parameters
    ----------
    file : Path
    question : str
    labels : tuple of str
        The choices.
    label : str
        The right one.
    source, topic : str
        Of the sample.
    draw : Draw
        Not needed.
    region : tuple of int, optional
        (x, y, width, height) in level-0 pixels; None for the whole picture.
    """
    yield Sample(
        image=str(file),
        region=region,
        task="subtyping",
        question=question,
        choices=labels,
        answer=label,
        source=source,
        topic=topic,
    )


def open_question(
    image: str, question: str, answer: str, source: str, closed: bool = False
) -> Sample:
    """A question that a set brings, with its answer; yes and no become choices.

    Parameters
    ----------
    image, question, answer : str
    source : str
        Name of the set.
    closed : bool
        The set calls it a question of yes or no: then a first word of yes or no is the answer,
        and what follows it is left out.
    """
    first = answer.replace(",", " ").replace(".", " ").split(maxsplit=1)
    short = first[0].lower() if closed and first else answer.strip().rstrip(".").lower()
    decided = short in YES_NO
    return Sample(
        image=image,
        task="vqa",
        question=question.strip(),
        choices=YES_NO if decided else (),
        answer=short if decided else answer.strip(),
        source=source,
        topic=f"{source}: {'yes or no' if decided else 'open'}",
    )


def _draw_phrasing(
    rng: Random, phrasings: Phrasings, split: Split, name: str = ""
) -> tuple[str, Phrasing]:
    """Choose a phrasing and fill in a name.

    Parameters
    ----------
    rng : random.Random
    phrasings : Phrasings
    split : {"train", "val", "test"}
        Half of the questions of ``test`` are put in a held-out phrasing, the others never.
    name : str
        What stands in place of ``{}``.

    Returns
    -------
    tuple of (str, {"trained", "held_out"})
    """
    if split == "test" and rng.random() < HELD_OUT_SHARE:
        return rng.choice(phrasings.held_out).format(name), "held_out"
    return rng.choice(phrasings.trained).format(name), "trained"
