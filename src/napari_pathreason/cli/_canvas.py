"""A column of text and marks that grows downwards, drawn with Pillow."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

from napari_pathreason.exports import font

INK = "#1d2430"
FAINT = "#6b7585"
ACCENT = "#2a6fdb"
MOST_HEIGHT = 6000


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
        face = font(size, bold)
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
