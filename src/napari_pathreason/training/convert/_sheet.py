"""A contact sheet: a few pictures of each class and split, as training reads them, on one page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from napari_pathreason.errors import SlideError
from napari_pathreason.files import atomic_bytes
from napari_pathreason.geometry import Region
from napari_pathreason.training.samples import Pictures, Sample, Split, shown_regions

from ._summary import answer_of, read_splits

SIDE, GAP, TEXT = 112, 6, 14
"""Sides of a picture, of what lies between two, and of a line of text, px."""
SHOWN = 4
"""Pictures of a class and split."""
MOST_ROWS = 24
INK, PAPER, BOX = (30, 30, 30), (255, 255, 255), (0, 160, 60)


def draw_sheet(folder: Path, out: Path, seed: int = 0) -> int:
    """Write a contact sheet as PNG.

    A row for each class of a kind of question, its splits side by side; boxes are drawn. Classes
    beyond `MOST_ROWS` are left out, and the last line says so.

    Parameters
    ----------
    folder : Path
        Of ``data convert``.
    out : Path
    seed : int
        Of the pictures that are drawn.

    Returns
    -------
    int
        Pictures that could not be read; they are crossed out.
    """
    parts = read_splits(folder)
    rows: dict[tuple[str, str], dict[Split, list[Sample]]] = defaultdict(lambda: defaultdict(list))
    for split, samples in parts.items():
        for sample in samples:
            rows[sample.kind, answer_of(sample)][split].append(sample)
    shown, beyond = sorted(rows)[:MOST_ROWS], max(0, len(rows) - MOST_ROWS)
    block = SHOWN * (SIDE + GAP) + GAP
    width = max(GAP + len(parts) * block, 480)
    height = 2 * TEXT + len(shown) * (SIDE + TEXT + 2 * GAP) + TEXT * bool(beyond) + GAP
    sheet = Image.new("RGB", (width, height), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default()
    for column, (split, samples) in enumerate(parts.items()):
        draw.text((GAP + column * block, 2), f"{split}: {len(samples):,}", INK, font)
    pictures, broken, top = Pictures(folder, most=64), 0, 2 * TEXT
    for topic, answer in shown:
        draw.text((GAP, top), f"{topic}: {answer}", INK, font)
        for column, split in enumerate(parts):
            own = _chosen(rows[topic, answer], split, Random(f"{seed}-{topic}-{answer}-{split}"))
            for place, sample in enumerate(own):
                at = GAP + column * block + place * (SIDE + GAP), top + TEXT
                broken += _paste(sheet, draw, at, sample, pictures)
        top += SIDE + TEXT + 2 * GAP
    if beyond:
        draw.text((GAP, top), f"{beyond:,} further classes are not shown", INK, font)
    with atomic_bytes(out) as file:
        sheet.save(file, "PNG")
    return broken


def _chosen(
    row: Mapping[Split, Sequence[Sample]], split: Split, random: Random
) -> Sequence[Sample]:
    samples = row.get(split, ())
    return random.sample(samples, min(SHOWN, len(samples)))


def _paste(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    at: tuple[int, int],
    sample: Sample,
    pictures: Pictures,
) -> bool:
    """Put one picture and its boxes on the sheet; True if it cannot be read."""
    try:
        region = shown_regions(sample, pictures)[0]
        scale = SIDE / max(region.width, region.height)
        size = max(1, round(region.width * scale)), max(1, round(region.height * scale))
        pixels = pictures.read(sample, region, size)
    except (OSError, SlideError):
        draw.line((*at, at[0] + SIDE, at[1] + SIDE), INK)
        draw.line((at[0], at[1] + SIDE, at[0] + SIDE, at[1]), INK)
        return True
    sheet.paste(Image.fromarray(np.asarray(pixels)), at)
    for area in sample.boxes:
        draw.rectangle(_placed(area.corners, region, scale, at), outline=BOX)
    return False


def _placed(
    corners: Sequence[float], region: Region, scale: float, at: tuple[int, int]
) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = corners
    across = [min(max((x - region.x) * scale, 0), region.width * scale) + at[0] for x in (x1, x2)]
    down = [min(max((y - region.y) * scale, 0), region.height * scale) + at[1] for y in (y1, y2)]
    return across[0], down[0], across[1], down[1]
