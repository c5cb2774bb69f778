"""Ask questions of whole-slide images at a visual-token budget you can see and steer.

>>> import napari_pathreason
>>> napari_pathreason.ask("slide.svs", region=(0, 0, 2048, 2048), question="How many nuclei?")

Importing this package loads neither torch nor napari; what needs them comes at first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import (
    ExportError,
    ModelError,
    OutOfMemoryError,
    PathreasonError,
    QueryError,
    RegionError,
    SlideError,
)
from .geometry import Box, Region
from .types import (
    Allocation,
    Answer,
    Detection,
    Metadata,
    Query,
    Reliability,
    Result,
    SlideInfo,
    TokenReport,
    Topic,
)

if TYPE_CHECKING:
    from ._ask import ask
    from .engine import result_to_dict, token_line
    from .models import load_models
    from .slides import open_slide

__version__ = "0.1.0"

__all__ = [
    "Allocation",
    "Answer",
    "Box",
    "Detection",
    "ExportError",
    "Metadata",
    "ModelError",
    "OutOfMemoryError",
    "PathreasonError",
    "Query",
    "QueryError",
    "Region",
    "RegionError",
    "Reliability",
    "Result",
    "SlideError",
    "SlideInfo",
    "TokenReport",
    "Topic",
    "ask",
    "load_models",
    "open_slide",
    "result_to_dict",
    "token_line",
]

_AT_FIRST_USE = {
    "ask": "._ask",
    "load_models": ".models",
    "open_slide": ".slides",
    "result_to_dict": ".engine",
    "token_line": ".engine",
}


def __getattr__(name: str) -> Any:
    if name in _AT_FIRST_USE:
        return getattr(import_module(_AT_FIRST_USE[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
