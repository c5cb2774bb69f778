"""Whether a slide is still the file that was opened."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from napari_pathreason.slides import signature_of


def folder(path: Path) -> Path:
    for name in ("0/0.0", "0/0.1", "1/0.0", ".zattrs"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(name)
    return path


@pytest.mark.parametrize("name", ["0/0.0", "1/0.0", ".zattrs"])
def test_a_file_of_a_folder_that_was_written_to_is_told(tmp_path: Path, name: str):
    path = folder(tmp_path / "a.zarr")
    before = signature_of(path)
    assert before == signature_of(path)
    file = path / name
    about = file.stat()
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns + 1000))
    assert signature_of(path) != before


def test_a_level_that_lies_elsewhere_counts_and_a_circle_ends(tmp_path: Path):
    path = folder(tmp_path / "a.zarr")
    (path / "1").rename(tmp_path / "other")
    (path / "1").symlink_to(tmp_path / "other")
    (tmp_path / "other" / "back").symlink_to(path)
    before = signature_of(path)
    (tmp_path / "other" / "0.0").write_text("longer than it was")
    assert signature_of(path) != before


def test_a_large_folder_is_walked_without_a_path_for_each_file(tmp_path, monkeypatch):
    """A slide has tens of thousands of chunks, and is opened within a second."""
    path = folder(tmp_path / "a.zarr")
    monkeypatch.setattr(Path, "rglob", lambda *_: pytest.fail("a path was made for each file"))
    assert signature_of(path)


def test_what_is_not_there_has_none(tmp_path: Path):
    assert signature_of(tmp_path / "a.zarr") == ""
