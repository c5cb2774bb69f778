from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from napari_pathreason.geometry import Region
from napari_pathreason.types import Result
from napari_pathreason.viewer import planned_line, totals_line


def test_sums_of_a_session(make_result: Callable[..., Result]) -> None:
    result = replace(make_result(Region(0, 0, 64, 64)), seconds={"read": 0.5, "generate": 1.0})
    assert totals_line([]) == "Session: no question yet."
    expected = "Session: 2 questions, 124 visual tokens, 1,924 saved, 3.0 s."
    assert totals_line([result, result]) == expected
    # the second goes on from the first, whose tokens it counts as well
    expected = "Session: 2 questions, 62 visual tokens, 962 saved, 3.0 s."
    assert totals_line([result, result], [result]) == expected
    assert planned_line(result) == "Last answer: 64 planned, 60 of 1,024 realised."
    whole = replace(result, tokens=replace(result.tokens, requested=None))
    assert "native planned" in planned_line(whole)
