"""What a first look at small things earns: that it points where a zoom finds them.

An answer that a zoom will mend (`engine._zoom`) is scored as a perfect one would leave
it: a reward for the first look's own sides would teach what is thrown away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from napari_pathreason.engine import VIEW_TOKENS, answer_of, refine, to_detections, windows
from napari_pathreason.geometry import Box, Region
from napari_pathreason.training.samples import View
from napari_pathreason.types import Answer, AnswerBox


@dataclass(frozen=True, slots=True)
class Pointing:
    """Labels that a model looks at again (`Metadata.zoom_labels`), and its cell in pixels."""

    labels: tuple[str, ...]
    token_px: int

    def mended(self, answer: Answer, truth: Sequence[AnswerBox], view: View) -> Answer:
        """The answer after zooms that tell true sides, boxes 0 to 1000 of the region.

        A find takes the sides of the true thing nearest to it that its window holds whole. Where
        the window holds none, or what another find took, the find stays and costs what a false
        one does: a model that is not punished for finds makes many.

        Parameters
        ----------
        answer : Answer
        truth : sequence of AnswerBox
            0 to 1000 of the region, as the answer's.
        view : View
        """
        columns, rows = view.grid
        region = Region(0, 0, *view.size)
        detections = list(to_detections(answer.boxes, region, view.size, "relative"))
        if len(detections) < len(answer.boxes):  # one without an area has no place to look at
            return answer
        things = to_detections(truth, region, view.size, "relative")
        views = windows(
            detections, region, self.labels, self.token_px, columns * rows // VIEW_TOKENS
        )
        if not views:  # an answer in words too: it has no finds, and stays as it was written
            return answer
        for place, window in views.items():
            held = [thing for thing in things if _holds(window.box, thing.box)]
            detections[place] = refine(detections[place], held) or detections[place]
        return answer_of(answer, detections, region, view.size, "relative")


def _holds(window: Box, thing: Box) -> bool:
    (x1, y1, x2, y2), (left, top, right, bottom) = thing.corners, window.corners
    return left <= x1 and top <= y1 and x2 <= right and y2 <= bottom
