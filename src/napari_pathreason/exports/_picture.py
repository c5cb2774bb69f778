"""The region of an answer as a picture, its windows and findings drawn in."""

from __future__ import annotations

import io
import math
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from napari_pathreason.geometry import Box, VisualFrame
from napari_pathreason.types import Level, Result

from ._reliability import NO_ANSWER
from ._views import ViewRow, grouped, has_windows, view_rows

if TYPE_CHECKING:
    from napari_pathreason.slides import Slide

SIDE = 960
"""Longest side of the picture, pixels."""
QUALITY = 88
"""Of JPEG: lines of boxes stay sharp."""
COLOURS = ("#e6194b", "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9")
"""Box colours, told apart with colour-blind eyes and against pink and purple stains."""
LEVEL_COLOURS: dict[Level, tuple[str, str]] = {
    "reliable": ("#e3f1fa", "#00507e"),
    "uncertain": ("#fff4dd", "#7a4b00"),
    "none": ("#fde3e0", "#8c1a10"),
}
"""Ground and ink of what is said of an answer's reliability."""
MOST_NAMED = 12
NUMBERED = 26
"""Least side of a window, in pixels of the picture, in which its number has room."""
RULE = "#d9dee6"
DARK = "#1d2430"


def region_jpeg(slide: Slide, result: Result) -> bytes:
    """JPEG of a result's region, windows and findings drawn in, 960 px on its longer side.

    Of tissue it has a tenth of the bytes of a PNG, and its colours are not read by any model.

    Raises
    ------
    SlideError
        If the region cannot be read.
    """
    out = io.BytesIO()
    mark_findings(region_picture(slide, result), result).save(out, format="JPEG", quality=QUALITY)
    return out.getvalue()


def region_picture(slide: Slide, result: Result) -> Image.Image:
    """The region of a result, `SIDE` px on its longer side."""
    region = result.region
    scale = SIDE / max(region.width, region.height)
    size = (max(1, round(region.width * scale)), max(1, round(region.height * scale)))
    read = size if scale <= 1 else (region.width, region.height)
    pixels = slide.read_region(region, read).pixels
    return Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS)


def colours_of(result: Result) -> dict[str, str]:
    """Colour of each label that a result found."""
    labels = dict.fromkeys(detection.label for detection in result.detections)
    return {label: COLOURS[i % len(COLOURS)] for i, label in enumerate(labels)}


def mark_findings(picture: Image.Image, result: Result) -> Image.Image:
    """Draw what a result read and found, and a scale bar, on a copy of its region's picture.

    Windows have their numbers and the colours of their budgets; findings lie above them, named
    where they are few. An annotation whose windows alone were read has its outline. Where the
    answer is uncertain or none, the picture says so itself, as it may be copied without what stands
    around it.
    """
    marked = picture.copy()
    draw = ImageDraw.Draw(marked)
    frame, colours = VisualFrame(result.region, picture.size), colours_of(result)
    if has_windows(result):
        _draw_outline(draw, frame, result)
        _draw_windows(draw, frame, result, picture)
    for detection in result.detections:
        corners = frame.to_picture(detection.box).corners
        outer = tuple(round(v) + d for v, d in zip(corners, (-1, -1, 1, 1), strict=True))
        # a white rim keeps a box visible on dark tissue
        draw.rectangle(outer, outline="white", width=5)
        draw.rectangle([round(v) for v in corners], outline=colours[detection.label], width=3)
    if len(result.detections) <= MOST_NAMED:
        for detection in result.detections:
            _name(
                draw,
                detection.label,
                colours[detection.label],
                frame.to_picture(detection.box),
                picture,
            )
    _scale_bar(draw, result, picture)
    level = result.reliability.level
    if level == "reliable":
        draw.rectangle((0, 0, picture.width - 1, picture.height - 1), outline=RULE)
    else:
        _doubt(draw, level, picture)
    return marked


def _draw_outline(draw: ImageDraw.ImageDraw, frame: VisualFrame, result: Result) -> None:
    outline = () if result.request is None else result.request.outline
    if outline:
        points = [frame.to_picture(Box(x, y, 0, 0)).corners[:2] for x, y in outline]
        draw.line([*points, points[0]], "white", 4)
        draw.line([*points, points[0]], DARK, 2)


def _draw_windows(
    draw: ImageDraw.ImageDraw, frame: VisualFrame, result: Result, picture: Image.Image
) -> None:
    """Outlines in the colours of budgets, the smallest above; numbers in their corners.

    A window that was read twice has the colour of its finer budget and both numbers.
    """
    rows = [row for row in view_rows(result) if row.view.number and not row.view.slide]
    places = sorted(grouped(rows), key=lambda place: -place[0].box.area)
    for region, read in places:
        corners = _inside(frame.to_picture(region.box).corners, picture)
        colour = max(read, key=lambda row: row.level).colour
        # a dark rim keeps bright colours visible on glass
        draw.rectangle(corners, outline=DARK, width=5)
        inner = [v + d for v, d in zip(corners, (1, 1, -1, -1), strict=True)]
        draw.rectangle(inner, outline=colour, width=3)
    for region, read in places:
        corners = _inside(frame.to_picture(region.box).corners, picture)
        if min(corners[2] - corners[0], corners[3] - corners[1]) >= NUMBERED:
            _number(draw, read, corners)


def _inside(corners: tuple[float, ...], picture: Image.Image) -> list[int]:
    """Corners in whole pixels, on the picture and wide enough for an outline."""
    x1, y1, x2, y2 = (round(v) for v in corners)
    x1, y1 = max(x1, 0), max(y1, 0)
    return [
        x1,
        y1,
        max(min(x2, picture.width) - 1, x1 + 5),
        max(min(y2, picture.height) - 1, y1 + 5),
    ]


def _number(draw: ImageDraw.ImageDraw, read: list[ViewRow], corners: list[int]) -> None:
    """Numbers of a window in its lower right corner, where no finding's name is likely."""
    face = font(12, bold=True)
    text = ", ".join(str(row.view.number) for row in read)
    width = round(face.getlength(text)) + 6
    if width > corners[2] - corners[0]:  # read more often than there is room for
        text = str(read[-1].view.number)
        width = round(face.getlength(text)) + 6
    x, y = corners[2] - width, corners[3] - 17
    draw.rectangle((x, y, corners[2], corners[3]), fill=DARK)
    draw.text((x + 3, y + 1), text, "white", face)


def _doubt(draw: ImageDraw.ImageDraw, level: Level, picture: Image.Image) -> None:
    """A band with the level above the picture's content, and a frame in its colour."""
    ground, ink = LEVEL_COLOURS[level]
    words = NO_ANSWER if level == "none" else "Uncertain"
    draw.rectangle((0, 0, picture.width - 1, picture.height - 1), outline=ink, width=3)
    room = picture.width - 16
    lines = [words] if font(14, bold=True).getlength(words) <= room else words.split()
    widest = max(font(14, bold=True).getlength(line) for line in lines)
    size = min(14, max(5, math.floor(14 * room / widest)))
    step = round(size * 1.4)
    draw.rectangle((0, 0, picture.width - 1, step * len(lines) + 5), fill=ground, outline=ink)
    for index, line in enumerate(lines):
        draw.text((8, 3 + step * index), line, ink, font(size, bold=True))


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
    length = round_below(um_per_pixel * picture.width / 5)
    label = f"{length:g} µm" if length < 1000 else f"{length / 1000:g} mm"
    face, bar = font(14, bold=True), length / um_per_pixel
    x, y = 20, picture.height - 24
    width = max(bar, face.getlength(label))
    draw.rectangle((x - 8, y - 26, x + width + 8, y + 12), fill="white")
    draw.text((x, y - 22), label, DARK, face)
    draw.rectangle((x, y, x + bar, y + 4), fill=DARK)


def round_below(value: float) -> float:
    """Largest of 1, 2, 5 times a power of ten that is not above ``value``."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (5, 2, 1) if step * power <= value * (1 + 1e-9))


@lru_cache(maxsize=16)
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and has the letters of most languages."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)
