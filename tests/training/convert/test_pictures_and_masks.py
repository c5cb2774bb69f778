"""Pictures beside labels that mean nothing known are no two classes: refused by name."""

import pytest

from napari_pathreason.cli import main
from napari_pathreason.errors import QueryError
from napari_pathreason.training.convert import convert

PAIRS = [
    ("images", "masks"),
    ("Images", "Labels"),
    ("img", "annotations"),
    ("tissue pictures", "mask binary"),
    ("original", "ground_truth"),
    ("imagesTr", "labelsTr"),
    ("slides", "segmentations"),
    ("patches", "GT"),
]


@pytest.mark.parametrize(("pictures", "masks"), PAIRS)
@pytest.mark.parametrize("split", ["", "train/"])
def test_masks_in_colour_are_refused_by_name(tmp_path, save, capsys, pictures, masks, split):
    for name in (pictures, masks):
        for number in range(3):
            save(tmp_path / "mine" / f"{split}{name}" / f"{number}.png", (32, 32))
    out = tmp_path / "o"
    assert main(["data", "convert", str(tmp_path / "mine"), "-o", str(out)]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"{pictures} and {masks}" in told
    assert "labels.csv" in told
    assert "GeoJSON" in told
    assert not out.exists()


@pytest.mark.parametrize("ending", [".csv", ".json", ".xml"])
def test_labels_that_are_no_pictures_are_no_less(tmp_path, save, ending):
    for number in range(3):
        save(tmp_path / "mine/train/images" / f"{number}.png", (32, 32))
        label = tmp_path / "mine/train/labels" / f"{number}{ending}"
        label.parent.mkdir(exist_ok=True)
        label.write_text("0 0.5 0.5 0.1 0.1")
    with pytest.raises(QueryError, match="images and labels in mine look like pictures and what"):
        convert(tmp_path / "mine", tmp_path / "o")


def test_masks_are_known_by_the_names_of_their_pictures(tmp_path, save):
    for number in range(3):
        save(tmp_path / "mine/stained" / f"{number}.png", (32, 32))
        save(tmp_path / "mine/seg" / f"{number}_mask.png", (32, 32))
    with pytest.raises(QueryError, match="stained and seg in mine look like pictures"):
        convert(tmp_path / "mine", tmp_path / "o")


def test_a_folder_for_all_pictures_is_no_class(tmp_path, save):
    for number in range(3):
        save(tmp_path / "mine/images" / f"{number}.png", (32, 32))
    with pytest.raises(QueryError, match=r"the one class images, .* labels\.csv"):
        convert(tmp_path / "mine", tmp_path / "o")


def test_classes_whose_files_go_by_the_same_numbers_are_classes(tmp_path, run, save):
    names = {"segmented neutrophil", "target cell", "benign"}
    for name in names:
        for number in range(5):
            save(tmp_path / "mine" / name / f"{number}.png", (32, 32))
    assert {s.answer for s in run(tmp_path / "mine").all} == names
