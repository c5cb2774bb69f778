import pytest
from hypothesis import given, strategies as st

from napari_pathreason.errors import RegionError
from napari_pathreason.geometry import Box, Region, VisualFrame, iou

places = st.integers(-100_000, 100_000)
sides = st.integers(1, 100_000)
regions = st.builds(Region, places, places, sides, sides)
sizes = st.tuples(st.integers(1, 4096), st.integers(1, 4096))
numbers = st.floats(-1e4, 1e4)
boxes = st.builds(Box, numbers, numbers, st.floats(0.01, 1e4), st.floats(0.01, 1e4))


@given(regions, sizes, boxes)
def test_a_box_comes_back_through_the_frame(region, size, box):
    frame = VisualFrame(region, size)
    back = frame.to_picture(frame.to_slide(box))
    scale = max(size[0] / region.width, size[1] / region.height, 1)
    slack = 1e-9 * scale * 1e6
    for value, true in zip(back.corners, box.corners, strict=True):
        assert value == pytest.approx(true, abs=slack)


@given(regions, sizes)
def test_the_whole_picture_is_the_whole_region(region, size):
    frame = VisualFrame(region, size)
    placed = frame.to_slide(Box(0, 0, *size))
    assert placed.corners == pytest.approx(region.box.corners)
    assert frame.to_picture(region.box).corners == pytest.approx((0, 0, *size), abs=1e-6)


def test_axes_are_not_mixed_up():
    frame = VisualFrame(Region(100, 200, 4000, 1000), (400, 50))
    assert frame.to_slide(Box(10, 20, 30, 5)) == Box(200, 600, 300, 100)


near = st.builds(Region, st.integers(-50, 50), st.integers(-50, 50), *[st.integers(1, 80)] * 2)


@given(near, near)
def test_what_two_regions_share_is_what_their_boxes_share(one, other):
    part = one.within(other)
    assert part == other.within(one)
    if part is None:
        assert iou(one.box, other.box) == 0
        return
    assert part.within(one) == part.within(other) == part
    union = one.box.area + other.box.area - part.box.area
    assert iou(one.box, other.box) == pytest.approx(part.box.area / union)


@given(boxes, boxes)
def test_iou_is_symmetric_and_bounded(a, b):
    assert iou(a, b) == iou(b, a)
    assert 0 <= iou(a, b) <= 1 + 1e-9


@given(boxes)
def test_iou_with_itself_is_one(box):
    assert iou(box, box) == pytest.approx(1, rel=1e-3)


@given(boxes, st.floats(-100, 100), st.floats(-100, 100))
def test_iou_does_not_change_when_both_move(box, dx, dy):
    other = Box(box.x + box.w / 3, box.y, box.w, box.h)
    before = iou(box, other)
    moved = (Box(b.x + dx, b.y + dy, b.w, b.h) for b in (box, other))
    assert iou(*moved) == pytest.approx(before, abs=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "overlap"),
    [
        (Box(0, 0, 10, 10), Box(5, 0, 10, 10), 1 / 3),
        (Box(0, 0, 10, 10), Box(10, 0, 10, 10), 0),
        (Box(0, 0, 4, 4), Box(1, 1, 2, 2), 0.25),
        (Box(0, 0, 0, 0), Box(0, 0, 0, 0), 0),
    ],
)
def test_iou_of_worked_examples(a, b, overlap):
    assert iou(a, b) == pytest.approx(overlap)


@given(numbers, numbers, numbers, numbers)
def test_corners_come_in_any_order(x1, y1, x2, y2):
    assert Box.from_corners(x1, y1, x2, y2) == Box.from_corners(x2, y2, x1, y1)
    assert Box.from_corners(x1, y1, x2, y2).w >= 0


@given(regions, sides, sides)
def test_a_clipped_region_lies_in_both(region, width, height):
    try:
        part = region.clipped(width, height)
    except RegionError:
        assert iou(region.box, Box(0, 0, width, height)) == 0
        return
    left, top, right, bottom = part.box.corners
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    x1, y1, x2, y2 = region.box.corners
    assert x1 <= left < right <= x2
    assert y1 <= top < bottom <= y2
    assert part.clipped(width, height) == part


@pytest.mark.parametrize("region", [Region(0, 0, 0, 5), Region(0, 0, 5, -1)])
def test_an_empty_region_is_refused(region):
    with pytest.raises(RegionError, match="above zero"):
        region.clipped(100, 100)
