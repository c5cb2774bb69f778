"""Large regions: labels lie where the pieces put them, splits stay apart, seeds repeat."""

import csv
import json
from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import given, strategies as st
from PIL import Image
from scipy import ndimage

from demonstrator.large_regions import main, write_large_regions
from demonstrator.sets.large_regions import NUMBERS, Deck, large_regions
from demonstrator.sets.mosaic import Piece, compose, compose_blended, compose_mask, write_slide
from napari_pathreason.geometry import Region
from napari_pathreason.slides import open_slide
from napari_pathreason.tasks import PLACES
from napari_pathreason.training import read_samples
from napari_pathreason.training.samples import CROP, QUADRANTS, Pictures

SIDES = (500, 800)
WHITE, PLATELET = (300, 60, 430, 200), (20, 400, 60, 440)
UNMARKED = "e"
MAGENTA, BLUE = (255, 0, 255), (0, 0, 255)


@pytest.fixture(scope="module")
def regions(labelled):
    return list(large_regions(labelled, "test", sides=SIDES))


@pytest.fixture(scope="module")
def pictures(labelled):
    return Pictures(labelled)


@pytest.fixture(scope="module")
def smears(tmp_path_factory):
    """Two smears of each split: gray, one white cell in magenta, one platelet in blue.

    One more of `val` shows a white cell that is not annotated.
    """
    folder = tmp_path_factory.mktemp("data")
    (folder / "blood").mkdir()
    rows = ["image,boxes,split"]
    splits = {"a": "val", "b": "val", "c": "test", "d": "test", UNMARKED: "val"}
    for name, split in splits.items():
        pixels = np.full((480, 640, 3), 220, np.uint8)
        if name == UNMARKED:
            pixels[300:360, 580:] = MAGENTA
        objects = []
        for kind, box, colour in (("WBC", WHITE, MAGENTA), ("Platelets", PLATELET, BLUE)):
            x1, y1, x2, y2 = box
            pixels[y1:y2, x1:x2] = colour
            edges = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
            inside = "".join(f"<{edge}>{value}</{edge}>" for edge, value in edges)
            objects.append(f"<object><name>{kind}</name><bndbox>{inside}</bndbox></object>")
        Image.fromarray(pixels).save(folder / f"blood/{name}.png")
        (folder / f"blood/{name}.xml").write_text(f"<annotation>{''.join(objects)}</annotation>")
        rows.append(f"{name}.png,{name}.xml,{split}")
    (folder / "blood/index.csv").write_text("\n".join(rows))
    return folder


@pytest.fixture(scope="module")
def tissue(tmp_path_factory):
    """Two pictures of few nuclei and two of many, all of them squares that do not touch."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "nuclei").mkdir()
    rows = ["image,mask,split"]
    for number, step in enumerate((90, 80, 30, 25)):
        mask = np.zeros((260, 260), np.uint8)
        for y in range(5, 240, step):
            for x in range(5, 240, step):
                mask[y : y + 15, x : x + 15] = 255
        Image.fromarray(mask).save(folder / f"nuclei/{number}-mask.png")
        pixels = np.full((260, 260, 3), 200, np.uint8)
        pixels[mask > 0] = (90, 60, 140)
        Image.fromarray(pixels).save(folder / f"nuclei/{number}.png")
        rows.append(f"{number}.png,{number}-mask.png,val")
    (folder / "nuclei/index.csv").write_text("\n".join(rows))
    return folder


def of(regions, dataset):
    found = [region for region in regions if region.dataset == dataset]
    assert len(found) == NUMBERS[dataset]
    return found


def answers(region):
    return {sample.topic: sample for sample in region.samples}


def marked(shape, areas):
    """Pixels that boxes cover, bool (height, width)."""
    covered = np.zeros(shape[:2], bool)
    for x1, y1, x2, y2 in (tuple(map(int, area.corners)) for area in areas):
        covered[y1:y2, x1:x2] = True
    return covered


def place_of_middle(covered):
    """The ninth in which the middle of the box around some pixels lies."""
    ys, xs = np.nonzero(covered)
    y, x = (ys.min() + ys.max() + 1) / 2, (xs.min() + xs.max() + 1) / 2
    height, width = covered.shape
    return PLACES[3 * int(3 * y / height) + int(3 * x / width)]


def test_a_lesion_of_lymph_node_lies_where_its_labels_say(regions, pictures):
    sizes = []
    for region in of(regions, "lymph_node"):
        pixels = compose(region.rows, pictures)
        tumour = pixels[..., 1] < 150  # tiles of tumour are magenta, others nearly white
        asked = answers(region)
        boxes = asked["boxes of tumour"]
        assert (marked(pixels.shape, boxes.facts.areas) == tumour).all()
        assert tumour.sum() == region.lesion * 96 * 96
        assert asked["tumour in a field"].answer == ("yes" if tumour.any() else "no")
        if region.lesion:
            assert ndimage.label(tumour)[1] == 1
            ys, xs = np.nonzero(tumour)
            whole = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
            assert [box.corners for box in boxes.boxes] == [whole]
            assert asked["where the tumour is"].answer == place_of_middle(tumour)
            assert len(region.sources) == region.lesion
        else:
            assert boxes.boxes == ()
            assert asked["where the tumour is"].answer == "nowhere"
        sizes.append(region.lesion)
    assert sum(size == 0 for size in sizes) == NUMBERS["lymph_node"] // 3
    assert sum(1 <= size <= 4 for size in sizes) == NUMBERS["lymph_node"] // 3
    assert max(sizes) <= 16


def test_a_patch_of_carcinoma_lies_in_normal_lung(regions, pictures):
    red = {"adenocarcinoma": 150, "squamous cell carcinoma": 180, "normal": 210}
    subtypes = Counter()
    for region in of(regions, "lung"):
        asked = answers(region)
        subtype = asked["lung subtype"].answer
        subtypes[subtype] += 1
        pixels = compose(region.rows, pictures).astype(float)
        tiles = pixels[..., 0].reshape(pixels.shape[0] // 224, 224, -1, 224).mean((1, 3))
        patch = np.abs(tiles - red["normal"]) > 15
        assert patch.sum() == region.lesion
        assert (np.abs(tiles[patch] - red[subtype]) < 15).all()
        assert asked["lung normal or not"].answer == ("no" if patch.any() else "yes")
        where = place_of_middle(patch) if patch.any() else "nowhere"
        assert asked["where the tumour is"].answer == where
        areas = marked(pixels.shape, asked["lung subtype"].facts.areas)
        assert (areas == patch.repeat(224, 0).repeat(224, 1)).all()
    assert set(subtypes.values()) == {NUMBERS["lung"] // 3}


def test_nuclei_are_counted_where_they_lie(tissue):
    pictures, quadrants = Pictures(tissue), Counter()
    for region in of(large_regions(tissue, "val", sides=(1040, 1500)), "nuclei"):
        asked = answers(region)
        pixels, mask = compose(region.rows, pictures), compose_mask(region.rows, pictures)
        assert ((pixels == (90, 60, 140)).all(-1) == mask).all()
        number = asked["number of nuclei"]
        assert number.answer == str(len(number.facts.centres))
        centres = Counter(number.facts.centres)
        parts, found = ndimage.label(mask)
        middles = ndimage.center_of_mass(mask, parts, range(1, found + 1))
        assert centres == Counter((round(x), round(y)) for y, x in middles)
        if (where := asked.get("where nuclei are crowded")) is not None:
            height, width = (side // 2 for side in mask.shape)
            quadrant = [
                mask[y : y + height, x : x + width].mean() for y in (0, height) for x in (0, width)
            ]
            assert where.answer == QUADRANTS[int(np.argmax(quadrant))]
            quadrants[where.answer] += 1
    assert sum(quadrants.values()) >= NUMBERS["nuclei"] * 2 // 3
    assert len(quadrants) > 1


def test_every_cell_of_a_smear_is_boxed_and_counted(smears):
    pictures = Pictures(smears)
    numbers = Counter()
    for region in of(large_regions(smears, "val", sides=(1008, 1300)), "blood"):
        asked = answers(region)
        pixels = compose(region.rows, pictures)
        for name, colour in (("white cell", MAGENTA), ("platelet", BLUE)):
            there = (pixels == colour).all(-1)
            boxes = asked[f"boxes of {name}"].boxes
            assert (marked(pixels.shape, boxes) == there).all()
            assert asked[f"number of {name}s"].answer == str(len(boxes))
            assert asked[f"presence of {name}s"].answer == ("yes" if boxes else "no")
            numbers[name, bool(boxes)] += 1
        assert len(region.sources) <= 8
        shown = {piece.source for row in region.rows for piece in row}
        assert shown == {"a.png", "b.png"}
    assert numbers["white cell", False] == numbers["platelet", False] == NUMBERS["blood"] // 4


@pytest.mark.parametrize("split", ["val", "test"])
def test_no_piece_is_of_another_split(labelled, split):
    allowed = set()
    for table in labelled.glob("*/*.csv"):
        with table.open() as file:
            rows = [row for row in csv.DictReader(file) if row.get("split") == split]
        allowed |= {str(table.parent / row["image"]) for row in rows}
    pieces = [
        piece.name.partition(CROP)[0]
        for region in large_regions(labelled, split, sides=SIDES)
        for row in region.rows
        for piece in row
    ]
    assert pieces
    assert set(pieces) <= allowed


def test_seeds_repeat_and_differ(labelled, regions):
    assert list(large_regions(labelled, "test", 0, sides=SIDES)) == regions
    others = list(large_regions(labelled, "test", 1, sides=SIDES))
    assert [region.name for region in others] == [region.name for region in regions]
    assert others != regions
    assert len(list(large_regions(labelled, "test", times=2, sides=SIDES))) == 2 * len(regions)


def test_sides_are_those_that_are_wanted(labelled):
    sizes = {
        (len(region.rows[0]) * 96, len(region.rows) * 96)
        for region in large_regions(labelled, "val")
        if region.dataset == "lymph_node"
    }
    assert len(sizes) > 20
    assert all(2016 <= side <= 4032 for size in sizes for side in size)


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 60))
def test_a_deck_deals_evenly(seed, things, number):
    deck = Deck(Random(seed), range(things))
    dealt = Counter(deck.deal() for _ in range(number))
    assert max(dealt.values()) - min(dealt.get(n, 0) for n in range(things)) <= 1


def _stained(path, light, stain, rng):
    """Glass with a third of it covered by tissue of two densities, in one light and stain."""
    density = np.zeros((96, 96, 3))
    density[:, 32:] = np.array(stain) * rng.uniform(0.8, 1.2, (96, 64, 1))
    pixels = np.array(light) * np.exp(-density)
    Image.fromarray(pixels.round().astype(np.uint8)).save(path)


def test_blending_makes_light_and_stain_alike_and_leaves_the_structure(tmp_path):
    rng = np.random.default_rng(0)
    looks = [((250, 250, 250), (0.5, 0.9, 0.4)), ((250, 240, 225), (0.7, 0.7, 0.7))]
    for number in range(6):
        _stained(tmp_path / f"{number}.png", *looks[number % 2], rng)
    pieces = [Piece(f"{number}.png", str(number)) for number in range(6)]
    rows = (tuple(pieces[:3]), tuple(pieces[3:]))
    pictures = Pictures(tmp_path)
    plain = compose(rows, pictures).astype(float)
    blended = compose_blended(rows, pictures, Random(0), True).astype(float)

    def spread(pixels, part):
        tiles = pixels.reshape(2, 96, 3, 96, 3).transpose(0, 2, 1, 3, 4).reshape(6, 96, 96, 3)
        return np.median(tiles[:, :, part], axis=(1, 2)).std(0).max()

    for part in (slice(0, 32), slice(32, 96)):  # glass, tissue
        assert spread(plain, part) > 8
        assert spread(blended, part) < 2
    tissue = (slice(0, 96), slice(32, 96))
    for channel in range(3):
        before, after = plain[(*tissue, channel)], blended[(*tissue, channel)]
        assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.99


def test_smears_are_moved_to_one_light_and_cells_keep_their_contrast(tmp_path):
    for number, light in enumerate((230, 210, 190, 220)):
        pixels = np.full((64, 64, 3), light, np.uint8)
        pixels[20:30, 20:30] = light // 2
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    rows = (tuple(Piece(f"{number}.png", str(number)) for number in range(4)),)
    blended = compose_blended(rows, Pictures(tmp_path), Random(0), False)
    assert np.ptp(blended[40].astype(int)) <= 1
    cells = blended[25, 25::64, 0].astype(float)
    assert np.allclose(cells / blended[40, 0, 0], 0.5, atol=0.02)


def test_a_region_opens_as_a_slide_with_coarse_levels(tmp_path):
    y, x = np.mgrid[:1300, :2100]
    pixels = np.stack([x * 255 // 2100, y * 255 // 1300, 128 + 0 * x], axis=-1).astype(np.uint8)
    write_slide(tmp_path / "a.tif", pixels, 0.97)
    with open_slide(tmp_path / "a.tif") as slide:
        assert (slide.width, slide.height) == (2100, 1300)
        assert slide.info.mpp == pytest.approx((0.97, 0.97))
        overview = slide.read_region(Region(0, 0, 2100, 1300), (210, 130))
        assert overview.level == 3
        assert overview.pixels_decoded < 300_000
        assert np.abs(overview.pixels.astype(int) - pixels[5::10, 5::10]).mean() < 3
        window = slide.read_region(Region(700, 500, 400, 300), (400, 300))
        assert np.abs(window.pixels.astype(int) - pixels[500:800, 700:1100]).mean() < 2


@pytest.mark.slow
def test_both_forms_ask_the_same_and_name_their_sources(labelled, tmp_path):
    reuses = write_large_regions(labelled, tmp_path, ["test"], sides=SIDES)
    assert {reuse.dataset for reuse in reuses} == set(NUMBERS)
    plain, blended = ((tmp_path / form / "test.jsonl") for form in ("as_is", "blended"))
    assert plain.read_bytes() == blended.read_bytes()
    samples = read_samples(blended)
    assert len(samples) == sum(reuse.questions for reuse in reuses)
    about = json.loads((tmp_path / "blended/test-regions.json").read_text())
    assert {region["image"] for region in about} == {sample.image for sample in samples}
    for region in about:
        assert region["sources"]
        columns, rows = region["pieces"]
        most = columns * rows
        assert sum(region["sources"].values()) <= most
    pictures = Pictures(tmp_path / "blended")
    for sample in samples:
        region = pictures.region(sample)
        for box in (*sample.boxes, *sample.facts.areas):
            x1, y1, x2, y2 = box.corners
            assert 0 <= x1 < x2 <= region.width
            assert 0 <= y1 < y2 <= region.height
        if sample.facts.nuclei:
            mask = pictures.nuclei(sample, region)
            assert mask is not None
            assert mask.shape == (region.height, region.width)
            assert mask.any()


def test_the_command_says_what_it_did(smears, tmp_path, capsys):
    assert main([str(smears), "-o", str(tmp_path), "--splits", "val", "--forms", "as_is"]) == 0
    assert "val blood: 12 regions, " in capsys.readouterr().out
    assert not (tmp_path / "blended").exists()
    with Image.open(tmp_path / "as_is/pictures/blood-val-000.tif") as picture:
        assert min(picture.size) >= 2016


def test_a_folder_of_something_else_is_one_line(tmp_path, capsys):
    assert main([str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "holds none of lymph_node, lung, nuclei, blood" in message
