"""What is left out is counted, what is broken is met here, and all is written or nothing."""

import csv
import io
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from napari_pathreason.cli import main
from napari_pathreason.errors import ExportError, QueryError
from napari_pathreason.files import writing_alone
from napari_pathreason.training import read_samples
from napari_pathreason.training.convert import Options, convert
from napari_pathreason.training.samples import write_samples

SPLITS = ("train", "val", "test")


@pytest.fixture
def mine(tmp_path, save):
    """Two classes of twelve pictures."""
    for name in ("benign", "malignant"):
        for number in range(12):
            save(tmp_path / "mine" / name / f"{number:02d}.jpg", (64, 64))
    return tmp_path / "mine"


def _cut(path, share=0.6):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def _table(folder, *rows):
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def _files(out):
    return {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.mark.parametrize("how", ["cut", "empty", "text"])
def test_a_broken_picture_is_counted_by_name_and_left_out(mine, tmp_path, capsys, how):
    broken = mine / "malignant/03.jpg"
    if how == "cut":
        _cut(broken)
    else:
        broken.write_bytes(b"" if how == "empty" else b"no picture at all")
    out = tmp_path / "o"
    assert main(["data", "convert", str(mine), "-o", str(out)]) == 0
    told = capsys.readouterr().out
    assert "note: 1 pictures cannot be read and were left out (malignant/03.jpg)\n" in told
    assert str(tmp_path) not in told
    images = [s.image for split in SPLITS for s in read_samples(out / f"{split}.jsonl")]
    assert len(images) == 23
    assert not any(image.endswith("malignant/03.jpg") for image in images)


@pytest.mark.parametrize("ending", [".png", ".webp", ".bmp", ".gif", ".tif", ".jpeg"])
def test_every_format_is_opened_to_its_end(tmp_path, run, save, ending):
    for name in ("x", "y"):
        for number in range(4):
            save(tmp_path / "mine" / name / f"{number}{ending}", (300, 200))
    _cut(tmp_path / "mine/x" / f"2{ending}", 0.5)
    done = run(tmp_path / "mine")
    assert f"1 pictures cannot be read and were left out (x/2{ending}" in done.notes
    assert len(done.all) == 7


def test_when_most_are_drawn_what_is_drawn_is_opened(mine, run):
    for number in range(3):
        _cut(mine / "benign" / f"{number:02d}.jpg")
    done = run(mine, most=8)
    assert "--most took 8 of 20 pictures of train" in done.notes
    assert not any(f"benign/{number:02d}.jpg" in s.image for s in done.all for number in range(3))


def test_a_folder_that_is_damaged_is_refused(mine, tmp_path):
    for path in sorted((mine / "benign").iterdir())[:7]:
        _cut(path)
    with pytest.raises(QueryError, match=r"7 of 24 pictures cannot be read \(benign/00\.jpg.*copy"):
        convert(mine, tmp_path / "o")
    for path in mine.rglob("*.jpg"):
        path.write_bytes(b"")
    with pytest.raises(QueryError, match="24 of 24 pictures cannot be read"):
        convert(mine, tmp_path / "o")


def test_broken_slides_are_counted_too(tmp_path, run, save):
    for number in range(6):
        save(tmp_path / "mine" / f"{number}.tif", (200, 200))
    (tmp_path / "mine/3.tif").write_bytes(b"II*\0 and no more")
    rows = [(f"{number}.tif", ("x", "y")[number % 2]) for number in range(6)]
    _table(tmp_path / "mine", ("image", "label"), *rows)
    done = run(tmp_path / "mine")
    assert "1 pictures cannot be read and were left out (3.tif: " in done.notes
    assert len(done.all) == 5


def test_a_broken_picture_of_an_archive_and_a_row_without_answer(tmp_path, run):
    def encoded(number):
        file = io.BytesIO()
        noise = np.random.default_rng(number).integers(0, 255, (80, 80, 3), dtype=np.uint8)
        Image.fromarray(noise).save(file, "JPEG")
        return file.getvalue()

    (tmp_path / "vqa").mkdir()
    for at, split in enumerate(("train", "validation", "test")):
        data = [encoded(10 * at + number) for number in range(6)]
        answers = ["a gland"] * 6
        if split == "train":
            data[2], answers[4] = data[2][:900], ""
        images = [{"bytes": one, "path": None} for one in data]
        table = {"image": images, "question": ["what is it?"] * 6, "answer": answers}
        pq.write_table(pa.table(table), tmp_path / f"vqa/{split}-0.parquet")
    done = run(tmp_path / "vqa")
    assert [len(samples) for samples in done.samples.values()] == [4, 6, 6]
    assert "1 pictures, or what belongs to them, cannot be read" in done.notes
    assert "(train-0.parquet, row 2 of group 0)" in done.notes
    assert "1 rows have no question or no answer and were left out" in done.notes


def test_files_that_nothing_uses_are_counted(mine, run, save):
    save(mine / "stray.png")
    (mine / "benign/scan.heic").write_bytes(b"x")
    (mine / "malignant/12.czi").write_bytes(b"x")
    (mine / "notes.txt").write_text("x")
    for name in ("README.md", "LICENSE", ".hidden.png", "benign/.DS_Store", "Thumbs.db"):
        (mine / name).write_bytes(b"x")
    notes = run(mine).notes.splitlines()
    assert "1 pictures belong to no label of it and were left out (stray.png)" in notes
    for ending in (".heic", ".czi", ".txt"):
        assert f"1 files {ending} were not used" in notes
    assert len(notes) == 5  # and that pictures were dealt one by one


def test_samples_written_into_the_folder_itself_are_no_files_of_it(mine, run, tmp_path):
    for _ in range(2):
        done = convert(mine, mine / "samples")
        assert len(done.notes) == 1
    assert len(convert(mine, tmp_path / "o").notes) == 1


def test_what_a_table_leaves_out_is_counted(tmp_path, run, save):
    for number in range(12):
        save(tmp_path / "mine" / f"{number}.png", (32, 32))
    rows = [(f"{number}.png", ("x", "y")[number % 2], "r1") for number in range(10)]
    _table(
        tmp_path / "mine",
        ("Image", "LABEL", "Scanner"),
        *rows,
        ("gone.png", "x", "r1"),
        ("10.png", "", "r1"),
        ("", "", ""),
    )
    notes = run(tmp_path / "mine").notes.splitlines()
    assert "columns of labels.csv that were not used: scanner" in notes
    assert "1 pictures that rows name are not in the folder and were left out (gone.png)" in notes
    blank = "1 rows have no label, no answer and no boxes and were left out (labels.csv, line 13)"
    assert blank in notes
    assert "2 pictures belong to no label of it and were left out (10.png, 11.png)" in notes


def test_a_row_with_more_cells_than_columns_is_refused(tmp_path, save):
    save(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text("image,label\na.png,adenoma, low grade\n")
    with pytest.raises(QueryError, match=r"labels\.csv, line 2: more cells than columns"):
        convert(tmp_path, tmp_path / "o")


def test_regions_and_boxes_that_do_not_fit_are_counted(tmp_path, run, save):
    for number in range(6):
        save(tmp_path / "mine" / f"{number}.png", (100, 80))
    _table(
        tmp_path / "mine",
        ("image", "region", "boxes"),
        *((f"{number}.png", "", "[[1, 2, 30, 40]]") for number in range(5)),
        ("5.png", "50 0 60 60", "[]"),
    )
    done = run(tmp_path / "mine")
    assert "1 questions were left out, for their region does not lie in the picture" in done.notes
    rows = [(f"{number}.png", "0 0 20 20", "[[30, 30, 40, 40]]") for number in range(6)]
    _table(tmp_path / "mine", ("image", "region", "boxes"), *rows)
    notes = convert(tmp_path / "mine", tmp_path / "o").notes
    assert any("6 boxes lie outside the region that is asked about" in note for note in notes)


def test_rows_of_groups_without_pictures_are_counted(mine, run, tmp_path):
    names = [path.relative_to(mine).as_posix() for path in sorted(mine.rglob("*.jpg"))]
    rows = "".join(f"{name},p{at // 4}\n" for at, name in enumerate(names))
    groups = tmp_path / "groups.csv"
    groups.write_text(f"image,group\n{rows}gone.jpg,p9\n")
    notes = run(mine, groups=groups).notes
    assert "1 rows of groups.csv name no picture of the folder (gone.jpg)" in notes
    groups.write_text(f"image,group\n{rows}".replace(",p0", ","))
    with pytest.raises(QueryError, match=r"gives benign/00\.jpg no group; fill the cell"):
        convert(mine, tmp_path / "o", Options(groups=groups))


def test_records_of_chats_and_other_json_are_counted(tmp_path, run, save):
    folder = tmp_path / "chats"
    records = []
    for number in range(6):
        save(folder / f"{number}.png")
        turn = {"role": "user", "content": "Which? (A) one (B) two"}
        records.append({"messages": [turn], "images": [f"{number}.png"], "solution": "(A) one"})
    records += [records[0], {**records[1], "solution": "(B) one"}]
    save(folder / "unasked.png")
    (folder / "chats.json").write_text(json.dumps(records))
    (folder / "settings.json").write_text("{}")
    notes = run(folder).notes
    assert "1 records ask what another one does and were taken once (chats.json, record 7)" in notes
    assert "1 records left out: no answer, or one that is none" in notes
    assert "1 files of JSON hold no messages and were not used (settings.json)" in notes
    assert "1 pictures belong to no label of it and were left out (unasked.png)" in notes


def test_one_name_of_several_pictures_is_said(tmp_path, run, save):
    for place in ("siteA", "siteB"):
        save(tmp_path / "store" / place / "x.png")
    records = []
    for name in ("x.png", *(f"{number}.png" for number in range(5))):
        save(tmp_path / "store" / name) if name != "x.png" else None
        turn = {"role": "user", "content": "Which? (A) one (B) two"}
        records.append({"messages": [turn], "images": [name], "solution": "(A) one"})
    (tmp_path / "chats.json").write_text(json.dumps(records))
    notes = run(tmp_path / "chats.json", images=tmp_path / "store").notes
    assert "1 names of pictures fit several files, so that none was taken (x.png)" in notes
    assert "1 pictures are not in the folder and were left out (x.png)" in notes


@pytest.mark.parametrize(
    ("split", "remedy"),
    [("train", "--splits test"), ("val", "--groups CSV"), ("test", "--splits train,val")],
)
def test_a_split_without_samples_is_an_error_before_anything_is_written(
    tmp_path, save, capsys, split, remedy
):
    folder, out = tmp_path / "mine", tmp_path / "o"
    rows = []
    for number, one in enumerate(SPLITS):
        save(folder / f"{number}.png", (32, 32))
        rows.append((f"{number}.png", ("x", "y")[number % 2], one))
    _table(folder, ("image", "label", "split"), *rows)
    assert main(["data", "convert", str(folder), "-o", str(out)]) == 0
    before = _files(out)
    kept = [row for row in rows if row[2] != split]
    _table(folder, ("image", "label", "split"), *kept)
    capsys.readouterr()
    assert main(["data", "convert", str(folder), "-o", str(out)]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"no samples for {split} (" in told
    assert remedy in told
    assert _files(out) == before
    wanted = [one for one in SPLITS if one != split]
    assert main(["data", "convert", str(folder), "-o", str(out), "--splits", ",".join(wanted)]) == 0
    assert (out / f"{split}.jsonl").read_text() == ""


def test_an_error_midway_leaves_the_earlier_conversion(mine, tmp_path, monkeypatch):
    out = tmp_path / "o"
    convert(mine, out)
    before = _files(out)
    write = write_samples

    def fails(path, samples):
        if path.name == "test.jsonl":
            raise OSError(28, "No space left on device")
        return write(path, samples)

    monkeypatch.setattr("napari_pathreason.training.convert._convert.write_samples", fails)
    with pytest.raises(ExportError, match=r"No space left on device.* another place with -o"):
        convert(mine, out, Options(seed=1))
    assert _files(out) == before


def test_a_split_whose_only_picture_is_broken_says_which(tmp_path, save):
    for split in SPLITS:
        for name in ("x", "y"):
            for number in range(1 if split == "test" else 4):
                save(tmp_path / "mine" / split / name / f"{number}.jpg")
    for name in ("x", "y"):
        _cut(tmp_path / "mine/test" / name / "0.jpg")
    with pytest.raises(
        QueryError, match=r"no samples for test .*cannot be read: test/x/0\.jpg"
    ) as e:
        convert(tmp_path / "mine", tmp_path / "o")
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("words", ["exam", "train,exam", ""])
def test_splits_that_are_none_are_refused(mine, tmp_path, capsys, words):
    with pytest.raises(SystemExit):
        main(["data", "convert", str(mine), "-o", str(tmp_path / "o"), "--splits", words])
    assert "no list of train, val and test" in capsys.readouterr().err


@pytest.mark.parametrize("splits", [("train", "val"), ("val", "test"), ("test",)])
def test_pictures_are_dealt_among_the_splits_that_are_wanted(mine, run, splits):
    done = run(mine, splits=splits)
    assert {split for split in done.samples if done.samples[split]} == set(splits)
    assert len(done.all) == 24


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process of its own is killed")
@pytest.mark.parametrize("moves", range(7))
def test_killed_between_two_files_no_splits_of_two_conversions_lie_together(mine, tmp_path, moves):
    """Else a picture to train on of one could be one to test on of the other."""
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    convert(mine, out)
    convert(mine, fresh, Options(seed=7))
    olds, news = ({s: (of / f"{s}.jsonl").read_bytes() for s in SPLITS} for of in (out, fresh))
    assert all(olds[split] != news[split] for split in SPLITS)
    child = os.fork()
    if child == 0:
        move, done = os.replace, []

        def replace(first, second):
            if {Path(first).suffix, Path(second).suffix} & {".former"} or (
                Path(first).parent.name.startswith(".converting-")
                and not Path(first).name.startswith(".")
                and Path(second).parent == out
            ):
                done.append(second)
                if len(done) > moves:
                    os._exit(9)
            return move(first, second)

        os.replace = replace
        convert(mine, out, Options(seed=7))
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code == (9 if moves < 6 else 0)
    left = {s: (out / f"{s}.jsonl").read_bytes() for s in SPLITS if (out / f"{s}.jsonl").exists()}
    assert any(all(of[split] == left[split] for split in left) for of in (olds, news))
    convert(mine, out, Options(seed=7))
    assert {s: (out / f"{s}.jsonl").read_bytes() for s in SPLITS} == news
    assert not list(out.glob(".converting-*"))  # nor is anything left of the one that was killed


def test_a_second_process_does_not_convert_into_the_same_folder(mine, tmp_path):
    out = tmp_path / "out"
    convert(mine, out)
    before = (out / "train.jsonl").read_bytes()
    with writing_alone(out), pytest.raises(ExportError, match="another process is at work"):
        convert(mine, out, Options(seed=7))
    assert (out / "train.jsonl").read_bytes() == before


def test_what_is_no_file_of_samples_is_not_written_over(mine, tmp_path):
    chats = tmp_path / "chats"
    chats.mkdir()
    (chats / "test.jsonl").write_text('{"messages": [], "images": []}\n')
    with pytest.raises(QueryError, match=r"test\.jsonl in the folder chats holds no samples"):
        convert(mine, chats)
    assert [file.name for file in chats.iterdir()] == ["test.jsonl"]
    assert (chats / "test.jsonl").read_text() == '{"messages": [], "images": []}\n'
