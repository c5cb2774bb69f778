"""Files that survive any end of the process: whole or not at all, or whole up to the last line.

`write_text` and `write_json` write a file at once, `atomic_text`, `atomic_bytes` and
`atomic_folder` piece by piece under another name; `Journal` only ever grows. `locked` keeps a
folder to one process, and `Format` says which versions of a file are read. Nothing is ever written
inside a slide that is a folder.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from napari_pathreason.errors import STEERING, ExportError

DRAFT = ".pathreason-"
"""How the name of a file begins until it is whole."""
LOCK = ".lock"
"""File of a folder that one process at a time may write to."""
PATIENCE = 30.0
"""Seconds that a line waits for another process to end its own; one takes milliseconds."""
_PIECE = 1 << 16
_BEHIND = 0x7FFF_FFFE
"""Place of a byte that journals do not reach."""
_RENAMES_CLOSED = os.name == "nt"
"""Whether the system renames no file that is open."""
_OF_ZARR = (".zattrs", ".zgroup", ".zarray", "zarr.json")
"""What tells that a folder is of a Zarr store, and so part of a slide."""


@dataclass(frozen=True, slots=True)
class Format:
    """Kind and version of a file that is read back, and the one policy of all of them.

    A newer one is refused by its name: nobody knows what it says. An older one is read from the
    oldest version on that was ever released and that reading knows; one before that is refused.

    Parameters
    ----------
    kind : str
        Such as ``slide run``.
    version : int
        That is written.
    oldest : int
        The oldest that is still read.
    """

    kind: str
    version: int
    oldest: int

    def __str__(self) -> str:
        return f"napari-pathreason {self.kind} {self.version}"

    def check(self, found: object, where: str, remedy: str) -> int:
        """The version of a file.

        Parameters
        ----------
        found : object
            What the file says of itself.
        where : str
            How it is called in a line.
        remedy : str
            What to do about an earlier version.

        Raises
        ------
        ExportError
            If it is newer or too old; names both versions.
        ValueError
            If it is of another kind, or says nothing that could be understood.
        """
        version = self.refuse_newer(found, where)
        if version < self.oldest:
            raise ExportError(
                f"{where} is of another version ({found}), whose contents are not kept as they are "
                f"now ({self}); {remedy}"
            )
        return version

    def refuse_newer(self, found: object, where: str) -> int:
        """As `check`, for what can do without an earlier version, as an answer in a journal."""
        kind, _, number = str(found).rpartition(" ")
        if kind != f"napari-pathreason {self.kind}" or not number.isdecimal():
            raise ValueError(found)
        version = int(number)
        if version > self.version:
            raise ExportError(
                f"{where} is of another version ({found}), newer than this installation knows "
                f"({self}); install a newer napari-pathreason"
            )
        return version


@contextmanager
def atomic_text(path: str | Path) -> Iterator[IO[str]]:
    """Open a text file as `atomic_bytes` does; UTF-8, packed where the name ends in ``.gz``.

    What cannot be encoded, such as a part of a name that is no text, becomes a question mark.
    """
    with atomic_bytes(path) as raw:
        if str(path).lower().endswith(".gz"):
            # neither the draft's name nor the time goes into the header
            with (
                gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0) as z,
                io.TextIOWrapper(z, encoding="utf-8", errors="replace", newline="") as packed,
            ):
                yield packed
        else:
            plain = io.TextIOWrapper(raw, encoding="utf-8", errors="replace", newline="")
            yield plain
            plain.detach()  # flushes, and leaves the file open


@contextmanager
def atomic_bytes(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a file that takes its name only when the block has ended well.

    Parameters
    ----------
    path : str or Path
        A file of that name is replaced at once. What is no plain file, such as a pipe, is written
        to as it is.

    Raises
    ------
    ExportError
        If the folder is missing or cannot be written to, or the disk is full.
    """
    path = Path(path)
    target = resolved(path)  # a link stays one
    refuse_inside_slide(target)
    try:
        if target.exists() and not target.is_file():
            with target.open("wb") as raw:
                yield raw
            return
        remove_drafts(target.parent)
        handle, name = _draft(target.parent)
        try:
            with open(handle, "wb") as raw:
                yield raw
                raw.flush()
                os.fsync(raw.fileno())
                Path(name).chmod(_mode(target))  # mkstemp shuts others out
                if not _RENAMES_CLOSED:  # held until it has its name
                    Path(name).replace(target)
            if _RENAMES_CLOSED:
                Path(name).replace(target)
        finally:
            with suppress(OSError):
                Path(name).unlink()
    except OSError as error:
        raise _unwritable(path, error, "choose another place") from error


def _mode(target: Path) -> int:
    """Rights of a file that is to be replaced; those of any new one where there is none."""
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        return 0o666 & ~_umask()


def _draft(folder: Path) -> tuple[int, str]:
    """A new file, open and held for as long as it is open: so no other process sweeps it."""
    while True:
        handle, name = tempfile.mkstemp(prefix=DRAFT, dir=folder)
        if _hold(handle) and os.fstat(handle).st_nlink:
            return handle, name
        os.close(handle)  # swept between its making and its holding


def _hold(handle: int) -> bool:
    """Whether this process has a file to itself; also where the system cannot tell."""
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):  # Windows lets no open file be removed; some disks have no locks
        return True
    return True


def remove_drafts(folder: Path) -> None:
    """Remove drafts whose process has died, in a folder that any may write to.

    Those that are being written stay: who writes one holds it.
    """
    with suppress(OSError):
        for path in folder.glob(f"{DRAFT}*"):
            with suppress(OSError):
                if not _is_left(path):
                    continue
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()


def _is_left(path: Path) -> bool:
    try:
        import fcntl
    except ImportError:
        return path.is_file()  # one that another process writes cannot be removed anyway
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False
    finally:
        os.close(handle)


def refuse_inside_slide(path: Path, slide: Path | None = None) -> None:
    """Refuse a place inside a slide that is a folder: it would be another slide then.

    Parameters
    ----------
    path : Path
        To be written.
    slide : Path, optional
        One that is known; any OME-Zarr is recognised.

    Raises
    ------
    ExportError
        Names the slide.
    """
    whole = resolved(path)
    known = None if slide is None else resolved(slide)
    for folder in (*reversed(whole.parents), whole):  # a store may hold others
        of_zarr = folder != whole and any((folder / name).is_file() for name in _OF_ZARR)
        if of_zarr or (folder == known and folder.is_dir()):
            raise ExportError(
                f"{path.name} would lie inside the slide {folder.name}, where nothing is written; "
                "choose another place"
            )


def refuse_overwriting(written: Iterable[Path], read: Iterable[Path]) -> None:
    """Refuse to write over what a command reads, or two results into one file.

    Parameters
    ----------
    written : iterable of Path
        Files of results.
    read : iterable of Path
        Files; of a folder, such as a model's, those that lie in it count, but for pages of text.

    Raises
    ------
    ExportError
        Names the file.
    """
    results = [path for path in written if not _is_no_file(path)]
    targets = [resolved(path) for path in results]
    for place, (path, target) in enumerate(zip(results, targets, strict=True)):
        if target in targets[:place]:
            raise ExportError(
                f"two results would be written to {name_of(path)}; give each a file of its own"
            )
    inputs = {resolved(file) for path in read for file in _files_of(path)}
    for path, target in zip(results, targets, strict=True):
        if target in inputs:
            raise ExportError(
                f"{name_of(path)} is read by this command, which would write over it; choose "
                "another file"
            )


def _is_no_file(path: Path) -> bool:
    """Whether a pipe or a device is there, which may take several results."""
    with suppress(OSError):
        return path.exists() and not path.is_file()
    return False


def _files_of(path: Path) -> list[Path]:
    """The file, or those of a folder that are no pages; none where nothing can be told."""
    try:
        if path.is_dir():
            return [one for one in path.iterdir() if one.suffix != ".md" and one.is_file()]
    except OSError:
        return []
    return [path]


def name_of(path: str | Path) -> str:
    """The name of a file as text that can be shown and written anywhere; see `own_name`.

    Bytes that are no UTF-8, and characters that could steer a terminal, are replaced.
    """
    return plain_text(own_name(path))


def own_name(path: str | Path) -> str:
    """The name of a file, also where it is named by dots; empty for the root of a disk."""
    name = Path(path).name
    return resolved(path).name if name in ("", "..") else name


def is_there(path: str | Path) -> bool:
    """As `Path.exists`; a name that is too long for any file is none's, of which that raises."""
    try:
        return Path(path).exists()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False


def resolved(path: str | Path) -> Path:
    """As `Path.resolve`, also where a link leads in a circle, of which that raises."""
    return Path(os.path.realpath(path))


def plain_text(words: str) -> str:
    """Words from outside, such as a name or an argument, as `name_of` has them."""
    with suppress(UnicodeEncodeError):  # by halves of characters, which are replaced below
        words = words.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return STEERING.sub("\N{REPLACEMENT CHARACTER}", words)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a folder to this process; it is made if it is missing.

    The lock is the system's own: it is gone with the process that held it, however that ended.

    Raises
    ------
    ExportError
        If another process holds it, or the folder cannot be written to, or is part of a slide.
    """
    from filelock import FileLock, Timeout

    refuse_inside_slide(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        lock.acquire(timeout=0)
    except Timeout:
        raise ExportError(
            f"another process is at work in the folder {folder.name}; "
            "wait for its end or choose another folder"
        ) from None
    except (OSError, NotImplementedError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise ExportError(
            f"{folder.name} cannot be written ({why}); choose another folder"
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def writing_alone(folder: Path) -> Iterator[None]:
    """As `locked`, for a folder that is there, and without a file of the lock in it.

    The system that renames no open files (Windows) holds no folder either; there it does nothing.

    Raises
    ------
    ExportError
        If another process holds it.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows; or it is told where the folder is written to
        yield
        return
    try:
        if not _hold(handle):
            raise ExportError(
                f"another process is at work in the folder {name_of(folder)}; wait for its end or "
                "choose another folder"
            )
        yield
    finally:
        os.close(handle)


def write_text(path: str | Path, text: str) -> None:
    """Write a text at once; see `atomic_text`."""
    with atomic_text(path) as file:
        file.write(text)


def write_json(path: str | Path, value: Any, indent: int | None = 2) -> None:
    """Write a value as JSON with a line end behind it, at once; see `atomic_text`.

    Letters stand as they are; NaN and infinity are no JSON.

    Raises
    ------
    ValueError, TypeError
        If JSON cannot hold the value.
    ExportError
        If the file cannot be written.
    """
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Fill a new folder beside ``folder`` that takes its name only when the block has ended well.

    A folder of that name is replaced as `replace_folder` does it; after a failure all is as before.

    Yields
    ------
    Path
        Empty, on the same disk.

    Raises
    ------
    OSError
        As whatever fills it, or moves it, does.
    """
    refuse_inside_slide(folder)
    remove_drafts(folder.parent)
    draft, handle = _draft_folder(folder.parent)
    try:
        draft.chmod(0o777 & ~_umask())  # mkdtemp shuts others out
        yield draft
        replace_folder(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def _draft_folder(parent: Path) -> tuple[Path, int | None]:
    """A new folder, held as `_draft` holds a file; Windows opens none, nor are they swept there."""
    while True:
        draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=parent))
        try:
            handle = os.open(draft, os.O_RDONLY)
        except FileNotFoundError:  # swept already
            continue
        except OSError:
            return draft, None
        if _hold(handle) and draft.is_dir():
            return draft, handle
        os.close(handle)


def replace_folder(new: Path, folder: Path) -> None:
    """Give ``new`` the place of ``folder``, both on one disk.

    What it holds is on the disk before. No system swaps two folders at once: where the process dies
    between the two moves, the former one lies beside under `former_folder`.
    """
    former = former_folder(folder)
    _sync(new)
    if folder.exists():
        shutil.rmtree(former, ignore_errors=True)  # else it is all that a killed process has left
        folder.replace(former)
    new.replace(folder)
    shutil.rmtree(former, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Have the files of a folder written down: a rename may reach the disk before they do."""
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as raw, suppress(OSError):  # not every disk can
                os.fsync(raw.fileno())


def former_folder(folder: Path) -> Path:
    """Where `replace_folder` moves the folder that stood there."""
    return folder.with_name(f"{folder.name}.old")


CHECKSUM = "checksum"
"""Key of what `with_checksum` adds."""
VARYING = ("made", "seconds", "pixels_decoded")
"""Keys of what is another one each time that the same is done; no checksum counts them."""


@contextmanager
def new_record(path: Path) -> Iterator[IO[str]]:
    """Open a new text file, for lines that are to be there as soon as they are written.

    What a file of that name held is gone. It is kept to this process until the block ends, where
    the system can tell.

    Raises
    ------
    ExportError
        If another process writes it, or it cannot be written.
    """
    refuse_inside_slide(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        raw = resolved(path).open("ab")
    except OSError as error:
        raise _unwritable(path, error, "choose another file") from error
    with io.TextIOWrapper(raw, encoding="utf-8", newline="") as file:
        if not _take(raw.fileno()):
            raise ExportError(
                f"another process is writing {path.name}; wait for its end or choose another file"
            )
        with suppress(OSError):  # a pipe
            raw.truncate(0)
        yield file


def with_checksum(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values for JSON with a checksum over all of them, by which `check_sum` knows them again.

    It tells a byte that a disk has lost, or a figure that somebody has changed, from what was
    written; it is no signature. Values of `VARYING` do not count, wherever they stand, so that
    what is done again has the same one.
    """
    return {**values, CHECKSUM: _checksum(values)}


def check_sum(values: dict[str, Any]) -> dict[str, Any]:
    """What `with_checksum` was given, out of what was read back.

    Raises
    ------
    ValueError
        If it is not what was written.
    """
    rest = {key: value for key, value in values.items() if key != CHECKSUM}
    if values.get(CHECKSUM) != _checksum(rest):
        raise ValueError("not as it was written")
    return rest


def _checksum(values: Mapping[str, Any]) -> str:
    words = json.dumps(_lasting(values), sort_keys=True)
    return hashlib.sha256(words.encode()).hexdigest()[:16]


def _lasting(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _lasting(one) for key, one in value.items() if key not in VARYING}
    return [_lasting(one) for one in value] if isinstance(value, list | tuple) else value


class Journal:
    """Lines that are only ever added: what a killed process had not finished is cut off.

    A line counts once its end is on the disk. Several processes may add lines; each waits while
    another one does, so that none takes what is being written for what was left.

    Parameters
    ----------
    path : Path
        Its folder must exist once a line is added.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def lines(self) -> Iterator[bytes]:
        """Whole lines without their ends, in the order in which they came; none without a file.

        Raises
        ------
        ExportError
            If it cannot be read.
        """
        self._refuse_pipe()
        try:
            with self._path.open("rb") as file:
                for line in file:
                    if line.endswith(b"\n"):
                        yield line[:-1]
        except FileNotFoundError:
            return
        except OSError as error:
            raise _unwritable(self._path, error, "choose another folder") from error

    def append(self, *lines: bytes) -> None:
        """Add lines, which hold no line ends themselves; they are on the disk when this returns.

        Raises
        ------
        ExportError
            If the disk is full or gone, or another process stands still in the midst of a line.
        """
        if any(b"\n" in line for line in lines):
            raise ValueError("a line of a journal holds no line end")
        self._refuse_pipe()
        try:
            with self._path.open("a+b", buffering=0) as file, _turn(file, self._path.name):
                _cut_torn_line(file)
                left = memoryview(b"".join(line + b"\n" for line in lines))
                while left:
                    left = left[file.write(left) :]
                os.fsync(file.fileno())
        except OSError as error:
            raise _unwritable(self._path, error, "choose another folder") from error

    def rewrite(self, lines: Iterable[bytes]) -> None:
        """Put these lines in place of all others, at once; no other process may add any meanwhile.

        Raises
        ------
        ExportError
            If the file cannot be written.
        """
        with atomic_bytes(self._path) as file:
            for line in lines:
                file.write(line + b"\n")

    def _refuse_pipe(self) -> None:
        """Refuse what is there and no file: a pipe would be waited for, for ever."""
        if self._path.exists() and not self._path.is_file():
            raise ExportError(f"{self._path.name} is no file; choose another folder")


@contextmanager
def _turn(file: io.FileIO, name: str) -> Iterator[None]:
    """Wait until no other process adds lines to an open file; where the system can tell.

    Raises
    ------
    ExportError
        If that takes longer than `PATIENCE`.
    """
    end = time.monotonic() + PATIENCE
    while not _take(file.fileno()):
        if time.monotonic() > end:
            raise ExportError(
                f"{name} is being written by another process, which does not go on; end that one, "
                "and try again"
            )
        time.sleep(0.01)
    try:
        yield
    finally:
        _give_back(file.fileno())


def _take(handle: int) -> bool:
    """As `_hold`, on Windows too: there a byte behind all lines, as nobody reads a held one."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(handle, _BEHIND, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        except OSError:
            return True
        return True
    return _hold(handle)


def _give_back(handle: int) -> None:
    with suppress(ImportError, OSError):  # a child process may have the file open as well
        if sys.platform == "win32":
            import msvcrt

            os.lseek(handle, _BEHIND, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_UN)


def _cut_torn_line(file: io.FileIO) -> None:
    """Cut off what has no line end, read back from the end of a file that nobody else writes to."""
    size = whole = file.seek(0, os.SEEK_END)
    while whole:
        begin = max(0, whole - _PIECE)
        file.seek(begin)
        place = file.read(whole - begin).rfind(b"\n")
        if place >= 0:
            whole = begin + place + 1
            break
        whole = begin
    if whole < size:
        file.truncate(whole)


def _unwritable(path: Path, error: OSError, remedy: str) -> ExportError:
    why = error.strerror or type(error).__name__
    return ExportError(f"{path.name} cannot be written ({why}); {remedy}")


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
