import json
import os

import pytest

from napari_pathreason.errors import ExportError
from napari_pathreason.exports import (
    Manifest,
    ManifestEntry,
    UsedModel,
    digest_of,
    fingerprint,
    read_manifest,
    versions_here,
    write_manifest,
)
from napari_pathreason.geometry import Region
from napari_pathreason.types import GenerationSettings, Query, Reliability, Request, SlideInfo


@pytest.fixture
def manifest(run):
    settings = GenerationSettings(32, 0.5, 7)
    return Manifest(
        run=run,
        made="2026-01-01T00:00:00+00:00",
        slide=SlideInfo("a.svs", 5000, 4000, (0.5, 0.25), "user"),
        fingerprint="f" * 64,
        model=UsedModel("embedded", "embedded", "cpu", "a" * 64),
        entries=(
            ManifestEntry(
                Request(Region(1, 2, 3, 4), Query("vqa", "Is it?", ("a", "b")), "auto", settings),
                "d",
                Reliability("uncertain", ("low confidence",)),
            ),
            ManifestEntry(Request(Region(5, 6, 7, 8), Query("detection"), 64, effort="high"), "e"),
        ),
        versions=versions_here(),
    )


def test_a_manifest_comes_back(manifest, tmp_path):
    write_manifest(tmp_path / "a.json", manifest)
    assert read_manifest(tmp_path / "a.json") == manifest


@pytest.mark.parametrize(
    "change",
    [
        {"format": "something else"},
        {"entries": [{}]},
        {"entries": 3},
        {"slide": None},
        {"model": {"name": "x"}},
        {"versions": []},
    ],
)
def test_what_is_no_manifest_is_one_line(manifest, tmp_path, change):
    path = tmp_path / "a.json"
    write_manifest(path, manifest)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ExportError, match=r"a\.json is not a manifest"):
        read_manifest(path)


def test_text_is_no_manifest(tmp_path):
    path = tmp_path / "a.json"
    for text in ("", "[]", "3", '{"format": {}}'):
        path.write_text(text)
        with pytest.raises(ExportError, match="is not a manifest"):
            read_manifest(path)
    with pytest.raises(ExportError, match="check its name"):
        read_manifest(tmp_path / "none.json")


def test_copies_have_one_fingerprint_and_changes_another(tmp_path):
    content = bytes(range(256)) * 40_000  # 10 MB: more than 64 blocks
    (tmp_path / "a").write_bytes(content)
    (tmp_path / "b").write_bytes(content)
    (tmp_path / "c").write_bytes(content + b"x")
    (tmp_path / "d").write_bytes(b"x" + content[1:])
    (tmp_path / "e").write_bytes(content[:-1] + b"x")
    a, b, c, d, e = (fingerprint(tmp_path / name) for name in "abcde")
    assert a == b
    assert len({a, c, d, e}) == 4


def test_fingerprint_of_a_folder(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / "0").mkdir(parents=True)
        (tmp_path / name / "zarr.json").write_text("{}")
        (tmp_path / name / "0" / "c").write_bytes(b"123")
    assert fingerprint(tmp_path / "one") == fingerprint(tmp_path / "two")
    (tmp_path / "two" / "0" / "c").write_bytes(b"124")
    assert fingerprint(tmp_path / "one") != fingerprint(tmp_path / "two")
    with pytest.raises(ExportError, match="none cannot be read"):
        fingerprint(tmp_path / "none")


def test_every_block_of_a_slide_counts(tmp_path):
    """Also of a folder, whose files are of one size where they are not compressed."""
    path, store = tmp_path / "slide.tif", tmp_path / "slide.zarr"
    path.write_bytes(bytes(9_000_000))
    (store / "0").mkdir(parents=True)
    for number in range(100):
        (store / "0" / str(number)).write_bytes(bytes(100_000))
    before = fingerprint(path), fingerprint(store)
    with path.open("r+b") as file:
        file.seek(5_100_000)
        file.write(b"x")
    with (store / "0" / "31").open("r+b") as file:
        file.seek(99_999)
        file.write(b"x")
    assert fingerprint(path) != before[0]
    assert fingerprint(store) != before[1]


def test_a_name_that_is_no_text_has_a_fingerprint(tmp_path):
    store = tmp_path / "slide.zarr"
    store.mkdir()
    (store / os.fsdecode(b"\xff")).write_bytes(b"1")
    assert len(fingerprint(store)) == 64


def test_a_newer_manifest_is_refused_by_name(manifest, tmp_path):
    path = tmp_path / "a.json"
    write_manifest(path, manifest)
    path.write_text(
        json.dumps({**json.loads(path.read_text()), "format": "napari-pathreason run 99"})
    )
    with pytest.raises(ExportError, match=r"run 99\), newer .* install a newer napari-pathreason"):
        read_manifest(path)
    path.write_text(
        json.dumps({**json.loads(path.read_text()), "format": "napari-pathreason run 3"})
    )
    with pytest.raises(ExportError, match=r"run 3\), whose .* ask again and write it anew"):
        read_manifest(path)


def test_a_digest_is_of_what_is_said(make_result):
    one = make_result(("x", 1, 2, 3, 4))
    assert digest_of(one) == digest_of(make_result(("x", 1, 2, 3, 4), seconds={"read": 9.0}))
    assert digest_of(one) != digest_of(make_result(("x", 1, 2, 3, 5), answer=one.answer))
