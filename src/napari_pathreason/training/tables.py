"""Tables of Markdown, whose cells may hold whatever a lab calls its classes.

Conversion, evaluation and a lab's page write tables with names out of other people's labels: a bar
would begin another column, and ``<`` a tag.
"""

from __future__ import annotations

from collections.abc import Sequence


def plain_markdown(text: str) -> str:
    """A text on one line without bars, which part columns, and without tags.

    Parameters
    ----------
    text : str
        Emphasis and code in it stay.
    """
    return " ".join(text.split()).replace("|", r"\|").replace("<", "&lt;")


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table of Markdown.

    Parameters
    ----------
    head : sequence of str
        Names of columns.
    lines : sequence of sequence of str
        Cells of each row.
    """
    cells = [[plain_markdown(cell) for cell in line] for line in (head, *lines)]
    first, *rest = (f"| {' | '.join(line)} |" for line in cells)
    return "\n".join([first, "|" + "---|" * len(head), *rest])
