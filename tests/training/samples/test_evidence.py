"""Targets and evidence: what is written can be read back, scored and confirmed."""

import dataclasses
from random import Random

import numpy as np
import pytest

from napari_pathreason.tasks import TASKS
from napari_pathreason.training import read_samples
from napari_pathreason.training.samples import (
    SILENT,
    Augmentation,
    Pictures,
    View,
    confirmed,
    coverage,
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
        answer = TASKS[sample.task].parse(target_text(sample, view, 1), sample.query)
        assert answer.well_formed, sample
        assert TASKS[sample.task].score(answer, score_target(sample, view)) > 0.9, sample


LEFT, RIGHT = (0.0, 0.0, 0.3, 0.3), (0.7, 0.7, 0.9, 0.9)


@pytest.mark.parametrize(
    ("rationale", "counts"),
    [
        ("upper left: gland; lower right: vessel", (2, 2)),
        ("throughout: gland; upper right: no gland", (2, 2)),
        ("lower right: gland; throughout: no gland", (0, 2)),
        ("upper left: stroma; throughout: no stroma", (0, 2)),  # nobody annotated it
        ("upper left: unicorn; nonsense; nowhere: gland", (0, 3)),
        ("", (0, 0)),
    ],
)
def test_facts_are_held_against_the_labels_of_the_picture(rationale, counts):
    view = _view((("gland", LEFT), ("vessel", RIGHT)), known=("gland", "vessel"))
    assert confirmed(rationale, view) == counts


def test_a_lesion_lies_where_it_covers_a_third_or_else_where_most_of_it_is():
    large, small = (0.0, 0.0, 0.42, 0.3), (0.0, 0.0, 0.06, 0.05)
    for box, beside in ((large, "upper centre"), (small, "centre")):
        view = _view((("lesion", box),), lesions=(("lesion", box),), known=("lesion",))
        assert confirmed("upper left: lesion", view) == (1, 1)
        assert confirmed(f"{beside}: lesion", view) == (0, 1)
    things = _view((("lesion", large),), known=("lesion",))  # as a thing it reaches so far
    assert confirmed("upper centre: lesion", things) == (1, 1)


def test_nuclei_are_crowded_where_they_cover_much():
    mask = np.zeros((90, 90), np.float32)
    mask[:15, :30] = 1  # half of the upper left
    mask[70:72, 70:72] = 1
    view = dataclasses.replace(_view((), known=("nucleus",)), nuclei=mask)
    right = "upper left: crowded nuclei; lower right: sparse nuclei; centre: no nuclei"
    assert confirmed(right, view) == (3, 3)
    wrong = "lower right: crowded nuclei; upper left: sparse nuclei; upper left: no nuclei"
    assert confirmed(wrong, view) == (0, 3)


def test_targets_have_no_rationale(views):
    sample, view = views[0]
    assert target_text(sample, view).startswith("<answer>")
    assert target_text(sample, view, before=SILENT).startswith("<think></think><answer>")


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


def test_questions_about_one_picture_share_its_turn(converted):
    samples = [s for s in read_samples(converted / "train.jsonl") if s.source == "blood"]
    first = [s for s in samples if (s.image, s.region) == (samples[0].image, samples[0].region)]
    views = read_views(first, Pictures(converted), 64, 32, Augmentation(), Random(3))
    assert all(view.pixels is views[0].pixels and view.areas == views[0].areas for view in views)
    for sample, view in zip(first, views, strict=True):
        if sample.task == "detection":
            assert set(view.boxes) == {a for a in view.areas if a[0] in sample.choices}


def test_pieces_of_a_lesion_are_no_things_to_be_named_one_by_one():
    pieces = (("lesion", (0.0, 0.0, 0.1, 0.1)), ("lesion", (0.1, 0.0, 0.3, 0.3)))
    view = _view(pieces, lesions=(("lesion", LEFT),), known=("lesion",))
    assert confirmed("upper left: lesion; upper left: lesion", view) == (1, 2)


def test_a_fact_said_again_counts_for_as_many_things_as_there_are():
    corner = (0.0, 0.0, 0.1, 0.1)
    cells = (("platelet", corner), ("platelet", (0.1, 0.1, 0.2, 0.2)), ("white cell", corner))
    view = _view(cells, known=("platelet", "white cell", "tumour"))
    said = "upper left: platelet"
    assert confirmed("; ".join([said] * 2), view) == (2, 2)
    assert confirmed("; ".join([said] * 3), view) == (2, 3)
    assert confirmed("; ".join(["throughout: no tumour"] * 4), view) == (1, 4)
