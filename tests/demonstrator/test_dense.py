"""What each visual token is taught, worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from demonstrator.dense import (
    GroundedQuestion,
    Labels,
    box_targets,
    collate_dense,
    count_targets,
    coverage_targets,
    place_targets,
)
from napari_pathreason.models import NORMALISATION
from napari_pathreason.training.samples import Sample, TargetPiece, View
from napari_pathreason.types import ModelDims
from tests.support import byte_tokenizer

LABELS = Labels()


def _view(areas, grid=(4, 2), lesions=(), centres=(), known=("tumour",)):
    pixels = np.zeros((32 * grid[1], 32 * grid[0], 3), np.uint8)
    return View(pixels, grid, "", (), areas, lesions, centres, known, None, pixels.shape[1::-1])


def test_coverage_targets_follow_the_order_of_tokens():
    shares, known = coverage_targets(_view((("tumour", (0.75, 0.5, 1.0, 1.0)),)), LABELS.covered)
    assert shares.shape == (8, len(LABELS.covered))
    assert shares[:, 0].argmax() == 7
    assert known.tolist() == [name == "tumour" for name in LABELS.covered]


def test_each_token_of_a_box_is_taught_its_corners():
    small, large = (0.0, 0.0, 0.25, 0.5), (0.0, 0.0, 0.5, 1.0)
    corners, boxed = box_targets(_view((("tumour", large), ("tumour", small))), LABELS.boxed)
    third = pytest.approx(1 / 3)
    assert boxed.tolist() == [1.0, third, 0.0, 0.0, third, third, 0.0, 0.0]
    np.testing.assert_allclose(corners[0], small)
    np.testing.assert_allclose(corners[[1, 4, 5]], [large] * 3)


def test_a_box_smaller_than_a_token_still_has_one():
    _, boxed = box_targets(_view((("platelet", (0.51, 0.1, 0.55, 0.2)),)), LABELS.boxed)
    assert boxed.tolist() == [0.0, 0.0, 1.0, 0.0] + [0.0] * 4


def test_a_lesion_of_many_areas_teaches_its_bounding_box():
    pieces = (("tumour", (0.0, 0.0, 0.25, 0.5)), ("tumour", (0.25, 0.5, 0.5, 1.0)))
    view = _view(pieces, lesions=(("tumour", (0.0, 0.0, 0.5, 1.0)),))
    corners, boxed = box_targets(view, LABELS.boxed)
    assert boxed.reshape(2, 4).tolist() == [[0.25, 0.25, 0.0, 0.0]] * 2
    assert corners[0].tolist() == [0.0, 0.0, 0.5, 1.0]


def test_things_are_counted_where_their_centre_lies():
    cells = (("red cell", (0.0, 0.0, 0.6, 0.4)), ("red cell", (0.3, 0.1, 0.4, 0.2)))
    view = _view(cells, centres=((0.99, 0.99), (1.0, 1.0)), known=("red cell", "nucleus"))
    numbers, known = count_targets(view, LABELS.counted)
    red, nucleus = LABELS.counted.index("red cell"), LABELS.counted.index("nucleus")
    assert numbers[:, red].tolist() == [0, 2, 0, 0, 0, 0, 0, 0]
    assert numbers[:, nucleus].tolist() == [0, 0, 0, 0, 0, 0, 0, 2]
    assert known.tolist() == [name in ("red cell", "nucleus") for name in LABELS.counted]


def test_each_token_is_taught_its_own_place():
    places = place_targets(_view(()))
    assert places.shape == (8, 2)
    assert places[1].tolist() == [0.375, 0.25]
    assert places[4].tolist() == [0.125, 0.75]


def test_views_of_a_region_are_taught_each_in_its_own_frame():
    tokenizer, dims = byte_tokenizer(), ModelDims(16, 2, 1, 8, 8, 1, 8, 8, 1, 1, 8, 300)
    area = ("tumour", (0.5, 0.0, 1.0, 1.0))
    left, right = _view((), (2, 1)), _view((("tumour", (0.0, 0.0, 1.0, 1.0)),), (1, 2))
    parts = (
        replace(left, within=(0.0, 0.0, 0.5, 1.0)),
        replace(right, within=(0.5, 0.0, 1.0, 1.0)),
    )
    views = [[0, 0, 64, 32], {"region": [64, 0, 64, 32], "caption": "Right."}]
    joint = Sample(image="a.png", task="vqa", question="Where?", views=views)
    single = Sample(image="b.png", task="vqa", question="What?")
    pieces = [TargetPiece("<answer>"), TargetPiece("right", area[1]), TargetPiece("</answer>")]
    batch = collate_dense(
        [
            [GroundedQuestion(joint, replace(left, areas=(area,), parts=parts), pieces)],
            [GroundedQuestion(single, _view((), (3, 1)), pieces)],
        ],
        tokenizer,
        dims,
        NORMALISATION["qwen3_vl"],
        10,
        LABELS,
    )
    assert batch.visual_tokens == [2, 2, 3]
    assert batch.coverage[:, 0].tolist() == [0, 0, 1, 1, 0, 0, 0]
    corners = batch.token_corners[0][batch.mm_token_type_ids[0] == 1]
    assert corners.tolist() == [
        [0.0, 0.0, 0.25, 1.0],
        [0.25, 0.0, 0.5, 1.0],
        [0.5, 0.0, 1.0, 0.5],
        [0.5, 0.5, 1.0, 1.0],
    ]
    assert batch.places[2:4].tolist() == [[0.5, 0.25], [0.5, 0.75]]
