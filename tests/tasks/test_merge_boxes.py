from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from napari_pathreason.geometry import Box, Region
from napari_pathreason.tasks import merge_boxes
from napari_pathreason.types import Detection

WIDTH, HEIGHT = 1500, 900


def grid(width, height, step):
    """Windows of a size at every step, the last moved inwards."""
    return [
        Region(x, y, min(width, WIDTH), min(height, HEIGHT))
        for y in starts(HEIGHT, height, step)
        for x in starts(WIDTH, width, step)
    ]


def starts(length, side, step):
    last = max(0, length - side)
    return [*range(0, last, max(1, int(side * step))), last]


def touching(columns, rows):
    """Windows that share borders and nothing else."""
    across = [WIDTH * n // columns for n in range(columns + 1)]
    down = [HEIGHT * n // rows for n in range(rows + 1)]
    return [
        Region(x1, y1, x2 - x1, y2 - y1) for y1, y2 in pairwise(down) for x1, x2 in pairwise(across)
    ]


def part_of(box, region):
    x1, y1, x2, y2 = box.corners
    left, top, right, bottom = region.box.corners
    x1, y1, x2, y2 = max(x1, left), max(y1, top), min(x2, right), min(y2, bottom)
    return Box(x1, y1, x2 - x1, y2 - y1) if x1 < x2 and y1 < y2 else None


def views_of(windows, boxes, label="tumour"):
    """What a performer that makes no mistake boxes: of each thing the part in the window."""
    return [
        (window, [Detection(label, part) for box in boxes if (part := part_of(box, window))])
        for window in windows
    ]


def corners(merged):
    return sorted(one.detection.box.corners for one in merged)


def one(x, y, w, h, confidence=None, label="cell"):
    return [Detection(label, Box(x, y, w, h), confidence)]


@st.composite
def things(draw, most=155):
    """Boxes well apart from each other, at most one in each field of 300 px."""
    boxes = []
    for x in range(0, WIDTH, 300):
        for y in range(0, HEIGHT, 300):
            if draw(st.booleans()):
                left, top = x + draw(st.integers(1, 120)), y + draw(st.integers(1, 120))
                size = st.integers(5, most)
                boxes.append(Box(left, top, draw(size), draw(size)))
    return boxes


WINDOWS = st.one_of(
    st.builds(touching, st.integers(1, 6), st.integers(1, 5)),
    st.builds(grid, st.integers(200, 600), st.integers(200, 600), st.sampled_from((0.5, 0.7))),
)


@given(things(), WINDOWS, st.data())
def test_windows_of_any_place_and_size_give_the_boxes_of_one_view(boxes, windows, data):
    """Also where a smaller window looks again at a part of another."""
    for _ in range(data.draw(st.integers(0, 3))):
        w, h = data.draw(st.integers(50, 250)), data.draw(st.integers(50, 250))
        x, y = data.draw(st.integers(0, WIDTH - w)), data.draw(st.integers(0, HEIGHT - h))
        windows = [*windows, Region(x, y, w, h)]
    merged = merge_boxes(views_of(windows, boxes))
    assert corners(merged) == sorted(box.corners for box in boxes)
    for found in merged:
        saw = [i for i, w in enumerate(windows) if part_of(found.detection.box, w)]
        assert list(found.parts) == saw


@given(things(most=80), st.integers(200, 600), st.integers(200, 600))
def test_small_things_that_lie_whole_in_one_window_are_found_once_and_whole(boxes, width, height):
    windows = grid(width, height, 0.5)
    merged = merge_boxes(views_of(windows, boxes, "Cell"), apart=("cell",))
    assert corners(merged) == sorted(box.corners for box in boxes)


@given(st.data())
def test_of_two_windows_a_small_thing_has_one_box_each(data):
    windows = [Region(0, 0, 100, 100), Region(50, 0, 100, 100), Region(50, 50, 100, 100)]
    views, count = [], 0
    for window in windows:
        own = []
        for _ in range(data.draw(st.integers(0, 4))):
            x, y = data.draw(st.integers(0, 70)), data.draw(st.integers(0, 70))
            own += one(window.x + x, window.y + y, 30, 30)
        views.append((window, own))
        count += len(own)
    merged = merge_boxes(views, apart=("cell",))
    assert sum(len(found.parts) for found in merged) == count
    boxes = [box.box.corners for _, own in views for box in own]
    assert all(found.detection.box.corners in boxes for found in merged)


def test_what_a_border_cuts_is_one_thing_but_for_small_things():
    left, right = Region(0, 0, 100, 100), Region(80, 0, 100, 100)
    views = [(left, one(60, 0, 40, 40)), (right, one(80, 30, 40, 40))]
    assert corners(merge_boxes(views)) == [(60, 0, 120, 70)]
    assert len(merge_boxes(views, apart=("CELL",))) == 2


def test_windows_that_touch_join_what_their_border_cuts():
    left, right = Region(0, 0, 100, 100), Region(100, 0, 100, 100)
    views = [(left, one(50, 10, 49, 40)), (right, one(101, 20, 60, 40))]
    assert corners(merge_boxes(views)) == [(50, 10, 161, 60)]
    assert len(merge_boxes(views, apart=("cell",))) == 2
    away = [(left, one(50, 10, 40, 40)), (right, one(101, 20, 60, 40))]
    assert len(merge_boxes(away)) == 2, "the left one ends before the border"
    beside = [(left, one(50, 10, 50, 40)), (right, one(100, 60, 60, 40))]
    assert len(merge_boxes(beside)) == 2
    corner = [(left, one(50, 50, 50, 50)), (Region(100, 100, 100, 100), one(100, 100, 50, 50))]
    assert len(merge_boxes(corner)) == 2


def test_a_window_across_the_border_decides():
    left, right = Region(0, 0, 100, 100), Region(100, 0, 100, 100)
    views = [(left, one(50, 10, 50, 40)), (right, one(100, 10, 60, 40))]
    across = Region(50, 0, 100, 100)
    assert len(merge_boxes([*views, (across, [])])) == 2
    assert corners(merge_boxes([*views, (across, one(50, 10, 100, 40))])) == [(50, 10, 160, 50)]


def test_the_box_of_the_window_that_has_a_small_thing_whole_is_kept():
    left, right = Region(0, 0, 100, 100), Region(70, 0, 100, 100)
    views = [(left, one(80, 10, 20, 30, 0.9)), (right, one(81, 11, 28, 30, 0.4))]
    (merged,) = merge_boxes(views, apart=("cell",))
    assert merged.detection == Detection("cell", Box(81, 11, 28, 30), 0.9)
    assert merged.parts == (0, 1)
    assert merged.confident == (0,)
    assert corners(merge_boxes(views)) == [(80, 10, 109, 41)]


@pytest.mark.parametrize("apart", [(), ("cell",)])
def test_a_finer_window_has_the_better_word(apart):
    coarse, zoom = Region(0, 0, 400, 400), Region(100, 100, 100, 100)
    first = one(120, 120, 60, 60, 0.8) + one(300, 300, 50, 50, 0.7)
    found = merge_boxes([(coarse, first), (zoom, one(130, 131, 30, 32, 0.5))], apart, (1, 2))
    assert [box.detection for box in found] == [
        Detection("cell", Box(130, 131, 30, 32), 0.8),
        Detection("cell", Box(300, 300, 50, 50), 0.7),
    ]
    (rest,) = merge_boxes([(coarse, first), (zoom, [])], apart, (1, 2))
    assert rest.detection.box == Box(300, 300, 50, 50)
    assert len(merge_boxes([(coarse, first), (zoom, [])], apart)) == 2


def test_a_finer_window_that_cuts_a_thing_does_not_cut_its_box():
    coarse, zoom = Region(0, 0, 400, 400), Region(100, 100, 100, 100)
    views = [(coarse, one(50, 120, 120, 40)), (zoom, one(100, 121, 68, 40))]
    assert corners(merge_boxes(views, (), (0, 1))) == [(50, 120, 170, 161)]


def test_boxes_come_from_top_to_bottom_and_then_from_left_to_right():
    window = Region(0, 0, 100, 100)
    boxes = [Detection("b", Box(5, 50, 5, 5)), *one(50, 5, 5, 5), *one(5, 5, 5, 5)]
    found = merge_boxes([(window, boxes)])
    assert [box.detection.box.corners[:2] for box in found] == [(5, 5), (50, 5), (5, 50)]
    assert merge_boxes([]) == merge_boxes([(window, [])]) == []
    with pytest.raises(ValueError, match="2 ranks for 1 windows"):
        merge_boxes([(window, boxes)], ranks=(1, 2))
