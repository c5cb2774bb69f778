"""An answer as one picture: the region with its boxes, and beside it the words and the tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFont

from napari_pathreason import Region, Result, engine, exports, slides
from napari_pathreason.engine import sentence
from napari_pathreason.files import atomic_bytes
from napari_pathreason.types import View

INK, FAINT, ACCENT = "#1d2430", "#6b7585", "#2a6fdb"
MOST_HEIGHT = 6000
PANEL, MARGIN = 460, 36
READ_SIDE = 150
MOST_READ, SMALL_SIDE, SPACE = 8, 102, 13
"""Windows that are shown as the model read them, and their longer sides."""
NOTE, NOTE_INK = "#eef0f3", "#3d4756"


def write_figure(slide: slides.Slide, result: Result, file: Path) -> None:
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
    figure = draw_figure(
        exports.region_picture(slide, result), _pictures_read(slide, result), result
    )
    with atomic_bytes(file) as out:
        figure.save(out, format="PNG")


def draw_figure(
    picture: Image.Image, read: Sequence[tuple[View, Image.Image]], result: Result
) -> Image.Image:
    """Lay out the figure.

    Parameters
    ----------
    picture : Image
        The region, of any size.
    read : sequence of (View, Image)
        Pictures that the model read, those that are to be shown.
    result : Result
    """
    marked = exports.mark_findings(picture, result)
    panel = _panel(read, result)
    width = marked.width + PANEL + 3 * MARGIN
    height = max(marked.height, panel.height) + 2 * MARGIN
    figure = Image.new("RGB", (width, height), "white")
    figure.paste(marked, (MARGIN, MARGIN))
    figure.paste(panel, (marked.width + 2 * MARGIN, MARGIN))
    return figure


def _pictures_read(slide: slides.Slide, result: Result) -> list[tuple[View, Image.Image]]:
    """What the model read; of many windows the most telling."""
    views = [
        one.view
        for one in exports.telling_rows(result, MOST_READ)
        if one.view.role != "overview" and not one.view.slide
    ]
    request = result.request
    pictures = []
    for view in views:
        outline = () if request is None else engine.outline_at(request, view.region)
        read = engine.read_masked(slide, view.region, view.size, outline)
        pictures.append((view, Image.fromarray(read.pixels)))
    return pictures


def _panel(read: Sequence[tuple[View, Image.Image]], result: Result) -> Image.Image:
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
    _box(
        column,
        exports.reliability_sentence(result.reliability),
        *exports.LEVEL_COLOURS[result.reliability.level],
    )
    column.gap(8)
    column.heading("Answer")
    text = exports.headline(result.answer.text, result.reliability)
    column.text(text, 28 if len(text) < 60 else 18, bold=True, most_lines=8)
    if small := exports.guess(result.answer.text, result.reliability):
        column.text(small, 14, FAINT, most_lines=4)
    column.gap(16)
    if result.answer.rationale:
        column.heading("Rationale")
        lines = [line for line in result.answer.rationale.splitlines() if line.strip()]
        for line in lines[:MOST_READ]:
            column.text(line, 15, most_lines=14 if len(lines) == 1 else 4)
        if len(lines) > MOST_READ:
            column.text(f"and {len(lines) - MOST_READ:,} windows more", 13, FAINT)
        column.gap(16)
    _legend(column, result)
    _account(column, read, result)
    for warning in result.warnings:
        _box(column, warning, NOTE, NOTE_INK)
    column.gap(10)
    column.text(f"{result.model.name}, seed {result.settings.seed}. Research use only.", 12, FAINT)
    return column.cropped()


def _where(region: Region) -> str:
    return f"x {region.x:,}, y {region.y:,}, {region.width:,} x {region.height:,} px"


def _legend(column: Column, result: Result) -> None:
    if not result.detections:
        return
    column.heading("Guessed" if result.reliability.level == "none" else "Found")
    counts = Counter(one.label for one in result.detections)
    for label, colour in exports.colours_of(result).items():
        column.draw.rectangle((0, column.y + 4, 13, column.y + 17), fill=colour)
        column.text(f"{label}: {counts[label]}", 15, indent=24, most_lines=2)
    column.gap(16)


def _account(column: Column, read: Sequence[tuple[View, Image.Image]], result: Result) -> None:
    """The token line, a bar of spent against native, and what the model really read."""
    column.heading("Visual tokens")
    tokens, top, height = result.tokens, column.y + 2, 12
    most = max(tokens.native_windows, tokens.spent)
    spent = max(4, round(PANEL * tokens.spent / most))
    column.draw.rectangle((0, top, PANEL - 1, top + height), fill=exports.RULE)
    column.draw.rectangle((0, top, min(spent, PANEL) - 1, top + height), fill=ACCENT)
    column.gap(height + 12)
    column.text(engine.token_line(result), 14)
    if exports.has_windows(result):
        column.text(exports.views_line(result), 14, most_lines=3)
        column.gap(10)
        _windows_read(column, read, result)
    elif read:
        column.gap(10)
        _picture_read(column, read[0][1])


def _picture_read(column: Column, read: Image.Image) -> None:
    small = _shrunk(read, READ_SIDE)
    column.image.paste(small, (0, column.y))
    column.draw.text(
        (small.width + 14, column.y),
        f"what the model read:\n{read.width} x {read.height} px",
        FAINT,
        exports.font(13),
        spacing=6,
    )
    column.gap(small.height + 18)


def _windows_read(column: Column, read: Sequence[tuple[View, Image.Image]], result: Result) -> None:
    """Budgets as colours, and windows as the model read them."""
    levels = {row.level: row.colour for row in exports.view_rows(result) if row.view.number}
    for level in sorted(levels):
        column.draw.rectangle((0, column.y + 4, 13, column.y + 17), fill=levels[level])
        column.text(f"{exports.budget_name(level)} tokens", 13, FAINT, indent=24)
    count = sum(bool(row.view.number) for row in exports.view_rows(result))
    some = "" if len(read) == count else f" ({len(read)} of {count:,})"
    column.gap(6)
    column.text(f"what the model read{some}:", 13, FAINT)
    across = (PANEL + SPACE) // (SMALL_SIDE + SPACE)
    for start in range(0, len(read), across):
        line = [(view, _shrunk(one, SMALL_SIDE)) for view, one in read[start : start + across]]
        height = max(small.height for _, small in line)
        for place, (view, small) in enumerate(line):
            x = place * (SMALL_SIDE + SPACE)
            column.image.paste(small, (x, column.y))
            words = f"{view.name}\n{view.size[0]} x {view.size[1]} px"
            column.draw.text((x, column.y + height + 2), words, FAINT, exports.font(12))
        column.gap(height + 42)
    column.gap(6)


def _shrunk(picture: Image.Image, side: int) -> Image.Image:
    """A picture with ``side`` px on its longer side, its own pixels still to be told apart."""
    scale = side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST)


def _box(column: Column, text: str, ground: str, ink: str) -> None:
    """A sentence on a ground of its own."""
    inner = Column(PANEL - 28)
    inner.text(sentence(text), 13, ink, most_lines=8)
    written = inner.cropped()
    box = (0, column.y, PANEL - 1, column.y + written.height + 18)
    column.draw.rounded_rectangle(box, 6, ground)
    # the inner column is white; multiply keeps the ground as it is
    under = Image.new("RGB", written.size, ground)
    column.image.paste(ImageChops.multiply(written, under), (14, column.y + 10))
    column.gap(written.height + 26)


class Column:
    """Draws one thing below the other and remembers how far it got.

    Parameters
    ----------
    width : int
        Pixels.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self.y = 0
        self.image = Image.new("RGB", (width, MOST_HEIGHT), "white")
        self.draw = ImageDraw.Draw(self.image)

    def gap(self, height: int) -> None:
        """Leave room."""
        self.y += height

    def text(
        self,
        text: str,
        size: int,
        colour: str = INK,
        bold: bool = False,
        most_lines: int = 12,
        indent: int = 0,
    ) -> None:
        """Write wrapped text; what is beyond ``most_lines`` is cut with an ellipsis."""
        face = exports.font(size, bold)
        lines = wrap(text, self.width - indent, face)
        if len(lines) > most_lines:
            lines = [*lines[: most_lines - 1], lines[most_lines - 1].rstrip(" ,;.") + " …"]
        for line in lines:
            self.draw.text((indent, self.y), line, colour, face)
            self.y += round(size * 1.4)

    def heading(self, text: str) -> None:
        """Write a small caption above what follows."""
        self.text(text.upper(), 12, FAINT, bold=True)
        self.gap(3)

    def cropped(self) -> Image.Image:
        """What was drawn."""
        return self.image.crop((0, 0, self.width, min(self.y, MOST_HEIGHT)))


def wrap(text: str, width: int, face: ImageFont.FreeTypeFont) -> list[str]:
    """Break a text into lines of at most ``width`` pixels; a longer word is cut."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if face.getlength(longer) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for letter in word:
            if face.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return lines
