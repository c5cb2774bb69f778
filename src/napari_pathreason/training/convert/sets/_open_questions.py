"""Free questions of published sets, in our form."""

from __future__ import annotations

from napari_pathreason.training.samples import Sample

YES_NO = ("yes", "no")


def open_question(
    image: str, question: str, answer: str, source: str, closed: bool = False
) -> Sample:
    """A question with its answer; yes and no become choices.

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
