from hypothesis import given, strategies as st

from napari_pathreason.engine import to_detections
from napari_pathreason.geometry import Box, Region
from napari_pathreason.types import AnswerBox

numbers = st.floats(-1e6, 1e6, allow_nan=False)
sides = st.integers(1, 10_000)


@given(numbers, numbers, numbers, numbers, sides, sides, st.sampled_from(["relative", "resized"]))
def test_boxes_never_leave_the_region(x1, y1, x2, y2, width, height, space):
    region = Region(-50, 70, width, height)
    for found in to_detections([AnswerBox("a", x1, y1, x2, y2)], region, (320, 640), space):
        left, top, right, bottom = found.box.corners
        slack = 1e-6 * max(width, height)
        assert -50 <= left < right <= -50 + width + slack
        assert 70 <= top < bottom <= 70 + height + slack


def test_the_two_box_spaces_agree():
    region, size = Region(100, 200, 4000, 1000), (640, 160)
    (relative,) = to_detections([AnswerBox("a", 250, 500, 750, 1000)], region, size, "relative")
    (resized,) = to_detections([AnswerBox("a", 160, 80, 480, 160)], region, size, "resized")
    assert relative == resized
    assert relative.box == Box(1100, 700, 2000, 500)


def test_what_lies_outside_is_clipped_or_dropped():
    region = Region(0, 0, 1000, 1000)
    boxes = [
        AnswerBox("half", -100, 0, 100, 100),
        AnswerBox("gone", 1200, 1200, 1300, 1300),
        AnswerBox("touching", 1000, 0, 1100, 100),
    ]
    (found,) = to_detections(boxes, region, (64, 64), "relative")
    assert found.label == "half"
    assert found.box == Box(0, 0, 100, 100)
