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
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        digest = hashlib.sha256()
        for file in files:
            about = file.stat()
            key = f" {about.st_size} {about.st_mtime_ns}\n"  # numbers change on some network disks
            digest.update(os.fsencode(file.relative_to(path)) + key.encode())
        return digest.hexdigest()
    except OSError:
        return ""
