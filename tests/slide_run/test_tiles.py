from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from napari_pathreason import QueryError
from napari_pathreason.slide_run import RunSettings, lay_tiles, tile_side

LENGTHS = st.integers(1, 5000)
SIDES = st.integers(10, 700)
OVERLAPS = st.floats(0.1, 0.5)


def starts(length, side, overlap):
    """Where the tiles of one row begin, and of one column."""
    row = [tile.region.x for tile in lay_tiles(length, 1, (side, 1), overlap)]
    column = [tile.region.y for tile in lay_tiles(1, length, (1, side), overlap)]
    assert row == column
    return row


@given(LENGTHS, SIDES, OVERLAPS)
def test_tiles_cover_an_axis_and_have_the_overlap_in_common(length, side, overlap):
    begins = starts(length, side, overlap)
    assert begins[0] == 0
    assert begins[-1] == max(0, length - side)
    for one, two in pairwise(begins):
        assert one < two
        assert one + side - two >= overlap * side - 1e-6


@given(LENGTHS, SIDES, OVERLAPS)
def test_no_tile_more_than_needed(length, side, overlap):
    begins = starts(length, side, overlap)
    stride = int(side * (1 - overlap))
    assert (len(begins) - 2) * stride < max(1, length - side)


@given(LENGTHS, SIDES, OVERLAPS)
def test_tiles_further_apart_share_at_most_a_line(length, side, overlap):
    begins = starts(length, side, overlap)
    for one, third in zip(begins, begins[3:], strict=False):
        assert one + side - third <= 1


@given(LENGTHS, LENGTHS, st.tuples(SIDES, SIDES), OVERLAPS)
def test_all_tiles_are_equal_and_on_the_slide(width, height, side, overlap):
    tiles = lay_tiles(width, max(1, height // 5), side, overlap)
    assert [tile.index for tile in tiles] == list(range(len(tiles)))
    assert len({(tile.region.width, tile.region.height) for tile in tiles}) == 1
    for tile in tiles:
        assert tile.region.clipped(width, max(1, height // 5)) == tile.region


def test_a_side_follows_from_both_resolutions():
    assert tile_side(384, 1.0, (0.5, 0.25)) == (768, 1536)
    with pytest.raises(QueryError, match="--slide-mpp"):
        tile_side(384, 1.0, None)


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"options": ()}, "lesion"),
        ({"options": (" ",)}, "lesion"),
        ({"options": ("spot", "Spot ")}, "lesions 'spot' and 'Spot ' are the same"),
        ({"mpp": 0}, "mpp"),
        ({"mpp": float("nan")}, "mpp"),
        ({"tile": 0}, "tile"),
        ({"overlap": 0}, "joined where tiles overlap"),
        ({"overlap": 0.6}, "overlap"),
        ({"min_tissue": 2}, "least tissue"),
        ({"batch": 0}, "batch"),
        ({"budget": 0}, "budget"),
    ],
)
def test_wrong_settings_are_one_line(wrong, word):
    with pytest.raises(QueryError, match=word) as error:
        RunSettings(**wrong).check()
    assert "\n" not in str(error.value)


def test_right_settings_pass():
    RunSettings().check()
    assert RunSettings(options=("a", "b")).query.options == ("a", "b")
