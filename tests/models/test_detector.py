"""Pictures as points in a plane: two kinds, each around its own place, few and many tokens."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from napari_pathreason.budgets import BUDGET_GRID
from napari_pathreason.errors import ModelError
from napari_pathreason.models import (
    OODDetector,
    Wording,
    detail,
    load_detector,
    save_detector,
    size_class,
)

FILE = "ood.safetensors"
FEW, MANY = 8, 256
TUMOUR, BLOOD = {"is", "there", "tumour"}, {"count", "the", "platelets"}
PLAIN = np.zeros(6, np.float32)
SHARP = 2.0
SIGNATURE = np.array([0.5, -0.25], np.float32)


@pytest.fixture
def detector():
    """Lymph node around 0 at 8 tokens and around (20, 0) at 256; blood around (0, 20) at 8."""
    means = np.full((2, len(BUDGET_GRID), 2), np.nan, np.float32)
    threshold = np.full((2, len(BUDGET_GRID)), np.nan, np.float32)
    for kind, tokens, place in ((0, FEW, (0, 0)), (0, MANY, (20, 0)), (1, FEW, (0, 20))):
        means[kind, size_class(tokens)] = place
        threshold[kind, size_class(tokens)] = 2
    shares = {"tumour": (0.9, 0.0), "platelets": (0.0, 0.9), "is": (0.5, 0.5)}
    return OODDetector(
        ("lymph node", "blood smear"),
        Wording(shares),
        centre=np.full(2, 100, np.float32),
        spread=np.ones(2, np.float32),
        axes=np.eye(2, dtype=np.float32),
        means=means,
        whiten=np.broadcast_to(np.eye(2, dtype=np.float32), (2, len(BUDGET_GRID), 2, 2)),
        threshold=threshold,
        colour_mean=np.zeros((2, 6), np.float32),
        colour_whiten=np.stack([np.eye(6, dtype=np.float32)] * 2),
        colour_threshold=np.ones(2, np.float32),
        detail=np.where(np.isnan(threshold), np.nan, 2).astype(np.float32),
        detail_least=np.where(np.isnan(threshold), np.nan, 1).astype(np.float32),
        signature=SIGNATURE,
    )


def at(x, y):
    return np.array([100 + x, 100 + y], np.float32)


def test_a_known_picture_is_not_strange(detector):
    found = detector.assess(at(1, 0), PLAIN, SHARP, FEW, TUMOUR)
    assert (found.score, found.is_ood, found.reason) == (0.5, False, "")
    assert found.against == ("lymph node",)


def test_a_picture_is_held_against_those_that_the_question_is_about(detector):
    found = detector.assess(at(0, 20), PLAIN, SHARP, FEW, TUMOUR)
    assert found.is_ood
    assert found.reason == "it looks like those of blood smear"
    assert not detector.assess(at(0, 20), PLAIN, SHARP, FEW, BLOOD).is_ood


def test_a_question_of_no_known_word_is_held_against_all(detector):
    found = detector.assess(at(0, 20), PLAIN, SHARP, FEW, {"what", "is", "this"})
    assert (found.is_ood, found.against) == (False, ("lymph node", "blood smear"))


def test_a_picture_of_another_size_is_strange_by_its_scale(detector):
    found = detector.assess(at(20, 0), PLAIN, SHARP, FEW, TUMOUR)
    assert found.is_ood
    assert "scale" in found.reason
    assert not detector.assess(at(20, 0), PLAIN, SHARP, MANY, TUMOUR).is_ood


def test_between_sizes_the_nearest_one_that_is_known_counts(detector):
    assert not detector.assess(at(20, 0), PLAIN, SHARP, 100, TUMOUR).is_ood
    assert not detector.assess(at(20, 0), PLAIN, SHARP, 4000, TUMOUR).is_ood
    assert not detector.assess(at(0, 0), PLAIN, SHARP, 9, TUMOUR).is_ood


@pytest.mark.parametrize(("colour", "word"), [(0.9, "tissue"), (1.1, "stain")])
def test_otherwise_it_is_the_stain_where_the_colours_are_strange_and_else_the_tissue(
    detector, colour, word
):
    colours = PLAIN.copy()
    colours[0] = colour
    found = detector.assess(at(-9, -9), colours, SHARP, FEW, TUMOUR)
    assert found.is_ood
    assert word in found.reason


@pytest.mark.parametrize(
    ("fine", "score"), [(3.0, 0.5), (2.0, 0.5), (1.1, 0.9), (0.9, 1.1), (-1.2, 3.2)]
)
def test_a_picture_without_fine_detail_is_strange(detector, fine, score):
    found = detector.assess(at(1, 0), PLAIN, fine, FEW, TUMOUR)
    assert found.score == pytest.approx(score)
    assert found.is_ood == ("out of focus" in found.reason) == (score > 1)


def test_detail_is_of_the_finest_octave():
    rng = np.random.default_rng(0)
    sharp = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    soft = np.repeat(np.repeat(sharp[::2, ::2], 2, 0), 2, 1)
    flat = np.full((64, 64, 3), 200, np.uint8)
    assert detail(sharp) > 3
    assert detail(soft) == detail(flat) == pytest.approx(np.log(0.3))
    assert detail(sharp[:63, :61]) == pytest.approx(detail(sharp), abs=0.1)


def test_what_is_saved_is_read_again_and_small(detector, tmp_path):
    save_detector(tmp_path, detector)
    again = load_detector(tmp_path, "model", SIGNATURE)
    for point in (at(1, 0), at(0, 20), at(-9, -9)):
        for words in (TUMOUR, BLOOD):
            one, other = (f.assess(point, PLAIN, SHARP, FEW, words) for f in (detector, again))
            assert one == other
    assert (tmp_path / FILE).stat().st_size < 1e6
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert load_file(tmp_path / FILE)["axes"].dtype == np.float16


def test_a_damaged_file_and_one_of_other_weights_are_named(detector, tmp_path):
    save_detector(tmp_path, detector)
    for other in (-SIGNATURE, SIGNATURE[:1]):
        with pytest.raises(ModelError, match=r"other weights.*pathreason calibrate"):
            load_detector(tmp_path, "model", other)
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:-9])
    with pytest.raises(ModelError, match=r"damaged.*pathreason calibrate"):
        load_detector(tmp_path, "model", SIGNATURE)


def test_too_few_tokens_tell_nothing(detector):
    assert detector.assess(at(-9, -9), PLAIN, SHARP, 4, TUMOUR) is None


def test_sizes_are_nearest_rungs_by_ratio():
    assert [BUDGET_GRID[size_class(n)] for n in (1, 4, 9, 12, 49, 100, 9999)] == [
        4,
        4,
        8,
        16,
        64,
        128,
        1024,
    ]
