"""Questions about a picture whose objects are boxed: where they lie, how many, whether any.

What masks, COCO, Pascal VOC and YOLO have in common. Names of classes are a lab's own, so that no
plural is made of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_pathreason.training.samples import Area, Facts, Sample

from ._layout import Draw, LeftOut
from ._questions import YES_NO, Phrasings, Questions

MOST_BOXES = 30
"""Objects of a picture up to which all of them are asked to be boxed: a list of more is longer than
a reply may be. They are counted all the same."""
CROWDED = f"pictures hold more than {MOST_BOXES} objects, whose boxes are not asked for"
NO_AREA = "boxes without area were left out"

HOW_MANY = Phrasings(
    (
        "How many objects of the class {} are there?",
        "How many times does {} appear in this picture?",
        "What is the number of {}?",
        "Count the objects of the class {}.",
    ),
    ("How many {} does this picture contain?", "Give the number of {} here."),
)
IS_THERE_ANY = Phrasings(
    (
        "Is there any {} in this picture?",
        "Do you see any {} here?",
        "Does this region contain any {}?",
        "Is {} present?",
    ),
    ("Does this picture show any {}?", "Is any {} present here?"),
)

ReadObjects = Callable[[], Sequence[Area]]
"""Reads the boxes of one picture, level-0 pixels."""


@dataclass(frozen=True, slots=True)
class AskObjects:
    """The questions about one picture with objects; a set's `Ask`.

    Parameters
    ----------
    file : Path
    names : tuple of str
        All classes of the set: one that has no object in a picture is absent from it.
    read : callable
    source : str
        Name of the set.
    left : LeftOut
        Counts what is not asked for.
    """

    file: Path
    names: tuple[str, ...]
    read: ReadObjects
    source: str
    left: LeftOut

    def __call__(self, draw: Draw) -> Iterator[Sample]:
        """Boxes of all classes together, then number and presence of each."""
        found = self.read()
        areas = [area for area in found if area.has_place]
        self.left.add(NO_AREA, self.file.name, len(found) - len(areas))
        areas.sort(key=lambda area: area.corners[1::-1])
        few = len(areas) <= MOST_BOXES
        facts = Facts(known=self.names, areas=tuple(areas)) if few else Facts()
        about = Questions(draw.rng, draw.split, str(self.file), self.source, facts)
        if few:
            yield about.boxes(self.names, areas, topic=f"{self.source}: boxes")
        else:
            self.left.add(CROWDED, self.file.name)
        for name in self.names:
            number = sum(area.label == name for area in areas)
            yield about.ask(
                HOW_MANY, name, topic=f"{self.source}: number of {name}", answer=str(number)
            )
            yield about.ask(
                IS_THERE_ANY,
                name,
                topic=f"{self.source}: presence of {name}",
                choices=YES_NO,
                answer=YES_NO[0] if number else YES_NO[1],
            )
