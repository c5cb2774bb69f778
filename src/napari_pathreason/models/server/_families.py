"""What is known of a served model by its name alone: how it writes boxes, how large its tokens are.

The one place where names of models mean anything to a server's performer; how large tokens are is
then measured (`probe`), and a user's own word on boxes goes before this table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath

from napari_pathreason.types import BoxSpace


@dataclass(frozen=True, slots=True)
class ServedFamily:
    """A family of models.

    Parameters
    ----------
    name : str
        For people.
    boxes : {"relative", "resized", "relative_yx"} or None
        How it writes boxes; None where it was not taught to, or nobody knows.
    token_px : int
        Side of a visual token in pixels of the picture, until it is measured.
    """

    name: str
    boxes: BoxSpace | None = None
    token_px: int = 32


UNKNOWN = ServedFamily("unknown")
_FAMILIES: tuple[tuple[str, ServedFamily], ...] = (
    (r"qwen3[._-]?[56]?.*vl|qwen3[._-]?[56]\b", ServedFamily("Qwen3-VL", "relative")),
    (
        r"qwen2[._-]?5.*vl|lingshu-(7|32)b|patho-?r1|scalereasoner",
        ServedFamily("Qwen2.5-VL", "resized", 28),
    ),
    (r"qwen2.*vl", ServedFamily("Qwen2-VL", "relative", 28)),
    (r"medgemma|gemma-?3", ServedFamily("Gemma 3", None, 56)),
    (r"gemma-?4", ServedFamily("Gemma 4", "relative_yx")),
    (r"internvl", ServedFamily("InternVL", "relative", 28)),
    (r"pathreason|^embedded$", ServedFamily("PathReason", "relative")),
)
"""Pattern in a served model's name -> family; the first that is found."""


def short_name(model: str) -> str:
    """How a model is called; where its server knows it by a path, without the folders."""
    if re.match(r"[/\\~.]|[A-Za-z]:\\", model):
        name = PureWindowsPath(model).name if "\\" in model else PurePosixPath(model).name
        return name or "model"
    return model


def family_named(model: str) -> ServedFamily:
    """The family of a served model, as far as its name tells; see `ServedFamily`."""
    name = short_name(model).casefold()
    return next((one for pattern, one in _FAMILIES if re.search(pattern, name)), UNKNOWN)
