"""PatchCamelyon: tiles out of HDF5 are the tiles, labels theirs, published splits kept."""

import csv
import gzip
import sys

import h5py
import numpy as np
import pytest

from napari_pathreason.errors import ExportError, QueryError
from napari_pathreason.training.convert import Options, convert

STEM = "camelyonpatch_level_2_split_"


@pytest.fixture
def pcam(tmp_path):
    """12, 4 and 4 tiles; the first pixel of a tile holds its number and its label."""
    root = tmp_path / "pcam"
    root.mkdir()
    rng = np.random.default_rng(1)
    for split, count in (("train", 12), ("valid", 4), ("test", 4)):
        tiles = rng.integers(0, 255, (count, 96, 96, 3), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1) % 2
        tiles[:, 0, 0, 0] = np.arange(count)
        tiles[:, 0, 0, 1] = labels.ravel()
        with h5py.File(root / f"{STEM}{split}_x.h5", "w") as file:
            file["x"] = tiles
        with h5py.File(root / f"{STEM}{split}_y.h5", "w") as file:
            file["y"] = labels
        with (root / f"{STEM}{split}_meta.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["", "coord_y", "coord_x", "tumor_patch", "center_tumor_patch", "wsi"])
            writer.writerows(
                [i, 0, 0, "True", "True", f"camelyon16_{split}_{i // 4}"] for i in range(count)
            )
    return root


def test_labels_belong_to_their_pixels_and_splits_are_kept(pcam, run):
    done = run(pcam)
    assert done.kind == "patchcamelyon"
    assert done.notes == ""
    for split, count in (("train", 12), ("val", 4), ("test", 4)):
        assert len(done.images(split)) == count
        for sample in done.samples[split]:
            pixels = done.pixels(sample)
            assert pixels.shape == (96, 96, 3)
            assert f"{pixels[0, 0, 0]:06d}" in sample.image  # lossless, and the right row
            if sample.topic == "tumour in a tile":
                tumour = sample.answer in ("yes", "tumour")
                assert tumour == bool(pixels[0, 0, 1])
    assert {s.source for s in done.all} == {"patchcamelyon"}


def test_most_draws_by_the_seed_and_a_second_run_writes_no_picture_again(pcam, run, tmp_path):
    few = run(pcam, most=3)
    assert [len(few.images(split)) for split in few.samples] == [3, 3, 3]
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/images").rglob("*.png")}
    assert len(files) == 9
    again = run(pcam, most=3)
    assert again.samples == few.samples
    assert {path: path.stat().st_mtime_ns for path in files} == files
    other = run(pcam, most=3, seed=1, out="other")
    assert other.images("train") != few.images("train")
    whole = run(pcam, out="whole")
    assert {s.question for s in few.samples["val"]} <= {s.question for s in whole.samples["val"]}


def test_a_picture_cut_off_while_written_is_written_again(pcam, run, tmp_path):
    done = run(pcam, most=1)
    (file,) = (tmp_path / "out/images/train").glob("*.png")
    data = file.read_bytes()
    file.rename(file.with_name(f".{file.name}.partial"))
    file.with_name(f".{file.name}.partial").write_bytes(data[:100])
    assert run(pcam, most=1).samples == done.samples
    assert file.read_bytes() == data


def test_a_slide_on_both_sides_is_said(pcam, run):
    meta = pcam / f"{STEM}test_meta.csv"
    meta.write_text(meta.read_text().replace("camelyon16_test_0", "camelyon16_train_0"))
    assert "1 slide lies in more than one published split" in run(pcam).notes


def test_without_meta_slides_are_unknown_and_that_is_said(pcam, run):
    (pcam / f"{STEM}train_meta.csv").unlink()
    assert "slides of train are unknown" in run(pcam).notes


def test_what_is_amiss_is_named(pcam, tmp_path, monkeypatch):
    x = pcam / f"{STEM}test_x.h5"
    data = x.read_bytes()
    x.unlink()
    with gzip.open(f"{x}.gz", "wb") as file:
        file.write(data)
    with pytest.raises(QueryError, match="gunzip"):
        convert(pcam, tmp_path / "o")
    x.write_bytes(data[: len(data) // 2])
    with pytest.raises(QueryError, match="download it again"):
        convert(pcam, tmp_path / "o")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(QueryError, match=r"need h5py; install it with .*napari-pathreason\[data\]"):
        convert(pcam, tmp_path / "o", Options())


def test_a_place_that_cannot_be_written_to_is_said(pcam, tmp_path):
    (tmp_path / "o").mkdir()
    (tmp_path / "o/images").write_text("a file in the way")
    with pytest.raises(ExportError, match="choose another place with -o"):
        convert(pcam, tmp_path / "o")
