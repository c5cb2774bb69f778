"""Folders as labs have them: tables of any spreadsheet, unpacked archives, pictures of any kind."""

import json
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st
from PIL import Image

from napari_pathreason.errors import QueryError
from napari_pathreason.geometry import Region
from napari_pathreason.slides import open_slide
from napari_pathreason.training.convert import convert, summarise
from napari_pathreason.training.convert.sets import LabelledEntry, deal, kind_of
from napari_pathreason.training.samples import Pictures, Sample

LABELS = ("Grün", "flach, gezackt")


@pytest.fixture
def table(tmp_path, save):
    """A folder of twelve pictures, and a table of it as a spreadsheet would write it."""

    def write(name="labels.csv", mark=",", encoding="utf-8", names=None, columns="image{}label"):
        folder = tmp_path / "lab"
        lines = [columns.format(mark)]
        for n in range(12):
            save(folder / "images" / f"{n}.png", colour=(20 * n, 100, 180))
            label = LABELS[n % 2]
            label = f'"{label}"' if mark in label else label
            lines.append(f"{(names or 'images/{}.png').format(n)}{mark}{label}")
        (folder / name).write_bytes("\r\n".join(lines).encode(encoding))
        return folder

    return write


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [(",", "utf-8"), (";", "utf-8-sig"), ("\t", "utf-8"), ("\t", "utf-16"), (";", "utf-16")],
)
def test_a_table_is_read_as_spreadsheets_write_it(run, table, mark, encoding):
    outcome = run(table(mark=mark, encoding=encoding))
    assert (outcome.kind, len(outcome.all)) == ("table", 12)
    assert {sample.answer for sample in outcome.all} == set(LABELS)


def test_an_encoding_that_nobody_can_tell_is_refused(table, tmp_path):
    folder = table(mark=";", encoding="latin-1")
    with pytest.raises(QueryError, match=r"labels\.csv cannot be read; save it as CSV in UTF-8"):
        convert(folder, tmp_path / "out")


@pytest.mark.parametrize("name", ["labels.tsv", "LABELS.CSV", "annotations.csv"])
def test_a_table_may_have_another_name(run, table, name):
    outcome = run(table(name=name, mark="\t" if name.endswith("tsv") else ","))
    assert (outcome.kind, len(outcome.all)) == ("table", 12)


def test_two_tables_of_other_names_are_not_chosen_from(table, tmp_path):
    folder = table(name="annotations.csv")
    (folder / "more.csv").write_text((folder / "annotations.csv").read_text())
    with pytest.raises(QueryError, match="one class images"):
        convert(folder, tmp_path / "out")


def test_other_columns_are_named(table, tmp_path):
    with pytest.raises(QueryError, match="it has class, filename: rename them"):
        convert(table(columns="filename{}class"), tmp_path / "out")


@pytest.mark.parametrize("names", ["images/{}", "{}", "{}.png", "scans\\{}.png"])
def test_pictures_are_found_by_the_end_of_their_name_and_it_is_said(run, table, names):
    outcome = run(table(names=names))
    assert len(outcome.all) == 12
    assert "12 pictures lie elsewhere than rows name them" in outcome.notes


def test_a_name_that_fits_two_files_is_not_guessed(run, table, save):
    folder = table(names="{}")
    save(folder / "images" / "3.jpg")
    outcome = run(folder)
    assert len(outcome.all) == 11
    assert "1 names of pictures fit several files, so that none was taken (3)" in outcome.notes


def test_a_picture_of_two_labels_is_refused_and_a_double_row_counted(run, table, tmp_path):
    folder = table()
    rows = (folder / "labels.csv").read_text("utf-8")
    (folder / "labels.csv").write_text(f"{rows}\nimages/0.png,Grün", "utf-8")
    outcome = run(folder)
    assert len(outcome.all) == 12
    assert "1 rows say the same of the same picture once more" in outcome.notes
    (folder / "labels.csv").write_text(f'{rows}\nimages/0.png,"{LABELS[1]}"', "utf-8")
    with pytest.raises(QueryError, match=r"line 14: 0\.png is 'flach.*' here and 'Grün' in"):
        convert(folder, tmp_path / "other")


def test_what_is_packed_or_empty_is_said_so(tmp_path):
    (tmp_path / "set.zip").write_bytes(b"PK")
    with pytest.raises(QueryError, match=r"set\.zip is packed; unpack it and name the folder"):
        kind_of(tmp_path / "set.zip")
    (tmp_path / "nothing" / "inside").mkdir(parents=True)
    with pytest.raises(QueryError, match="nothing holds no picture"):
        kind_of(tmp_path / "nothing")


def test_the_folder_that_an_archive_brought_is_named(tmp_path, save):
    root = tmp_path / "unpacked"
    for split in ("train", "val", "test"):
        for label in ("a", "b"):
            save(root / "My Data" / split / label / "1.png")
            shadow = root / "__MACOSX" / "My Data" / split / label / "._1.png"
            shadow.parent.mkdir(parents=True)
            shadow.write_bytes(b"0")
    with pytest.raises(QueryError, match="holds only My Data; convert that folder itself"):
        convert(root, tmp_path / "out")


def test_folders_in_folders_without_splits_are_explained(tmp_path, save):
    for patient in range(8):
        save(tmp_path / "lab" / f"class {patient % 2}" / f"P{patient}" / "1.png")
    with pytest.raises(QueryError, match=r"two folders deep \(class 0 and class 1, then P0 and"):
        convert(tmp_path / "lab", tmp_path / "out")


def _as_answered(path):
    with open_slide(path) as slide:
        size = slide.width, slide.height
        return slide.read_region(Region(0, 0, *size), size).pixels


@pytest.mark.parametrize("kind", ["sixteen bits", "transparent", "turned", "grey", "palette"])
def test_training_sees_a_picture_as_answers_do(tmp_path, kind):
    ramp = np.linspace(0, 255, 40 * 24).reshape(24, 40)
    colour = np.stack([ramp, ramp[::-1], ramp[:, ::-1]], 2).astype(np.uint8)
    path, how = tmp_path / "a.png", {}
    if kind == "sixteen bits":
        image = Image.fromarray((ramp * 257).astype(np.uint16))
    elif kind == "transparent":
        image = Image.fromarray(np.dstack([colour, ramp.astype(np.uint8)]))
    elif kind == "turned":
        image, path, exif = Image.fromarray(colour), tmp_path / "a.jpg", Image.Exif()
        exif[274] = 6
        how = {"exif": exif, "quality": 100}
    elif kind == "grey":
        image = Image.fromarray(ramp.astype(np.uint8))
    else:
        image = Image.fromarray(colour).quantize(16)
    image.save(path, **how)
    seen = Pictures(tmp_path).picture(
        Sample(image=path.name, task="vqa", question="What is it?", answer="x")
    )
    np.testing.assert_array_equal(seen, _as_answered(path))
    if kind == "sixteen bits":
        assert 100 < seen.mean() < 160
    if kind == "turned":
        assert seen.shape == (40, 24, 3)


def test_why_a_picture_cannot_be_read_is_said(run, tmp_path, save):
    for n in range(20):
        save(tmp_path / "lab" / "ab"[n % 2] / f"{n}.png")
    with Image.open(tmp_path / "lab" / "a" / "0.png") as file:
        file.convert("CMYK").save(tmp_path / "lab" / "a" / "ink.jpg")
    (tmp_path / "lab" / "b" / "page.png").write_text("<html>404</html>")
    outcome = run(tmp_path / "lab")
    assert len(outcome.all) == 20
    assert "ink.jpg: holds printing inks (CMYK); save it as RGB" in outcome.notes
    assert "b/page.png" in outcome.notes


def test_outlines_of_coco_give_their_bounds(run, tmp_path, save):
    for n in range(6):
        save(tmp_path / "lab" / f"{n}.png")
    outline = [10, 12, 40, 12, 25, 50]
    annotations = [
        {"image_id": n, "category_id": 0, "segmentation": [outline, [10, 52, 20, 52, 20, 60]]}
        for n in range(6)
    ] + [{"image_id": 0, "category_id": 0, "segmentation": {"counts": "a", "size": [64, 64]}}]
    content = {
        "images": [{"id": n, "file_name": f"{n}.png"} for n in range(6)],
        "annotations": annotations,
        "categories": [{"id": 0, "name": "gland"}],
    }
    (tmp_path / "lab" / "result.json").write_text(json.dumps(content))
    outcome = run(tmp_path / "lab")
    boxes = {box.corners for s in outcome.all if s.task == "detection" for box in s.boxes}
    assert boxes == {(10.0, 12.0, 40.0, 60.0)}
    assert "1 annotations have no box of a known class" in outcome.notes
    content["annotations"] = annotations[-1:]
    (tmp_path / "lab" / "result.json").write_text(json.dumps(content))
    with pytest.raises(QueryError, match=r"no box \(1 annotations have no box.*with polygons"):
        convert(tmp_path / "lab", tmp_path / "other")


def test_text_files_of_yolo_may_lie_beside_their_pictures(run, tmp_path, save):
    folder = tmp_path / "lab"
    for n in range(6):
        save(folder / f"{n}.png")
        (folder / f"{n}.txt").write_text("0 0.5 0.5 0.5 0.25" * (n > 0))
    save(folder / "bare.png")
    (folder / "classes.txt").write_text("gland")
    outcome = run(folder)
    assert outcome.kind == "yolo"
    found = [sample for sample in outcome.all if sample.task == "detection"]
    assert len(found) == 6
    assert {s.boxes[0].corners for s in found if s.boxes} == {(16.0, 24.0, 48.0, 40.0)}
    assert "1 pictures have no file of labels beside them and were left out (bare.png)" in (
        outcome.notes
    )


def test_what_a_detector_found_is_no_label(tmp_path, save):
    folder = tmp_path / "lab"
    for n in range(6):
        save(folder / "images" / f"{n}.png")
        (folder / "labels").mkdir(exist_ok=True)
        (folder / "labels" / f"{n}.txt").write_text("0 0.5 0.5 0.5 0.25 0.93")
    (folder / "data.yaml").write_text("names: [gland]")
    with pytest.raises(QueryError, match=r"6 of 6 lines of labels are no box .*0\.txt, line 1"):
        convert(folder, tmp_path / "out")


def test_a_ground_below_zero_is_no_object(run, tmp_path, save):
    tifffile = pytest.importorskip("tifffile")
    mask = np.full((64, 64), -1, np.int32)
    mask[5:20, 5:20], mask[30:50, 30:50] = 1, 2
    for n in range(4):
        save(tmp_path / "lab" / "images" / f"{n}.png")
        (tmp_path / "lab" / "masks").mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / "lab" / "masks" / f"{n}.tif", mask)
    outcome = run(tmp_path / "lab", masks="instance", label="nucleus")
    boxes = [sample.boxes for sample in outcome.all if sample.task == "detection"]
    assert [[box.corners for box in each] for each in boxes] == [
        [(5.0, 5.0, 20.0, 20.0), (30.0, 30.0, 50.0, 50.0)]
    ] * 4


def test_copies_of_a_picture_are_dealt_together(run, tmp_path, save):
    for n in range(30):
        save(tmp_path / "lab" / "ab"[n % 2] / f"{n}.png")
    for n in range(0, 30, 2):
        data = (tmp_path / "lab" / "a" / f"{n}.png").read_bytes()
        (tmp_path / "lab" / "a" / f"copy {n}.png").write_bytes(data)
    outcome = run(tmp_path / "lab")
    splits = defaultdict(set)
    for split, samples in outcome.samples.items():
        for sample in samples:
            splits[(outcome.folder / sample.image).read_bytes()].add(split)
    assert len(splits) == 30
    assert all(len(own) == 1 for own in splits.values())
    assert "under other names" not in outcome.notes


def test_copies_across_splits_and_labels_are_named(run, tmp_path, save):
    for split in ("train", "val", "test"):
        for label in "ab":
            for n in range(3):
                save(tmp_path / "lab" / split / label / f"{n}.png")
    data = (tmp_path / "lab" / "train" / "a" / "0.png").read_bytes()
    (tmp_path / "lab" / "test" / "a" / "again.png").write_bytes(data)
    (tmp_path / "lab" / "train" / "b" / "also.png").write_bytes(data)
    notes = run(tmp_path / "lab").notes
    assert "1 pictures lie in more than one split under other names (" in notes
    assert "test/a/again.png" in notes
    assert "1 pictures have several labels under other names (" in notes
    assert "train/b/also.png" in notes


@given(
    st.lists(st.integers(1, 30), min_size=2, max_size=6),
    st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
@example([6, 4, 25], 5)  # what filled test up left none of the four for val
def test_every_split_has_every_class_that_has_enough(numbers, seed):
    entries = [
        LabelledEntry(f"{label}-{n}", f"{label}-{n}", list, label=f"class {label}")
        for label, number in enumerate(numbers)
        for n in range(number)
    ]
    parts = deal(entries, seed, "picture").parts
    assert sum(map(len, parts.values())) == len(entries)
    for label, number in enumerate(numbers):
        held = {s: sum(e.label == f"class {label}" for e in part) for s, part in parts.items()}
        if number > 3:
            assert all(held.values())
        if max(numbers) > 3:
            assert held["train"]  # the last one of a class is not held out
    assert len(parts["train"]) >= len(entries) / 3


def test_a_class_that_is_not_measured_is_named(run, tmp_path, save):
    for n in range(20):
        save(tmp_path / "lab" / "common" / f"{n}.png")
    save(tmp_path / "lab" / "rare" / "1.png")
    outcome = run(tmp_path / "lab")
    warnings = "\n".join(summarise(outcome.folder).warnings)
    assert "val has none of: rare (lab)" in warnings
    assert "test has none of: rare (lab)" in warnings
