"""The cold start's rationales say what the labels say."""

from random import Random

import pytest

from demonstrator.evidence import evidence, phrases, target_pieces
from napari_pathreason.tasks import TASKS
from napari_pathreason.training import read_samples
from napari_pathreason.training.samples import (
    MOST_FACTS,
    Augmentation,
    Pictures,
    confirmed,
    read_view,
    score_target,
)


@pytest.fixture(scope="module")
def views(specimens):
    pictures = Pictures(specimens)
    samples = read_samples(specimens / "train.jsonl")
    return [
        (sample, read_view(sample, pictures, 64, 32, Augmentation(), Random(i)))
        for i, sample in enumerate(samples)
    ]


def test_a_target_scores_full_marks_on_its_own_label(views):
    for sample, view in views:
        text = "".join(piece.text for piece in target_pieces(sample, view, 1))
        answer = TASKS[sample.task].parse(text, sample.query)
        assert answer.well_formed, sample
        assert answer.rationale == evidence(view)
        assert TASKS[sample.task].score(answer, score_target(sample, view)) > 0.9, sample


def test_evidence_is_confirmed_by_the_labels_it_came_from(views):
    cited = set()
    for sample, view in views:
        right, said = confirmed(evidence(view), view)
        assert 1 <= right == said <= MOST_FACTS, (sample, evidence(view))
        cited |= set(evidence(view).split("; "))
    assert cited <= set(phrases())
    what = {phrase.partition(": ")[2] for phrase in cited}
    assert {"tumour", "no tumour", "white cell", "platelet", "normal lung"} <= what


def test_evidence_of_another_picture_is_not(views):
    free = next(v for s, v in views if s.source == "lymph_field" and not v.areas)
    full = next(v for s, v in views if s.source == "lymph_field" and v.areas)
    right, cited = confirmed(evidence(full), free)
    assert right == 0 < cited
    assert confirmed(evidence(free), full) == (0, 1)
