"""LC25000, NuInsSeg, BCCD, GlaS, UniToPatho, ESCA: miniatures of what is published."""

import csv

import numpy as np
import pytest
from PIL import Image

from napari_pathreason.errors import QueryError
from napari_pathreason.training.convert import Options, convert


def _write(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture
def lc25000(tmp_path, save):
    root = tmp_path / "lung_colon_image_set"
    for organ, name in (
        ("lung", "lung_aca"),
        ("lung", "lung_n"),
        ("lung", "lung_scc"),
        ("colon", "colon_aca"),
        ("colon", "colon_n"),
    ):
        for i in range(1, 7):
            stem = name.replace("_", "")
            save(root / f"{organ}_image_sets" / name / f"{stem}{i}.jpeg", (48, 48))
    return root


def test_lc25000_says_loudly_that_its_split_leaks(lc25000, run):
    done = run(lc25000)
    assert done.kind == "lc25000"
    assert "LEAKS" in done.notes
    assert "--groups" in done.notes
    kinds = {s.answer for s in done.all if s.topic == "lung subtype"}
    assert kinds == {"adenocarcinoma", "squamous cell carcinoma", "normal"}
    for sample in done.all:
        if sample.topic == "colon subtype":
            assert sample.answer == ("benign" if "/colon_n/" in sample.image else "adenocarcinoma")
        if sample.topic == "lung subtype":
            named = {"lung_aca": "adenocarcinoma", "lung_n": "normal"}
            folder = sample.image.split("/")[-2]
            assert sample.answer == named.get(folder, "squamous cell carcinoma")


def test_lc25000_with_groups_keeps_copies_together(lc25000, run, tmp_path):
    groups = tmp_path / "groups.csv"
    names = sorted(path.name for path in lc25000.rglob("*.jpeg"))
    _write(
        groups,
        [("image", "source_tile"), *((n, f"{n[:6]}{int(n[-6]) // 3}") for n in names)],
    )
    done = run(lc25000, groups=groups)
    assert done.notes == ""
    tile = dict(csv.reader(groups.read_text().splitlines()))
    sides = {}
    for split in done.samples:
        for image in done.images(split):
            sides.setdefault(tile[image.rpartition("/")[2]], set()).add(split)
    assert all(len(splits) == 1 for splits in sides.values())
    assert {split for splits in sides.values() for split in splits} == {"train", "val", "test"}


def test_groups_must_name_every_picture_once(lc25000, run, tmp_path):
    groups = tmp_path / "groups.csv"
    _write(groups, [("image", "group"), ("lungaca1.jpeg", "a")])
    with pytest.raises(QueryError, match="does not name lungaca2"):
        run(lc25000, groups=groups)
    _write(groups, [("image", "group"), ("lungaca1.jpeg", "a"), ("lungaca1.jpeg", "b")])
    with pytest.raises(QueryError, match="two groups"):
        run(lc25000, groups=groups)
    _write(groups, [("image", "tile"), ("lungaca1.jpeg", "a")])
    with pytest.raises(QueryError, match="needs the columns image"):
        run(lc25000, groups=groups)


def test_nuinsseg_counts_by_instance_and_holds_out_whole_organs(tmp_path, run, save):
    root = tmp_path / "nuinsseg"
    for organ in (f"human organ {i}" for i in range(10)):
        for i in range(2):
            name = f"{organ.replace(' ', '_')}_{i:02d}"
            save(root / organ / "tissue images" / f"{name}.png", (96, 96))
            numbers = np.zeros((96, 96), np.uint16)
            numbers[10:20, 10:20] = 1
            numbers[10:20, 20:30] = 2  # touches the first: a binary mask would count one
            folder = root / organ / "label masks modify"
            folder.mkdir(exist_ok=True)
            Image.fromarray(numbers).save(folder / f"{name}.tif")
    bare = root / "mouse liver" / "tissue images" / "mouse_liver_00.png"
    save(bare, (96, 96))
    done = run(root)
    assert done.kind == "nuinsseg"
    assert "1 pictures have no mask" in done.notes
    whole = [s for s in done.all if s.topic == "number of nuclei" and s.region == (0, 0, 96, 96)]
    assert len(whole) >= 20
    assert {s.answer for s in whole} == {"2"}
    organs = [{image.split("/")[-3] for image in done.images(split)} for split in done.samples]
    assert sum(map(len, organs)) == len(set().union(*organs))
    assert [len(part) for part in organs] == [8, 1, 1]


VOC = """<annotation><size><width>640</width><height>480</height></size>
<object><name>WBC</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>100</xmax><ymax>120</ymax></bndbox></object>
<object><name>RBC</name><bndbox><xmin>541</xmin><ymin>401</ymin><xmax>640</xmax><ymax>480</ymax></bndbox></object>
</annotation>"""


def test_bccd_keeps_its_lists_and_counts_pixels_from_one(tmp_path, run, save):
    root = tmp_path / "BCCD_Dataset/BCCD"
    (root / "Annotations").mkdir(parents=True)
    (root / "ImageSets/Main").mkdir(parents=True)
    for split, numbers in (("train", (0, 2)), ("val", (3,)), ("test", (6,))):
        names = [f"BloodImage_{i:05d}" for i in numbers]
        (root / f"ImageSets/Main/{split}.txt").write_text("\n".join(names) + "\n")
        for name in names:
            save(root / "JPEGImages" / f"{name}.jpg", (640, 480))
            (root / "Annotations" / f"{name}.xml").write_text(VOC)
    save(root / "JPEGImages/BloodImage_00009.jpg", (640, 480))  # in no list
    done = run(tmp_path / "BCCD_Dataset")
    assert done.kind == "bccd"
    assert [len(done.images(split)) for split in done.samples] == [2, 1, 1]
    for sample in done.all:
        if sample.region == (0, 0, 640, 480) and sample.task == "detection":
            boxes = {box.label: box.corners for box in sample.boxes}
            assert boxes.get("white cell", (0, 0, 100, 120)) == (0, 0, 100, 120)
        if sample.topic == "number of red cells" and sample.region == (0, 0, 640, 480):
            assert sample.answer == "1"
            (red,) = [area for area in sample.facts.areas if area.label == "red cell"]
            assert red.corners == (540, 400, 640, 480)


def test_what_bccd_leaves_out_is_counted(tmp_path, run, save):
    root = tmp_path / "BCCD"
    (root / "Annotations").mkdir(parents=True)
    (root / "ImageSets/Main").mkdir(parents=True)
    lists = {"training": range(4), "Validation": (4,), "holdout": (5,), "trainval": range(7)}
    for split, numbers in lists.items():
        names = "\n".join(f"Blood_{number}" for number in numbers)
        (root / f"ImageSets/Main/{split}.txt").write_text(names)
    for number in range(8):
        save(root / "JPEGImages" / f"Blood_{number}.jpg", (640, 480))
        other = VOC.replace("RBC", "Basophil") if number == 0 else VOC
        (root / f"Annotations/Blood_{number}.xml").write_text(other)
    (root / "Annotations/Blood_1.xml").write_text("<annotation>")
    done = run(root)
    assert [len(done.images(split)) for split in done.samples] == [
        4,
        1,
        1,
    ]  # 6 is in trainval alone
    notes = done.notes.splitlines()
    assert (
        "1 pictures, or what belongs to them, cannot be read and were left out "
        "(JPEGImages/Blood_1.jpg)" in notes
    )
    assert "1 boxes of another class or without area were left out (Blood_0.xml)" in notes
    assert "1 pictures belong to no label of it and were left out (JPEGImages/Blood_7.jpg)" in notes
    (root / "ImageSets/Main/exam.txt").write_text("Blood_7")
    with pytest.raises(QueryError, match="ImageSets/Main: 'exam' is no name of a split"):
        convert(root, tmp_path / "o")


def test_boxes_that_cannot_be_read_are_named(tmp_path, save):
    root = tmp_path / "BCCD"
    (root / "Annotations").mkdir(parents=True)
    (root / "ImageSets/Main").mkdir(parents=True)
    (root / "ImageSets/Main/train.txt").write_text("a\n")
    save(root / "JPEGImages/a.jpg", (640, 480))
    for broken in (None, "<annotation>"):
        if broken:
            (root / "Annotations/a.xml").write_text(broken)
        with pytest.raises(QueryError, match=r"what belongs to them, cannot be read \(.*a\.jpg\)"):
            convert(root, tmp_path / "o")
    assert not (tmp_path / "o/train.jsonl").exists()


@pytest.fixture
def glas(tmp_path, save):
    root = tmp_path / "Warwick QU Dataset"
    rows = [("name", "patient ID", " grade (GlaS)", " grade (Sirinukunwattana et al. 2015)")]
    names = [f"train_{i}" for i in range(1, 9)] + ["testA_1", "testB_1"]
    for number, name in enumerate(names):
        save(root / f"{name}.bmp", (120, 90))
        glands = np.zeros((90, 120), np.uint8)
        glands[10:30, 20:60] = 1
        glands[50:80, 70:110] = 2
        Image.fromarray(glands).save(root / f"{name}_anno.bmp")
        benign = number % 2 == 0
        grades = (" benign", " healthy") if benign else (" malignant", " poorly differentiated")
        rows.append((name, number // 2, *grades))
    _write(root / "Grade.csv", rows)
    return root


def test_glas_grades_counts_and_boxes_glands(glas, run):
    done = run(glas)
    assert done.kind == "glas"
    assert "a tenth of train became it, by patient" in done.notes
    assert len(done.images("test")) == 2
    assert len(done.images("train") | done.images("val")) == 8
    assert len(done.images("val")) == 2  # one patient
    for sample in done.all:
        if sample.task == "detection":
            assert [box.corners for box in sample.boxes] == [(20, 10, 60, 30), (70, 50, 110, 80)]
        if sample.topic == "number of glands":
            assert sample.answer == "2"
    graded = {s.image.rpartition("/")[2]: s.answer for s in done.all if "benign" in s.choices}
    assert graded["train_1.bmp"] == "benign"
    assert graded["train_2.bmp"] == "malignant"


def test_glas_of_an_unknown_part_is_refused_and_lacking_outlines_are_counted(glas, run, tmp_path):
    (glas / "train_3_anno.bmp").unlink()
    assert "1 pictures have no outlines, so nothing is asked about their glands (train_3)" in (
        run(glas).notes
    )
    table = glas / "Grade.csv"
    table.write_text(table.read_text().replace("testB_1", "exam_1"))
    with pytest.raises(QueryError, match=r"Grade\.csv: 'exam' is no name of a split"):
        convert(glas, tmp_path / "o")


def test_unitopatho_joins_tables_and_pictures(tmp_path, run, save):
    root = tmp_path / "unitopath-public"
    for width in ("800", "7000"):
        for split, slides in (("train", range(10)), ("test", (20, 21))):
            rows = [("image_id", "top_label", "top_label_name")]
            for slide in slides:
                label = ("NORM", "TA.LG")[slide % 2]
                name = f"{slide}-B2-X.ndpi_ROI__mpp0.44_reg000_crop_sk00000_(1,1,1812,1812).png"
                save(root / width / label / name, (40, 40))
                rows.append((name, slide % 2, label))
            _write(root / width / f"{split}.csv", rows)
    (root / "800/NORM").joinpath(
        "4-B2-X.ndpi_ROI__mpp0.44_reg000_crop_sk00000_(1,1,1812,1812).png"
    ).unlink()
    done = run(root)
    assert done.kind == "unitopatho"
    assert "1 pictures are not in the folder" in done.notes
    slides = [
        {image.rpartition("/")[2].partition("-")[0] for image in done.images(split)}
        for split in done.samples
    ]
    assert len(slides[1]) == 2  # both widths of one slide of train of each class
    assert slides[0].isdisjoint(slides[1])
    assert slides[2] == {"20", "21"}
    for sample in done.all:
        assert (sample.answer == "normal tissue") == ("/NORM/" in sample.image)


def test_esca_holds_out_whole_centres(tmp_path, run, save):
    root = tmp_path / "esca"
    for centre in ("VALSET1_UKK", "VALSET2_WNS", "VALSET4_CHA_FULL"):
        for name in ("TUMOR", "SH_OES"):
            for i in range(2):
                save(root / centre / name / f"{name.lower()}.{i}.jpg", (40, 40))
    (root / "VALSET2_WNS/TUMOR/._tumor.0.jpg").write_bytes(b"a resource fork")
    done = run(root)
    assert done.kind == "esca"
    assert "VALSET3_TCGA (test)" not in done.notes  # test has another centre
    centres = [{image.split("/")[-3] for image in done.images(split)} for split in done.samples]
    assert centres == [{"VALSET4_CHA_FULL"}, {"VALSET1_UKK"}, {"VALSET2_WNS"}]
    assert {s.answer for s in done.all} == {"tumour", "oesophageal mucosa"}


def test_a_folder_without_its_pictures_says_what_belongs_there(tmp_path, glas):
    for picture in glas.glob("*.bmp"):
        picture.unlink()
    with pytest.raises(QueryError, match=r"neither train_1 nor any other picture of glas"):
        convert(glas, tmp_path / "o", Options())
