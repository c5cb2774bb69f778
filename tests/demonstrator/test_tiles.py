"""Composed fields: lesions are connected, keep apart and leave something that is none."""

from random import Random

from hypothesis import given, strategies as st

from demonstrator.sets.tiles import draw_grid, draw_lesions

seeds = st.integers(0, 10**6)


def _reach(tiles):
    """Tiles that can be walked to from one of them, by edges."""
    start = min(tiles)
    seen, rim = {start}, [start]
    while rim:
        x, y = rim.pop()
        for near in ((x - 1, y), (x + 1, y), (x, y - 1), (x, y + 1)):
            if near in tiles and near not in seen:
                seen.add(near)
                rim.append(near)
    return seen


@given(seeds, st.integers(2, 8), st.integers(2, 8))
def test_lesions_lie_inside_are_whole_and_do_not_touch(seed, columns, rows):
    lesions = draw_lesions(Random(seed), columns, rows)
    for lesion in lesions:
        assert lesion
        assert all(0 <= x < columns and 0 <= y < rows for x, y in lesion)
        assert _reach(lesion) == lesion
    if len(lesions) == 2:
        first, second = lesions
        assert min(max(abs(a - c), abs(b - d)) for a, b in first for c, d in second) > 1
    assert sum(map(len, lesions)) < columns * rows


def test_sizes_and_shapes_vary():
    rng = Random(0)
    drawn = [draw_lesions(rng, *draw_grid(rng)) for _ in range(400)]
    assert 0.3 < sum(not d for d in drawn) / len(drawn) < 0.5
    assert any(len(d) == 2 for d in drawn)
    assert any(len(lesion) == 1 for d in drawn for lesion in d)
    bent = 0
    for lesion in (lesion for d in drawn for lesion in d):
        xs, ys = {x for x, _ in lesion}, {y for _, y in lesion}
        bent += len(lesion) < len(xs) * len(ys)
    assert bent > 20
