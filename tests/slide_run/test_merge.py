import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st

from napari_pathreason.geometry import Box
from napari_pathreason.slide_run import TileRecord, lay_tiles, lesions_of, merge
from napari_pathreason.types import Detection, Metadata

WIDTH, HEIGHT = 1500, 900


def clipped(box, region):
    x1, y1, x2, y2 = box.corners
    left, top, right, bottom = region.box.corners
    x1, y1, x2, y2 = max(x1, left), max(y1, top), min(x2, right), min(y2, bottom)
    return Box(x1, y1, x2 - x1, y2 - y1) if x1 < x2 and y1 < y2 else None


def seen(tiles, boxes):
    """What a performer that makes no mistake finds: of each box the part in the tile."""
    return [
        (tile, [Detection("tumour", part) for box in boxes if (part := clipped(box, tile.region))])
        for tile in tiles
    ]


@st.composite
def lesions(draw):
    """Boxes on the slide, at most one in each field of 300 px, some as large as four fields."""
    boxes = []
    for x in range(0, WIDTH, 300):
        for y in range(0, HEIGHT, 300):
            if draw(st.booleans()):
                left, top = x + draw(st.integers(1, 140)), y + draw(st.integers(1, 140))
                boxes.append(Box(left, top, draw(st.integers(5, 155)), draw(st.integers(5, 155))))
    if draw(st.booleans()):
        boxes = [box for box in boxes if box.x > 700]
        boxes.append(Box(10, 20, draw(st.integers(300, 680)), draw(st.integers(300, 860))))
    return boxes


@given(lesions(), st.integers(60, 800), st.floats(0.1, 0.5), st.floats(0.1, 0.5))
def test_shifted_tilings_agree_on_the_lesions(boxes, side, overlap, other):
    """Also those that lie on a seam, or are larger than a tile."""
    wanted = sorted(box.corners for box in boxes)
    for tiling in (
        lay_tiles(WIDTH, HEIGHT, (side, side), overlap),
        lay_tiles(WIDTH, HEIGHT, (side, 2 * side), other),
    ):
        found = merge(seen(tiling, boxes))
        assert sorted(one.detection.box.corners for one in found) == wanted


@given(st.data())
def test_lesions_are_the_chains_of_boxes_that_any_two_tiles_share(data):
    """Boxes at random, as of a model that errs: what joins two joins all that hang together."""
    tiles = lay_tiles(900, 700, (300, 300), 0.3)
    parts = []
    for _ in range(data.draw(st.integers(0, 12))):
        tile = data.draw(st.sampled_from(tiles))
        x, y = (data.draw(st.integers(0, 200)) for _ in "xy")
        w, h = (data.draw(st.integers(1, 100)) for _ in "wh")
        box = Box(tile.region.x + x, tile.region.y + y, w, h)
        parts.append((tile, Detection(data.draw(st.sampled_from("ab")), box)))
    chains = [{i} for i in range(len(parts))]
    for i, one in enumerate(parts):
        for j, other in enumerate(parts[:i]):
            if len(merge((tile, [box]) for tile, box in (one, other))) == 1:
                a, b = (next(chain for chain in chains if k in chain) for k in (i, j))
                if a is not b:
                    a |= b
                    chains.remove(b)

    def bounds(chain):
        corners = np.array([parts[i][1].box.corners for i in chain])
        return (parts[min(chain)][1].label, *corners[:, :2].min(0), *corners[:, 2:].max(0))

    seen_by = {tile: [box for t, box in parts if t is tile] for tile, _ in parts}
    lesions = merge(seen_by.items())
    assert sorted((one.detection.label, *one.detection.box.corners) for one in lesions) == sorted(
        map(bounds, chains)
    )
    tiles_of = sorted(tuple(sorted({parts[i][0].index for i in chain})) for chain in chains)
    assert sorted(one.tiles for one in lesions) == tiles_of


def test_the_order_of_tiles_does_not_matter():
    tiles = lay_tiles(WIDTH, HEIGHT, (300, 300), 0.2)
    pairs = seen(tiles, [Box(100, 100, 500, 40), Box(700, 300, 30, 500)])
    shuffled = random.Random(0).sample(pairs, len(pairs))
    assert merge(shuffled) == merge(pairs)


def test_a_slanting_lesion_is_one():
    """Of a thin diagonal the boxes of two tiles share only a corner of the strip."""
    tiles = lay_tiles(1000, 1000, (600, 1000), 0.2)
    assert [tile.region.x for tile in tiles] == [0, 400]
    parts = [(tiles[0], Box(0, 0, 600, 600)), (tiles[1], Box(400, 400, 600, 600))]
    (lesion,) = merge([(tile, [Detection("tumour", box)]) for tile, box in parts])
    assert lesion.detection.box == Box(0, 0, 1000, 1000)
    assert lesion.tiles == (0, 1)


def test_what_the_neighbour_saw_apart_stays_apart():
    tiles = lay_tiles(1000, 500, (600, 500), 0.2)
    one, two = Box(300, 100, 150, 100), Box(460, 100, 100, 100)
    found = merge([(tiles[0], [Detection("t", one)]), (tiles[1], [Detection("t", two)])])
    assert [lesion.detection.box for lesion in found] == [one, two]


def test_names_are_not_mixed():
    tiles = lay_tiles(1000, 500, (600, 500), 0.2)
    box = Box(420, 100, 100, 100)
    found = merge([(tiles[0], [Detection("a", box)]), (tiles[1], [Detection("b", box)])])
    assert [lesion.detection.label for lesion in found] == ["a", "b"]


@pytest.mark.parametrize(
    ("told", "kept"), [((0.2, 0.7), 0.7), ((None, 0.4), 0.4), ((None, None), None)]
)
def test_the_highest_confidence_is_kept(told, kept):
    tiles = lay_tiles(1000, 500, (600, 500), 0.2)
    box = Box(420, 100, 100, 100)
    pairs = [(tile, [Detection("t", box, c)]) for tile, c in zip(tiles, told, strict=True)]
    (lesion,) = merge(pairs)
    assert lesion.detection.confidence == kept


@pytest.mark.parametrize("middle", ["unreadable", "no reply", "nothing there"])
def test_a_tile_that_nobody_knows_did_not_look_across_a_line(run, spots, middle):
    """Two tiles that touch in a line saw the halves of one thing; a third lies across it."""
    plan = run(settings=replace(spots.settings, tile=200, overlap=0.5))[0].plan
    records = []
    for tile in plan.tiles:
        x, y = tile.region.x, tile.region.y
        if x == 300:  # across the line, in every row
            answer = "none found" if middle == "nothing there" else ""
            record = TileRecord(tile.index, unreadable=middle == "unreadable", answer=answer)
        elif y == 100 and x in (200, 400):
            box = Box(350, 150, 50, 60) if x == 200 else Box(400, 150, 50, 60)
            record = TileRecord(tile.index, answer="1 spot", detections=(Detection("spot", box),))
        else:
            record = TileRecord(tile.index, answer="none found")
        records.append(record)
    found = [one.detection.box for one in lesions_of(plan, records)]
    if middle == "nothing there":
        assert found == [Box(350, 150, 50, 60), Box(400, 150, 50, 60)]
    else:
        assert found == [Box(350, 150, 100, 60)]


def test_small_things_are_not_joined_by_a_cut(run, spots, tmp_path):
    """As where a region is read by windows: of two that a border cuts one is kept, whole."""

    class Small(spots.finder):
        info = replace(
            spots.finder.info, metadata=Metadata(labels=("spot",), zoom_labels=("spot",))
        )

    spread = run(tmp_path / "spread", spots.finder())[-1].outcome
    apart = run(tmp_path / "apart", Small())[-1].outcome
    cut = Box(500, 300, 200, 30)
    assert cut in [one.detection.box for one in spread.lesions]
    assert cut not in [one.detection.box for one in apart.lesions]
