"""Performers and allocators: loading, answering, and a child process that serves them.

Importing this room loads neither torch nor transformers; what needs them is imported at first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._checkpoint import find_checkpoint
from ._config import CALIBRATION, read_card
from ._described import read_model_info
from ._familiar import LEAST_TOKENS, Familiar, save_familiar, size_class
from ._fixed import FixedAllocator
from ._loading import load_models, load_performer
from ._merge import write_merged
from ._metadata import METADATA, metadata_of, write_metadata
from ._models import Models
from ._process import ModelProcess
from ._threads import wait_passively
from ._wording import Wording, learn_wording, words_of

if TYPE_CHECKING:
    from ._inputs import ModelInputs, build_inputs
    from ._look import Look, colours, detail
    from ._performer import VLMPerformer
    from ._pixels import NORMALISATION, Normalisation

__all__ = [
    "CALIBRATION",
    "LEAST_TOKENS",
    "METADATA",
    "NORMALISATION",
    "Familiar",
    "FixedAllocator",
    "Look",
    "ModelInputs",
    "ModelProcess",
    "Models",
    "Normalisation",
    "VLMPerformer",
    "Wording",
    "build_inputs",
    "colours",
    "detail",
    "find_checkpoint",
    "learn_wording",
    "load_models",
    "load_performer",
    "metadata_of",
    "read_card",
    "read_model_info",
    "save_familiar",
    "size_class",
    "wait_passively",
    "words_of",
    "write_merged",
    "write_metadata",
]

_NEED_TORCH = {
    "ModelInputs": "_inputs",
    "build_inputs": "_inputs",
    "Look": "_look",
    "colours": "_look",
    "detail": "_look",
    "VLMPerformer": "_performer",
    "NORMALISATION": "_pixels",
    "Normalisation": "_pixels",
}


def __getattr__(name: str) -> Any:
    if name in _NEED_TORCH:
        from importlib import import_module

        return getattr(import_module(f".{_NEED_TORCH[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
