"""An answer as one picture: the region with its boxes, and beside it what was said and spent."""

from __future__ import annotations

import io
import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageChops, ImageDraw

from napari_pathreason import Box, Region, Result
from napari_pathreason._geometry import VisualFrame
from napari_pathreason.engine import token_line
from napari_pathreason.exports import atomic_bytes

from ._canvas import ACCENT, FAINT, RULE, Column, font

if TYPE_CHECKING:
    from napari_pathreason.slides import Slide

SIDE = 960
"""Longest side of the region's picture, pixels."""
PANEL, MARGIN = 460, 36
SEEN_SIDE = 150
COLOURS = ("#e6194b", "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9")
"""Box colours, told apart with colour-blind eyes and against pink and purple stains."""
MOST_NAMED = 12
AMBER, AMBER_INK = "#fff4dd", "#7a4b00"


def write_figure(slide: Slide, result: Result, file: Path) -> None:
    """Draw a result and write it as a PNG.

    Parameters
    ----------
    slide : Slide
        Read again at the size of the figure; that is not part of the account.
    result : Result
    file : Path

    Raises
    ------
    ExportError
        If the file cannot be written.
    """
    figure = draw_figure(_picture(slide, result), _seen(slide, result), result)
    with atomic_bytes(file) as out:
        figure.save(out, format="PNG")


def region_png(slide: Slide, result: Result) -> bytes:
    """PNG of a result's region with its findings drawn in, 960 px on its longer side."""
    out = io.BytesIO()
    _mark(_picture(slide, result), result).save(out, format="PNG")
    return out.getvalue()


def draw_figure(picture: Image.Image, seen: Image.Image, result: Result) -> Image.Image:
    """Lay out the figure.

    Parameters
    ----------
    picture : Image
        The region, of any size.
    seen : Image
        The picture that the model read.
    result : Result
    """
    marked = _mark(picture, result)
    panel = _panel(seen, result)
    width = marked.width + PANEL + 3 * MARGIN
    height = max(marked.height, panel.height) + 2 * MARGIN
    figure = Image.new("RGB", (width, height), "white")
    figure.paste(marked, (MARGIN, MARGIN))
    figure.paste(panel, (marked.width + 2 * MARGIN, MARGIN))
    return figure


def _picture(slide: Slide, result: Result) -> Image.Image:
    region = result.region
    scale = SIDE / max(region.width, region.height)
    size = (max(1, round(region.width * scale)), max(1, round(region.height * scale)))
    read = size if scale <= 1 else (region.width, region.height)
    pixels = slide.read_region(region, read).pixels
    return Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS)


def _seen(slide: Slide, result: Result) -> Image.Image:
    return Image.fromarray(slide.read_region(result.region, result.picture_size).pixels)


def _colours(result: Result) -> dict[str, str]:
    labels = dict.fromkeys(found.label for found in result.detections)
    return {label: COLOURS[i % len(COLOURS)] for i, label in enumerate(labels)}


def _mark(picture: Image.Image, result: Result) -> Image.Image:
    marked = picture.copy()
    draw = ImageDraw.Draw(marked)
    frame, colours = VisualFrame(result.region, picture.size), _colours(result)
    for found in result.detections:
        corners = frame.to_picture(found.box).corners
        outer = tuple(round(v) + d for v, d in zip(corners, (-1, -1, 1, 1), strict=True))
        # a white rim keeps a box visible on dark tissue
        draw.rectangle(outer, outline="white", width=5)
        draw.rectangle([round(v) for v in corners], outline=colours[found.label], width=3)
    if len(result.detections) <= MOST_NAMED:
        for found in result.detections:
            _name(draw, found.label, colours[found.label], frame.to_picture(found.box), picture)
    _scale_bar(draw, result, picture)
    draw.rectangle((0, 0, picture.width - 1, picture.height - 1), outline=RULE)
    return marked


def _name(
    draw: ImageDraw.ImageDraw, label: str, colour: str, box: Box, picture: Image.Image
) -> None:
    face = font(14, bold=True)
    width = face.getlength(label) + 10
    x = min(max(box.x - 1, 0), max(picture.width - width, 0))
    y = box.y - 22 if box.y >= 22 else min(box.y + box.h + 2, picture.height - 21)
    draw.rectangle((x, y, x + width, y + 20), fill=colour)
    draw.text((x + 5, y + 2), label, "white", face)


def _scale_bar(draw: ImageDraw.ImageDraw, result: Result, picture: Image.Image) -> None:
    if result.slide.mpp is None or min(picture.size) < 120:  # no room for it
        return
    um_per_pixel = result.slide.mpp[0] * result.region.width / picture.width
    length = _round_below(um_per_pixel * picture.width / 5)
    label = f"{length:g} µm" if length < 1000 else f"{length / 1000:g} mm"
    face, bar = font(14, bold=True), length / um_per_pixel
    x, y = 20, picture.height - 24
    width = max(bar, face.getlength(label))
    draw.rectangle((x - 8, y - 26, x + width + 8, y + 12), fill="white")
    draw.text((x, y - 22), label, "#1d2430", face)
    draw.rectangle((x, y, x + bar, y + 4), fill="#1d2430")


def _round_below(value: float) -> float:
    """Largest of 1, 2, 5 times a power of ten that is not above ``value``."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (5, 2, 1) if step * power <= value * (1 + 1e-9))


def _panel(seen: Image.Image, result: Result) -> Image.Image:
    column = Column(PANEL)
    region, query = result.region, result.query
    column.text(result.slide.name, 15, bold=True, most_lines=2)
    column.text(_where(region), 13, FAINT)
    column.gap(18)
    column.heading("Question")
    column.text(query.question.strip() or query.task, 18, most_lines=6)
    if query.options:
        column.text(", ".join(query.options), 14, FAINT, most_lines=3)
    column.gap(16)
    column.heading("Answer")
    text = result.answer.text or "(none)"
    column.text(text, 28 if len(text) < 60 else 18, bold=True, most_lines=8)
    column.gap(16)
    if result.answer.rationale:
        column.heading("Rationale")
        column.text(result.answer.rationale, 15, most_lines=14)
        column.gap(16)
    _legend(column, result)
    _account(column, seen, result)
    for warning in result.warnings:
        _warn(column, warning)
    column.gap(10)
    column.text(f"{result.model.name}, seed {result.settings.seed}. Research use only.", 12, FAINT)
    return column.cropped()


def _where(region: Region) -> str:
    return f"x {region.x:,}, y {region.y:,}, {region.width:,} x {region.height:,} px"


def _legend(column: Column, result: Result) -> None:
    if not result.detections:
        return
    column.heading("Found")
    counts = Counter(found.label for found in result.detections)
    for label, colour in _colours(result).items():
        column.draw.rectangle((0, column.y + 4, 13, column.y + 17), fill=colour)
        column.text(f"{label}: {counts[label]}", 15, indent=24, most_lines=2)
    column.gap(16)


def _account(column: Column, seen: Image.Image, result: Result) -> None:
    """The token line, a bar of spent against native, and what the model really saw."""
    column.heading("Visual tokens")
    tokens, top, height = result.tokens, column.y + 2, 12
    most = max(tokens.native, tokens.realised + tokens.allocator)
    spent = max(4, round(PANEL * (tokens.realised + tokens.allocator) / most))
    column.draw.rectangle((0, top, PANEL - 1, top + height), fill=RULE)
    column.draw.rectangle((0, top, min(spent, PANEL) - 1, top + height), fill=ACCENT)
    column.gap(height + 12)
    column.text(token_line(result), 14)
    column.gap(10)
    scale = SEEN_SIDE / max(seen.size)
    size = (max(1, round(seen.width * scale)), max(1, round(seen.height * scale)))
    small = seen.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST)
    column.image.paste(small, (0, column.y))
    column.draw.text(
        (size[0] + 14, column.y),
        f"what the model read:\n{seen.width} x {seen.height} px",
        FAINT,
        font(13),
        spacing=6,
    )
    column.gap(size[1] + 18)


def _warn(column: Column, warning: str) -> None:
    inner = Column(PANEL - 28)
    inner.text(warning[:1].upper() + warning[1:] + ".", 13, AMBER_INK, most_lines=6)
    text = inner.cropped()
    box = (0, column.y, PANEL - 1, column.y + text.height + 18)
    column.draw.rounded_rectangle(box, 6, AMBER)
    # the inner column is white; multiply keeps the ground amber
    ground = Image.new("RGB", text.size, AMBER)
    column.image.paste(ImageChops.multiply(text, ground), (14, column.y + 10))
    column.gap(text.height + 26)
