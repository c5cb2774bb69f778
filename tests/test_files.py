"""What is written survives any end of the process."""

import json
import os
import stat
import subprocess
import sys

import pytest

from napari_pathreason import files
from napari_pathreason.errors import ExportError
from napari_pathreason.files import (
    Format,
    Journal,
    atomic_bytes,
    atomic_folder,
    check_sum,
    former_folder,
    locked,
    remove_drafts,
    replace_folder,
    with_checksum,
    write_json,
    write_text,
)


def test_json_and_text_are_written_at_once(tmp_path):
    write_json(tmp_path / "a.json", {"tissue": "Lymphknoten \N{MICRO SIGN}"})
    assert "\N{MICRO SIGN}" in (tmp_path / "a.json").read_text(encoding="utf-8")
    write_text(tmp_path / "a.json", "[]")
    assert (tmp_path / "a.json").read_text() == "[]"
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", float("nan"))
    assert (tmp_path / "a.json").read_text() == "[]"
    with pytest.raises(ExportError, match=r"a\.json cannot be written"):
        write_json(tmp_path / "none" / "a.json", [])


def test_a_file_that_fails_leaves_the_former_and_no_draft(tmp_path):
    (tmp_path / "a").write_bytes(b"before")

    def fail():
        with atomic_bytes(tmp_path / "a") as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"before"]


def test_a_folder_takes_the_place_of_another(tmp_path):
    target = tmp_path / "model"
    for content in ("first", "second"):
        with atomic_folder(target) as draft:
            assert list(draft.iterdir()) == []
            (draft / content).write_text(content)
            assert not (target / content).exists()
        assert [file.name for file in target.iterdir()] == [content]
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_fails_leaves_the_former(tmp_path):
    target = tmp_path / "model"
    target.mkdir()
    (target / "weights").write_text("before")

    def fail():
        with atomic_folder(target) as draft:
            (draft / "weights").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (target / "weights").read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


def test_the_former_folder_outlives_a_kill_between_the_two_moves(tmp_path):
    target, new = tmp_path / "checkpoint", tmp_path / "new"
    former_folder(target).mkdir()  # what was killed had moved it and nothing else
    (former_folder(target) / "step").write_text("1")
    with pytest.raises(OSError, match="new"):
        replace_folder(new, target)
    assert (former_folder(target) / "step").read_text() == "1"
    new.mkdir()
    replace_folder(new, target)
    assert list(tmp_path.iterdir()) == [target]


def test_drafts_of_a_killed_process_are_removed(tmp_path):
    (tmp_path / ".pathreason-abc").write_text("half")
    (tmp_path / ".pathreason-def").mkdir()
    (tmp_path / "a").write_text("whole")
    remove_drafts(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_a_draft_of_a_living_process_stays_and_that_of_a_dead_one_goes(tmp_path):
    """In a folder that any process may write to."""
    words = "import sys, time; from napari_pathreason.files import atomic_text\n"
    words += "with atomic_text(sys.argv[1]) as file:\n"
    words += "    file.write('x'); print('open', flush=True); time.sleep(60)"
    path = str(tmp_path / "slow.json")
    with subprocess.Popen([sys.executable, "-c", words, path], stdout=subprocess.PIPE) as slow:
        slow.stdout.readline()
        write_text(tmp_path / "a", "1")
        assert len(list(tmp_path.glob(".pathreason-*"))) == 1
        slow.kill()
        slow.wait()
        write_text(tmp_path / "a", "2")
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_the_rights_of_a_file_outlive_its_replacement(tmp_path):
    path = tmp_path / "a.json"
    write_text(path, "1")
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask()
    for rights in (0o600, 0o664, 0o444):
        path.chmod(rights)
        write_text(path, str(rights))
        assert (stat.S_IMODE(path.stat().st_mode), path.read_text()) == (rights, str(rights))


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_link_in_a_circle_is_one_line(tmp_path):
    (tmp_path / "run").symlink_to("run")
    with pytest.raises(ExportError, match="run cannot be written"), locked(tmp_path / "run"):
        pass
    with pytest.raises(ExportError, match=r"a\.json cannot be written"):
        write_text(tmp_path / "run" / "a.json", "")
    with pytest.raises(ExportError, match="run cannot be written"):
        write_text(tmp_path / "run", "")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("marker", [".zattrs", ".zgroup", ".zarray", "zarr.json"])
def test_nothing_is_written_inside_a_slide(tmp_path, marker):
    inside = tmp_path / "slide.zarr" / "0" / "c"
    inside.mkdir(parents=True)
    (tmp_path / "slide.zarr" / marker).write_text("{}")
    for write in (
        lambda: write_text(inside / "a.json", ""),
        lambda: locked(inside / "run").__enter__(),
        lambda: atomic_folder(inside / "model").__enter__(),
    ):
        with pytest.raises(ExportError, match=r"inside the slide slide\.zarr"):
            write()
    assert list(inside.iterdir()) == []
    write_text(tmp_path / "slide.zarr.json", "beside it")


FORMAT = Format("kind", 5, oldest=3)


def test_one_policy_for_the_versions_of_files():
    assert str(FORMAT) == "napari-pathreason kind 5"
    for version in (3, 4, 5):
        found = f"napari-pathreason kind {version}"
        assert FORMAT.check(found, "a.json", "begin anew") == version
    with pytest.raises(ExportError, match=r"a\.json .*kind 6\), newer .*kind 5\); install a newer"):
        FORMAT.check("napari-pathreason kind 6", "a.json", "begin anew")
    with pytest.raises(ExportError, match=r"a\.json .*kind 2\).*; begin anew"):
        FORMAT.check("napari-pathreason kind 2", "a.json", "begin anew")
    assert FORMAT.refuse_newer("napari-pathreason kind 2", "a.json") == 2
    for other in ("napari-pathreason other 5", "kind 5", "napari-pathreason kind", None, 5):
        with pytest.raises(ValueError, match=str(other)):
            FORMAT.check(other, "a.json", "begin anew")


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "log.jsonl")


def test_lines_come_back_in_order(journal, tmp_path):
    assert list(journal.lines()) == []
    journal.append(b"one", b"two")
    journal.append(json.dumps({"a": "b\nc"}).encode())
    assert list(Journal(tmp_path / "log.jsonl").lines()) == [b"one", b"two", b'{"a": "b\\nc"}']


@pytest.mark.parametrize("cut", range(1, 12))
def test_what_was_cut_anywhere_goes_on_at_a_whole_line(tmp_path, cut):
    path = tmp_path / "log.jsonl"
    Journal(path).append(b"first", b"second")
    path.write_bytes(path.read_bytes()[:-cut])
    journal = Journal(path)
    whole = list(journal.lines())
    assert whole == [b"first"][: 1 if cut <= 7 else 0]
    journal.append(b"third")
    assert list(journal.lines()) == [*whole, b"third"]


def test_a_line_end_within_a_line_is_refused(journal):
    with pytest.raises(ValueError, match="line end"):
        journal.append(b"one\ntwo")
    assert list(journal.lines()) == []


def test_lines_are_replaced_at_once(journal):
    journal.append(b"1", b"2", b"3")
    journal.rewrite(line for line in list(journal.lines()) if line != b"2")
    journal.append(b"4")
    assert list(journal.lines()) == [b"1", b"3", b"4"]


def test_a_journal_without_a_folder_is_one_line(tmp_path):
    with pytest.raises(ExportError, match=r"log\.jsonl cannot be written .*; choose another"):
        Journal(tmp_path / "none" / "log.jsonl").append(b"one")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no such pipes")
def test_a_pipe_in_place_of_a_journal_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "log.jsonl")
    journal = Journal(tmp_path / "log.jsonl")
    for use in (lambda: list(journal.lines()), lambda: journal.append(b"one")):
        with pytest.raises(ExportError, match=r"log\.jsonl is no file; choose another folder"):
            use()


TWO = """
import sys
from pathlib import Path
from napari_pathreason.files import Journal

print("ready", flush=True)
sys.stdin.readline()
for number in range(30):
    Journal(Path(sys.argv[1])).append(sys.argv[2].encode() * 400_000 + b" %d" % number)
"""


def test_two_processes_lose_none_of_each_others_lines(tmp_path):
    """Neither takes what the other one is writing for what a killed one has left."""
    path = tmp_path / "log.jsonl"
    words = [sys.executable, "-c", TWO, str(path)]
    both = [
        subprocess.Popen([*words, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for name in "ab"
    ]
    for one in both:
        assert one.stdout.readline().strip() == b"ready"
    for one in both:
        one.stdin.write(b"\n")
        one.stdin.flush()
    assert [one.communicate(timeout=240) and one.returncode for one in both] == [0, 0]
    lines = list(Journal(path).lines())
    for name in (b"a", b"b"):
        own = [line for line in lines if line.startswith(name)]
        assert own == [name * 400_000 + b" %d" % number for number in range(30)]
    assert len(lines) == 60


@pytest.mark.skipif(os.name == "nt", reason="another kind of lock")
def test_a_process_that_stopped_in_the_midst_of_a_line_is_not_waited_for(
    journal, tmp_path, monkeypatch
):
    import fcntl

    monkeypatch.setattr(files, "PATIENCE", 0.2)
    journal.append(b"one")
    with (tmp_path / "log.jsonl").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ExportError, match=r"log\.jsonl is being written by another process"):
            journal.append(b"two")
    journal.append(b"three")
    assert list(journal.lines()) == [b"one", b"three"]


def test_a_checksum_tells_every_change_but_of_what_varies():
    values = {"made": "today", "b": [1.5, {"seconds": {"read": 1}, "x": None}], "a": "µ"}
    whole = json.loads(json.dumps(with_checksum(values)))
    assert check_sum(whole) == values
    later = {**values, "made": "tomorrow", "b": [1.5, {"seconds": {}, "x": None}]}
    assert with_checksum(later)["checksum"] == whole["checksum"]
    for other in ({"a": "m"}, {"b": [1.6]}, {"c": 1}, {"checksum": "0" * 16}):
        with pytest.raises(ValueError, match="not as it was written"):
            check_sum({**whole, **other})
    for key in ("a", "checksum"):
        with pytest.raises(ValueError, match="not as it was written"):
            check_sum({name: value for name, value in whole.items() if name != key})
