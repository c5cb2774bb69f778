"""Questions about one picture, made of what its labels say.

Sets that carry labels and no questions are asked in phrasings of this project, which vary with a
random generator: the same seed asks the same. Now and then a picture is asked what it cannot
answer, and answerable questions offer that choice too, so that a model learns to say so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from napari_pathreason.training.samples import Area, Facts, Files, Sample, Split
from napari_pathreason.types import TaskName

from ._phrasings import COUNT, FIND, LUNG_KIND, PRESENCE, TUMOUR_PRESENT, Phrasings, draw_phrasing

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
    region: tuple[int, int, int, int] | None = None

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
        question, phrasing = draw_phrasing(self.rng, phrasings, self.split, name)
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
