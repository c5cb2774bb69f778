"""Targets and evidence: what is written can be read back, scored and confirmed."""

from random import Random

import numpy as np
import pytest

from napari_pathreason.tasks import TASKS
from napari_pathreason.training import read_samples
from napari_pathreason.training.samples import (
    CLASSES,
    COUNTED,
    MOST,
    Augmentation,
    Pictures,
    View,
    box_targets,
    confirmed,
    count_targets,
    coverage,
    dense_targets,
    evidence,
    place_targets,
    read_view,
    read_views,
    score_target,
    target_text,
)


@pytest.fixture(scope="module")
def views(converted):
    pictures = Pictures(converted)
    samples = read_samples(converted / "train.jsonl")
    return [
        (sample, read_view(sample, pictures, 64, 32, Augmentation(), Random(i)))
        for i, sample in enumerate(samples)
    ]


def test_a_target_scores_full_marks_on_its_own_label(views):
    for sample, view in views:
        answer = TASKS[sample.task].parse(target_text(sample, view, "evidence", 1), sample.query)
        assert answer.well_formed, sample
        assert TASKS[sample.task].score(answer, score_target(sample, view)) > 0.9, sample


def test_evidence_is_confirmed_by_the_labels_it_came_from(views):
    for sample, view in views:
        right, cited = confirmed(evidence(view), view)
        assert right == cited <= MOST, (sample, evidence(view))


def test_evidence_of_another_picture_is_not(views):
    free = next(v for s, v in views if s.source == "lymph_node" and not v.areas)
    full = next(v for s, v in views if s.source == "lymph_node" and v.areas)
    assert confirmed(evidence(full), free) == (0, 1)
    assert confirmed(evidence(free), full) == (0, 1)
    assert confirmed("upper left: unicorn; nonsense", full) == (0, 2)


def test_answer_only_targets_have_no_rationale(views):
    sample, view = views[0]
    assert target_text(sample, view, "answer").startswith("<think></think><answer>")


def _view(areas, grid=(4, 2), lesions=(), centres=(), known=("tumour",)):
    pixels = np.zeros((32 * grid[1], 32 * grid[0], 3), np.uint8)
    return View(pixels, grid, "", (), areas, lesions, centres, known, None, pixels.shape[1::-1])


def test_coverage_by_hand():
    view = _view((("tumour", (0.0, 0.0, 0.375, 0.5)),))
    shares = coverage(view, "tumour", (4, 2))
    np.testing.assert_allclose(shares, [[1, 0.5, 0, 0], [0, 0, 0, 0]], atol=1e-6)
    assert coverage(view, "platelet", (4, 2)) is None


def test_overlapping_areas_do_not_count_twice():
    area = ("tumour", (0.0, 0.0, 1.0, 1.0))
    np.testing.assert_allclose(coverage(_view((area, area)), "tumour", (2, 2)), 1.0)


def test_dense_targets_follow_the_order_of_tokens():
    shares, known = dense_targets(_view((("tumour", (0.75, 0.5, 1.0, 1.0)),)))
    assert shares.shape == (8, len(CLASSES))
    assert shares[:, 0].argmax() == 7
    assert known.tolist() == [name == "tumour" for name in CLASSES]


def test_each_cell_of_a_box_is_taught_its_corners():
    small, large = (0.0, 0.0, 0.25, 0.5), (0.0, 0.0, 0.5, 1.0)
    corners, boxed = box_targets(_view((("tumour", large), ("tumour", small))))
    third = pytest.approx(1 / 3)
    assert boxed.tolist() == [1.0, third, 0.0, 0.0, third, third, 0.0, 0.0]
    np.testing.assert_allclose(corners[0], small)
    np.testing.assert_allclose(corners[[1, 4, 5]], [large] * 3)


def test_a_box_smaller_than_a_cell_still_has_one():
    _, boxed = box_targets(_view((("platelet", (0.51, 0.1, 0.55, 0.2)),)))
    assert boxed.tolist() == [0.0, 0.0, 1.0, 0.0] + [0.0] * 4


def test_a_lesion_of_many_areas_teaches_its_bounding_box():
    pieces = (("tumour", (0.0, 0.0, 0.25, 0.5)), ("tumour", (0.25, 0.5, 0.5, 1.0)))
    view = _view(pieces, lesions=(("tumour", (0.0, 0.0, 0.5, 1.0)),))
    corners, boxed = box_targets(view)
    assert boxed.reshape(2, 4).tolist() == [[0.25, 0.25, 0.0, 0.0]] * 2
    assert corners[0].tolist() == [0.0, 0.0, 0.5, 1.0]


def test_things_are_counted_where_their_centre_lies():
    cells = (("red cell", (0.0, 0.0, 0.6, 0.4)), ("red cell", (0.3, 0.1, 0.4, 0.2)))
    view = _view(cells, centres=((0.99, 0.99), (1.0, 1.0)), known=("red cell", "nucleus"))
    numbers, known = count_targets(view)
    red, nucleus = COUNTED.index("red cell"), COUNTED.index("nucleus")
    assert numbers[:, red].tolist() == [0, 2, 0, 0, 0, 0, 0, 0]
    assert numbers[:, nucleus].tolist() == [0, 0, 0, 0, 0, 0, 0, 2]
    assert known.tolist() == [name in ("red cell", "nucleus") for name in COUNTED]


def test_each_cell_is_taught_its_own_place():
    places = place_targets(_view(()))
    assert places.shape == (8, 2)
    assert places[1].tolist() == [0.375, 0.25]
    assert places[4].tolist() == [0.125, 0.75]


def test_questions_about_one_picture_share_its_turn(converted):
    samples = [s for s in read_samples(converted / "train.jsonl") if s.source == "blood"]
    first = [s for s in samples if (s.image, s.region) == (samples[0].image, samples[0].region)]
    views = read_views(first, Pictures(converted), 64, 32, Augmentation(), Random(3))
    assert all(view.pixels is views[0].pixels and view.areas == views[0].areas for view in views)
    for sample, view in zip(first, views, strict=True):
        if sample.task == "detection":
            assert set(view.boxes) == {a for a in view.areas if a[0] in sample.choices}


def test_a_fact_said_again_counts_for_as_many_things_as_there_are():
    corner = (0.0, 0.0, 0.1, 0.1)
    cells = (("platelet", corner), ("platelet", (0.1, 0.1, 0.2, 0.2)), ("white cell", corner))
    view = _view(cells, known=("platelet", "white cell", "tumour"))
    said = "upper left: platelet"
    assert confirmed("; ".join([said] * 2), view) == (2, 2)
    assert confirmed("; ".join([said] * 3), view) == (2, 3)
    assert confirmed("; ".join(["throughout: no tumour"] * 4), view) == (1, 4)
