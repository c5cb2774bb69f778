"""A model of the hub brought to this machine: its size first, then how far it is. No torch.

What is there counts by the bytes on the disk, whichever way the hub's library takes them. Whoever
wants to stop a download ends its process, or raises an interrupt; the next one goes on from there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from napari_pathreason.errors import ModelError

from ._adapter import base_of
from ._checkpoint import NEEDED, check_whole, find_checkpoint, hub_errors, is_hub_id

EVERY = 0.5
"""Seconds between two looks at how much is there."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """How far a download is.

    Parameters
    ----------
    hub_id : str
    done, total : int
        Bytes, of those that were missing when it began.
    """

    hub_id: str
    done: int
    total: int

    @property
    def words(self) -> str:
        """Such as ``Downloading Qwen/Qwen3-VL-8B-Instruct: 3.1 of 17.5 GB``."""
        unit, size = ("GB", 1e9) if self.total >= 1e8 else ("MB", 1e6)
        return (
            f"Downloading {self.hub_id}: {self.done / size:,.1f} of {self.total / size:,.1f} {unit}"
        )


def is_missing(model_id: str | Path) -> bool:
    """Whether a model is one of the hub that is not whole on this machine; never offline."""
    if not isinstance(model_id, str) or not is_hub_id(model_id) or Path(model_id).is_dir():
        return False
    from huggingface_hub import constants

    return not constants.HF_HUB_OFFLINE and not _is_whole(model_id)


def fetch(model_id: str | Path, tell: Callable[[Fetched], object]) -> None:
    """Download what is missing of a model of the hub, and of the one that it is an adapter of.

    Nothing is done for any other model, for one that is on this machine, or offline.

    Parameters
    ----------
    model_id : str or Path
    tell : callable
        Takes how far it is: first with nothing done, before a byte of it comes, then each time
        that more has come.

    Raises
    ------
    ModelError
        As `find_checkpoint`.
    """
    if not is_missing(model_id):
        return
    _fetch(str(model_id), tell)
    base = base_of(find_checkpoint(model_id)[0], str(model_id))
    if base is not None:
        fetch(base, tell)


def _is_whole(hub_id: str) -> bool:
    """Whether all of a model lies in the cache."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(hub_id, "config.json")
        if not isinstance(config, str):
            return False
        check_whole(Path(config).parent, hub_id)
    except (HFValidationError, ModelError):
        return False
    return True


def _fetch(hub_id: str, tell: Callable[[Fetched], object]) -> None:
    from huggingface_hub import constants, snapshot_download

    with hub_errors(hub_id):
        files = snapshot_download(hub_id, allow_patterns=list(NEEDED), dry_run=True)
        missing = [one for one in files if one.will_download]
        total = sum(one.file_size or 0 for one in missing)
        if not missing:
            return
        folder = Path(constants.HF_HUB_CACHE) / f"models--{hub_id.replace('/', '--')}"
        tell(Fetched(hub_id, 0, total))
        ended = threading.Event()
        looking = threading.Thread(
            target=_look, args=(Fetched(hub_id, 0, total), folder, tell, ended), daemon=True
        )
        looking.start()
        try:
            snapshot_download(hub_id, allow_patterns=list(NEEDED))
        finally:
            ended.set()
            looking.join()
    tell(Fetched(hub_id, total, total))


def _look(
    start: Fetched, folder: Path, tell: Callable[[Fetched], object], ended: threading.Event
) -> None:
    """Tell how many bytes have come since the start, until the end."""
    before, last = _bytes_in(folder), 0
    while not ended.wait(EVERY):
        done = min(max(_bytes_in(folder) - before, 0), start.total)
        if done > last:
            last = done
            tell(Fetched(start.hub_id, done, start.total))


def _bytes_in(folder: Path) -> int:
    """Of all files, those that are still on their way too; names that lead to others count once."""
    size = 0
    with suppress(OSError):
        for file in folder.rglob("*"):
            with suppress(OSError):
                if file.is_file() and not file.is_symlink():
                    size += file.stat().st_size
    return size
