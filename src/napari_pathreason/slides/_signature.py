"""Whether a slide is still the file that was opened, told without reading it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def signature_of(path: Path) -> str:
    """What changes when a file is written to or replaced: its size and time.

    Of a folder (OME-Zarr) those of all files in it. Empty where it cannot be told.
    """
    try:
        files = _files_in(path) if path.is_dir() else [((), path.stat())]
    except OSError:
        return ""
    digest = hashlib.sha256()
    for parts, about in files:
        key = f" {about.st_size} {about.st_mtime_ns}\n"  # numbers change on some network disks
        digest.update(os.fsencode(os.sep.join(parts) or ".") + key.encode())
    return digest.hexdigest()


def _files_in(folder: Path) -> list[tuple[tuple[str, ...], os.stat_result]]:
    """Names below a folder and what is known of them, in their order; a folder once.

    A slide may have a hundred thousand chunks: each is looked at once, without a `Path` of it.
    """
    found: list[tuple[tuple[str, ...], os.stat_result]] = []
    about = folder.stat()
    walked = {(about.st_dev, about.st_ino)}
    left: list[tuple[str, tuple[str, ...]]] = [(str(folder), ())]
    while left:
        place, above = left.pop()
        with os.scandir(place) as entries:
            for entry in entries:
                try:
                    about = entry.stat()
                except FileNotFoundError:  # a link to nothing
                    about = entry.stat(follow_symlinks=False)
                parts = (*above, entry.name)
                found.append((parts, about))
                if entry.is_dir() and (about.st_dev, about.st_ino) not in walked:
                    walked.add((about.st_dev, about.st_ino))
                    left.append((entry.path, parts))
    return sorted(found, key=lambda one: one[0])
