"""``pathreason ask`` and the files it leaves: whole, repeatable, and with nothing private."""

import base64
import csv
import gzip
import io
import json
import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from shapely.geometry import shape

from napari_pathreason.exports import detections_in, read_geojson
from napari_pathreason.geometry import Box

FIND = ("--task", "detection", "--choices", "spot")
SAMPLE = str(files("napari_pathreason") / "sample_data" / "CMU-1-Small-Region.svs")
NAMES = {
    "json": "a.json",
    "figure": "a.png",
    "geojson": "a.geojson",
    "csv": "a.csv",
    "views-csv": "a.views.csv",
    "report": "a.html",
    "manifest": "run.json",
    "transcript": "a.jsonl",
}


def all_files(folder):
    return [word for name, file in NAMES.items() for word in (f"--{name}", folder / file)]


def without_time(told):
    return {name: value for name, value in told.items() if name not in ("seconds", "run")}


def test_every_file_of_one_question(shell, loads, picture, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    done = shell("ask", picture, *FIND, "--mpp", 0.5, *all_files(out))
    assert done.code == 0, done.err
    assert done.err == ""
    assert {file.name for file in out.iterdir()} == set(NAMES.values())  # and no draft
    told = json.loads((out / "a.json").read_text())
    (box,) = [Box(*found["box"]) for found in told["detections"]]
    (found,) = detections_in(read_geojson(out / "a.geojson"))
    assert found.label == "spot"
    assert found.box.corners == pytest.approx(box.corners, abs=0.001)
    (row,) = csv.DictReader((out / "a.csv").open())
    assert float(row["width_um"]) == pytest.approx(box.w / 2, abs=0.001)
    (view,) = csv.DictReader((out / "a.views.csv").open())
    assert (view["view"], view["answer"]) == ("picture", "1 spot")
    (line,) = (out / "a.jsonl").read_text().splitlines()
    assert without_time(json.loads(line)) == {**without_time(told), "result": 1}
    html = (out / "a.html").read_text()
    assert "one dark spot" in html
    jpeg = base64.b64decode(re.search(r"base64,([^\"]+)", html)[1])
    with Image.open(io.BytesIO(jpeg)) as drawn:
        pixels = drawn.convert("RGB")
    assert pixels.size == (960, 720)  # the region and its box, as in the figure
    edge = [pixels.getpixel((round(box.x * 1.5) + dx, 240)) for dx in range(-4, 5)]
    assert np.abs(np.array(edge) - (230, 25, 75)).max(1).min() < 40  # JPEG blurs a line


def test_a_run_is_repeated(shell, loads, picture, tmp_path):
    regions = ("--region", 600, 400, 200, 200, "--region", 200, 100, 200, 200)
    words = ("--budget", 32, "--seed", 5, "--mpp", 0.5, "--question", "Where?")
    first, again = tmp_path / "first.json", tmp_path / "again.json"
    manifest = tmp_path / "run.json"
    asked = shell(
        *("ask", picture, *FIND, *regions, *words),
        *("--json", first, "--manifest", manifest),
    )
    assert asked.code == 0, asked.err
    done = shell("ask", "--from", manifest, "--json", again)  # the slide lies beside it
    assert done.code == 0, done.err
    assert done.err == ""
    before, after = (json.loads(file.read_text()) for file in (first, again))
    assert list(map(without_time, before)) == list(map(without_time, after))
    assert before[0]["warnings"] != before[1]["warnings"]  # one was cut at the slide's edge
    assert before[1]["detections"]


def test_a_run_is_repeated_with_its_encoder(shell, loads, picture, tmp_path):
    manifest = tmp_path / "run.json"
    asked = shell("ask", picture, *FIND, "--encoder", "fast", "--manifest", manifest)
    assert asked.code == 0, asked.err
    assert "finder on cpu, fast encoder" in asked.out
    assert json.loads(manifest.read_text())["model"]["encoder"] == "fast"
    told = json.loads(shell("ask", "--from", manifest, "--json", "-").out)
    assert told["model"]["encoder"] == "fast"
    assert loads == [("embedded", "auto", "fast"), ("embedded", "cpu", "fast")]


def test_a_run_that_could_not_be_fast_is_named_exact(shell, old_processor, picture, tmp_path):
    manifest = tmp_path / "run.json"
    asked = shell("ask", picture, *FIND, "--encoder", "fast", "--manifest", manifest)
    assert (asked.code, asked.err) == (0, "")
    assert asked.out.count("Note         the vision encoder runs exact: an old processor") == 1
    assert json.loads(manifest.read_text())["model"]["encoder"] == "exact"
    again = shell("ask", "--from", manifest)
    assert "encoder" not in again.out
    assert old_processor == [("embedded", "auto", "fast"), ("embedded", "cpu", "exact")]


def test_another_slide_or_other_weights_are_refused(shell, loads, picture, tmp_path, monkeypatch):
    manifest = tmp_path / "run.json"
    assert shell("ask", picture, *FIND, "--manifest", manifest).code == 0
    loads.clear()
    other = tmp_path / "other.png"
    Image.new("RGB", (640, 480)).save(other)
    done = shell("ask", other, "--from", manifest)
    assert done.code == 2
    assert "is not the slide of the run" in done.err
    monkeypatch.setattr("napari_pathreason.models.checkpoint_sha256", lambda *_: "0")
    done = shell("ask", picture, "--from", manifest)
    assert done.code == 2
    assert "the model is not that of the run" in done.err
    assert not loads


def test_a_changed_answer_and_other_versions_are_said(shell, loads, picture, tmp_path):
    manifest = tmp_path / "run.json"
    assert shell("ask", picture, *FIND, "--manifest", manifest).code == 0
    told = json.loads(manifest.read_text())
    told["entries"][0]["digest"] = "0"
    told["versions"]["torch"] = "0.1"
    manifest.write_text(json.dumps(told))
    done = shell("ask", "--from", manifest)
    assert done.code == 0
    assert "torch 0.1" in done.err
    assert "the answer differs" in done.err


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--from", "none.json"), "none.json cannot be read"),
        (("--from", "{run}", "--task", "subtyping", "--seed", "3"), "leave out --task, --seed"),
        ((), "there is no SLIDE"),
        (("{slide}", "--question", "?", "--report", "no/folder/a.html"), "there is no folder"),
        (("{slide}", "--question", "?", "--csv", "."), "is a folder"),
    ],
)
def test_wrong_words(shell, loads, picture, tmp_path, words, part):
    manifest = tmp_path / "run.json"
    assert shell("ask", picture, *FIND, "--manifest", manifest).code == 0
    loads.clear()
    done = shell("ask", *(w.format(run=manifest, slide=picture) for w in words))
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert part in done.err
    assert not loads


def test_the_slide_must_be_found(shell, loads, picture, tmp_path):
    elsewhere = tmp_path / "else"
    elsewhere.mkdir()
    manifest = elsewhere / "run.json"
    assert shell("ask", picture, *FIND, "--manifest", manifest).code == 0
    done = shell("ask", "--from", manifest)
    assert done.code == 2
    assert "spot.png is neither beside" in done.err
    assert shell("ask", picture, "--from", manifest).code == 0


def test_answers_before_a_bad_region_are_exported(shell, loads, picture, tmp_path):
    out = tmp_path / "a.geojson.gz"
    words = ("--region", 5000, 0, 64, 64, "--region", 0, 0, 640, 480, "--geojson", out)
    assert shell("ask", picture, *FIND, *words).code == 2
    assert len(list(detections_in(read_geojson(out)))) == 1


SECRETS = ("PLANTED-PATIENT", "PLANTED-SERIAL", "PLANTED-FOLDER", "PLANTED-ACCESSION")
LABEL = (1, 254, 3)


@pytest.fixture
def private_slide(tmp_path):
    """An Aperio file with a patient, a serial number, a label and a macro image to keep quiet."""
    folder = tmp_path / "PLANTED-FOLDER"
    folder.mkdir()
    path = folder / "slide.svs"
    base = np.full((480, 640, 3), 255, np.uint8)
    base[128:224, 256:320] = 0
    label = np.full((80, 50, 3), LABEL, np.uint8)
    with tifffile.TiffWriter(path) as writer:
        writer.write(
            base,
            tile=(256, 256),
            photometric="rgb",
            compression="zlib",
            description="Aperio Image Library v11.2.1\r\n640x480 (256x256) JPEG/RGB Q=90"
            "|AppMag = 20|MPP = 0.4990|Patient = PLANTED-PATIENT|ScanScope ID = PLANTED-SERIAL"
            "|Filename = /data/PLANTED-FOLDER/PLANTED-ACCESSION.svs",
            metadata=None,
        )
        for name, kind in (("label", 1), ("macro", 9)):
            writer.write(
                label,
                photometric="rgb",
                subfiletype=kind,
                description=f"Aperio Image Library v11.2.1\r\n{name} 80x50 PLANTED-ACCESSION",
                metadata=None,
            )
    return path


def texts_of(file):
    """The bytes of a file, and of what is packed in it."""
    raw = file.read_bytes()
    yield gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    for packed in re.findall(rb"base64,([A-Za-z0-9+/=]+)", raw):
        yield base64.b64decode(packed)


def pictures_of(file):
    for text in texts_of(file):
        if text.startswith((b"\x89PNG", b"\xff\xd8\xff")):
            with Image.open(io.BytesIO(text)) as picture:
                yield picture.info, np.asarray(picture.convert("RGB")).astype(int)


@pytest.mark.parametrize("policy", ["one_view", "again", "listed"])
def test_no_file_holds_anything_private(shell, loads, private_slide, tmp_path, monkeypatch, policy):
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.chdir(tmp_path)
    geojson = ("--geojson", out / "b.geojson.gz")  # the last of the two counts
    how = ("--policy", policy, "--geojson-windows")
    if policy == "listed":
        plan = private_slide.parent / "PLANTED-PATIENT.json"
        plan.write_text('{"windows": [{"region": [200, 100, 200, 200], "why": "PLANTED-SERIAL"}]}')
        how += ("--views", plan)
    done = shell("ask", private_slide, *FIND, *how, *all_files(out), *geojson)
    assert done.code == 0, done.err
    shell("ask", private_slide, *FIND, "--geojson", out / "a.geojson")
    assert all(secret.encode() in private_slide.read_bytes() for secret in SECRETS)
    for file in out.iterdir():
        for text in texts_of(file):
            for secret in (*SECRETS, str(tmp_path), str(private_slide.parent)):
                assert secret.encode() not in text, (file.name, secret)
    for told in (done.out, done.err):
        assert not any(secret in told for secret in SECRETS)
    pictures = [one for name in ("a.png", "a.html") for one in pictures_of(out / name)]
    assert len(pictures) == 2
    for info, pixels in pictures:
        assert all(name.startswith("jfif") for name in info)
        assert np.abs(pixels - LABEL).sum(-1).min() > 60


def test_the_sample_slide_from_end_to_end(shell, loads, tmp_path):
    region = ("--region", 200, 300, 1024, 768, "--budget", 256)
    done = shell("ask", SAMPLE, *FIND, *region, *all_files(tmp_path))
    assert done.code == 0, done.err
    told = json.loads((tmp_path / "a.geojson").read_text(encoding="utf-8"))
    outline, spot = (shape(one["geometry"]) for one in told["features"])
    assert outline.bounds == (200, 300, 1224, 1068)
    assert spot.is_valid
    assert outline.covers(spot)
    measured = told["features"][1]["properties"]["measurements"]
    assert measured["Area µm^2"] == pytest.approx(spot.area * 0.499**2, rel=1e-3)
    manifest = json.loads((tmp_path / "run.json").read_text())
    assert manifest["slide"]["mpp"] == pytest.approx([0.499, 0.499])
    assert len(manifest["model"]["sha256"]) == 64
    again = shell("ask", SAMPLE, "--from", tmp_path / "run.json", "--json", "-")
    assert again.code == 0, again.err
    before = json.loads((tmp_path / "a.json").read_text())
    assert without_time(json.loads(again.out)) == without_time(before)


@pytest.mark.parametrize("name", [*NAMES, "h5ad"])
def test_no_result_is_written_over_the_slide_or_another_one(shell, loads, picture, tmp_path, name):
    picture = Path(picture)
    before = picture.read_bytes()
    link = tmp_path / "link"
    link.symlink_to(picture)
    for file in (picture, link):
        done = shell("ask", picture, *FIND, "--mpp", 0.5, f"--{name}", file)
        assert done.code == 2
        assert f"{file.name} is read by this command, which would write over it" in done.err
    other = "json" if name != "json" else "csv"
    both = (f"--{name}", tmp_path / "both", f"--{other}", tmp_path / "both")
    done = shell("ask", picture, *FIND, "--mpp", 0.5, *both)
    assert "two results would be written to both; give each a file of its own" in done.err
    assert picture.read_bytes() == before
    assert not (tmp_path / "both").exists()
    assert loads == []


def test_no_result_is_written_over_what_says_what_to_ask(shell, loads, picture, tmp_path):
    manifest = tmp_path / "run.json"
    assert shell("ask", picture, *FIND, "--mpp", 0.5, "--manifest", manifest).code == 0
    for words in (("--from", manifest), (picture, *FIND, "--regions", manifest)):
        done = shell("ask", *words, "--json", manifest)
        assert done.code == 2
        assert "run.json is read by this command" in done.err
    done = shell("ask", picture, *FIND, "--mpp", 0.5, "--keep", tmp_path / "kept")
    asked = tmp_path / "kept" / "request.json"
    before = asked.read_bytes()
    again = ("--keep", tmp_path / "kept", "--transcript", asked)
    done = shell("ask", picture, *FIND, "--mpp", 0.5, *again)
    assert "request.json is read by this command" in done.err
    assert asked.read_bytes() == before


def test_results_may_go_to_one_device(shell, loads, picture):
    files = ("--json", "/dev/null", "--csv", "/dev/null")
    assert shell("ask", picture, *FIND, "--mpp", 0.5, *files).code == 0
