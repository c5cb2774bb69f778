"""A tile classifier on a grid: what it is asked of, and the boxes that it tells."""

import json

import numpy as np
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

from napari_pathreason.training import read_samples
from napari_pathreason.training.evaluation import (
    Scorer,
    boxes_around,
    grid_items,
    grid_of,
    tile_labels,
)
from napari_pathreason.training.samples import Area, Pictures, Sample

GRID = (("a.png", "b.png"), ("c.png", "d.png"))
FIELD = Sample(image=GRID, task="detection", question="Where?", choices=("tumour",))


def test_only_boxes_of_one_thing_on_whole_tiles_have_a_grid():
    assert grid_of(FIELD) == GRID
    assert grid_of(FIELD.model_copy(update={"task": "vqa"})) is None
    assert grid_of(FIELD.model_copy(update={"choices": ("tumour", "vessel")})) is None
    assert grid_of(FIELD.model_copy(update={"image": "a.png"})) is None
    assert grid_of(FIELD.model_copy(update={"image": (("a.png#xywh=0,0,9,9",),)})) is None


def test_labels_of_tiles_are_those_of_their_single_pictures(converted):
    """The label of a tile that lies in a field is what the question about it alone says."""
    samples = read_samples(converted / "train.jsonl")
    labels = tile_labels(samples, Pictures(converted))
    alone = {s.image: bool(s.facts.areas) for s in samples if s.source == "lymph_node"}
    assert set(labels.values()) == {True, False}
    assert labels == {name: alone[name] for name in labels}


@given(arrays(np.bool_, st.tuples(st.integers(1, 6), st.integers(1, 6))))
def test_boxes_hold_every_shown_tile_and_no_more(shown):
    boxes = [box["bbox_2d"] for box in boxes_around(shown, "tumour")]
    rows, columns = shown.shape
    held = np.zeros_like(shown)
    for left, top, right, bottom in boxes:
        across = slice(round(left * columns / 1000), round(right * columns / 1000))
        down = slice(round(top * rows / 1000), round(bottom * rows / 1000))
        assert shown[down, across].any(axis=0).all()
        assert shown[down, across].any(axis=1).all()
        held[down, across] = True
    assert (held | ~shown).all()
    assert len(boxes) <= shown.sum()


def test_a_judge_that_knows_the_labels_frees_fields_and_finds_single_lesions(converted):
    asked, pictures = read_samples(converted / "test.jsonl"), Pictures(converted)
    labels = tile_labels(asked, pictures)
    scorer = Scorer(asked, pictures, 32)
    items = list(grid_items(scorer, {"tumour": labels.__getitem__}))
    assert [item.index for item in items] == [n for n, s in enumerate(asked) if grid_of(s)]
    assert items
    assert np.mean([item.score for item in items]) > 0.99  # sides are told in thousandths
    assert list(grid_items(scorer, {})) == []


def test_boxes_are_written_as_an_answer_is():
    (box,) = boxes_around(np.array([[False, True], [False, True]]), "tumour")
    assert json.dumps(box) == '{"bbox_2d": [500, 0, 1000, 1000], "label": "tumour"}'
    assert Area(label="tumour", corners=tuple(box["bbox_2d"])).corners[0] == 500
