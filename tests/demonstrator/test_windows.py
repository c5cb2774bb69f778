"""Windows of large regions are asked what their own part of the labels answers."""

import pytest
from hypothesis import given, strategies as st

from demonstrator.evidence import evidence
from demonstrator.large_regions import write_large_regions
from demonstrator.windows import facts_of, main, read_regions, write_windows
from napari_pathreason.training import read_samples
from napari_pathreason.training.samples import Area, Facts, Pictures, confirmed, read_view

SIDES = (500, 800)
TILES = tuple(
    Area(label="tumour", corners=(x, y, x + 100, y + 100)) for x, y in ((200, 200), (300, 200))
)
LESION = Facts(
    known=("tumour",), areas=TILES, boxes=(Area(label="tumour", corners=(200, 200, 400, 300)),)
)


@pytest.fixture(scope="module")
def composed(labelled, tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    write_large_regions(labelled, folder, ["train"], sides=SIDES)
    return folder


@pytest.fixture(scope="module")
def drawn(composed):
    out = composed / "windows" / "train.jsonl"
    counts = write_windows(
        [composed / form / "train.jsonl" for form in ("as_is", "blended")], [], out, "train"
    )
    return out, counts, read_samples(out)


def test_every_set_is_asked_what_its_regions_are(drawn):
    _, counts, samples = drawn
    assert set(counts) == {f"window_{name}" for name in ("lymph_node", "lung", "nuclei", "blood")}
    assert counts.total() == len(samples)
    kinds = {sample.answer for sample in samples if sample.topic == "lung subtype"}
    assert kinds == {"adenocarcinoma", "squamous cell carcinoma", "normal"}
    for topic in ("tumour in a field", "presence of white cells"):
        assert {s.answer for s in samples if s.topic == topic} == {"yes", "no"}


def test_answers_follow_from_what_a_window_shows(drawn):
    _, _, samples = drawn
    numbers = set()
    for sample in samples:
        x, y, width, height = sample.region
        for area in (*sample.boxes, *sample.facts.areas):
            x1, y1, x2, y2 = area.corners
            assert x <= x1 < x2 <= x + width
            assert y <= y1 < y2 <= y + height
        if sample.topic == "number of nuclei":
            inside = [
                1 for cx, cy in sample.facts.centres if x <= cx < x + width and y <= cy < y + height
            ]
            assert sample.answer == str(len(inside))
            numbers.add(sample.answer)
        if sample.topic == "boxes of platelet":
            assert len(sample.boxes) == sum(a.label == "platelet" for a in sample.facts.areas)
        if sample.topic == "tumour in a field":
            assert (sample.answer == "yes") == bool(sample.facts.areas)
    assert len(numbers) > 1


def test_a_window_is_read_from_where_the_samples_lie_and_cites_what_it_shows(drawn):
    out, _, samples = drawn
    pictures = Pictures(out.parent)
    read = 0
    for sample in samples[:: max(1, len(samples) // 60)]:
        view = read_view(sample, pictures, 16, 32)
        right, cited = confirmed(evidence(view), view)
        assert right == cited, evidence(view)
        read += cited
    assert read > 10


def test_both_forms_of_a_region_are_cut_alike(drawn):
    _, _, samples = drawn
    half = len(samples) // 2
    for one, other in zip(samples[:half], samples[half:], strict=True):
        assert (one.region, one.question, one.answer) == (
            other.region,
            other.question,
            other.answer,
        )
        assert one.image != other.image


def test_nothing_is_said_of_a_tile_that_is_cut_in_the_middle():
    assert facts_of(LESION, (350, 200, 300, 300)) is None
    assert facts_of(LESION, (395, 200, 300, 300)).areas == ()
    (box,) = facts_of(LESION, (230, 150, 300, 300)).boxes
    assert box.corners == (230, 200, 400, 300)


@given(st.integers(0, 420), st.integers(0, 320))
def test_boxes_cover_the_tiles_that_are_shown(x, y):
    facts = facts_of(LESION, (x, y, 120, 120), unsure=(0.0, 0.0))
    assert bool(facts.boxes) == bool(facts.areas)
    if facts.boxes:
        (box,) = facts.boxes
        corners = list(zip(*(area.corners for area in facts.areas), strict=True))
        assert box.corners == (*map(min, corners[:2]), *map(max, corners[2:]))


def test_what_touches_by_no_edge_is_two_lesions():
    far = Area(label="tumour", corners=(500, 500, 600, 600))
    corner = Area(label="tumour", corners=(400, 300, 500, 400))
    facts = LESION.model_copy(update={"areas": (*TILES, corner, far)})
    assert len(facts_of(facts, (0, 0, 1000, 1000)).boxes) == 3


@pytest.mark.slow
def test_command(composed, capsys, tmp_path):
    data = composed / "as_is" / "train.jsonl"
    out = tmp_path / "train.jsonl"
    assert main([str(data), "--beside", str(data), "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert "window_lung: " in said
    assert "large_lung: " in said
    together = tmp_path / "together.jsonl"
    assert main(["--beside", str(out), str(data), "-o", str(together)]) == 0
    assert len(read_samples(together)) == len(read_samples(out)) + len(read_samples(data))
    assert main([str(out), "-o", str(tmp_path / "other.jsonl")]) == 2
    assert "train-regions.json is missing" in capsys.readouterr().err
    assert {region.dataset for region in read_regions(data)} == {
        "lymph_node",
        "lung",
        "nuclei",
        "blood",
    }
