"""The family of a served model, by its name alone: all that a server tells of it.

The one place where names of models mean anything. What a family is stands in `models.families`;
how large tokens are is then measured (`probe`), and a user's own word on boxes goes before the
family's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath

from napari_pathreason.models.families import FAMILIES
from napari_pathreason.types import BoxSpace


@dataclass(frozen=True, slots=True)
class ServedFamily:
    """A family of models, as far as it matters behind a server.

    Parameters
    ----------
    name : str
        For people.
    boxes : BoxSpace or None
        How it writes boxes; None where it was not taught to, or nobody knows.
    token_px : int
        Side of a visual token in pixels of the picture, until it is measured.
    """

    name: str
    boxes: BoxSpace | None = None
    token_px: int = 32


UNKNOWN = ServedFamily("unknown")
_TYPES = (
    (r"qwen3[._-]?[56]", "qwen3_5"),
    (r"qwen3.*vl|pathreason|^embedded$", "qwen3_vl"),
    (r"qwen2[._-]?5.*vl|lingshu-(7|32)b|patho-?r1|scalereasoner", "qwen2_5_vl"),
    (r"qwen2.*vl", "qwen2_vl"),
    (r"medgemma|gemma-?3", "gemma3"),
    (r"gemma-?4", "gemma4"),
    (r"internvl|lingshu-i", "internvl"),
    (r"llava-?onevision", "llava_onevision"),
    (r"smolvlm", "smolvlm"),
    (r"idefics3", "idefics3"),
    (r"llama-?3\.2.*vision", "mllama"),
)
"""Pattern in a served model's name -> its type as `FAMILIES` names it; the first that is found."""


def short_name(model: str) -> str:
    """How a model is called; where its server knows it by a path, without the folders."""
    if re.match(r"[/\\~.]|[A-Za-z]:\\", model):
        name = PureWindowsPath(model).name if "\\" in model else PurePosixPath(model).name
        return name or "model"
    return model


def family_named(model: str) -> ServedFamily:
    """The family of a served model, as far as its name tells; see `ServedFamily`."""
    name = short_name(model).casefold()
    kind = next((kind for pattern, kind in _TYPES if re.search(pattern, name)), None)
    if kind is None:
        return UNKNOWN
    family = FAMILIES[kind]
    return ServedFamily(family.name, family.box_space, family.token_px)
