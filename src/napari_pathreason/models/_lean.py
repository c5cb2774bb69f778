"""Importing transformers for a process that answers and does nothing else.

Whatever one of its models is imported for, transformers also imports torch's compiler, its
distributed tensors, accelerate and scipy: for training, for models in several pieces, for losses
of object detectors. An answer of one of Qwen's models uses none of them, and they take a third of
the CPU seconds before a first answer. Here they are not there while transformers is imported, and
stay unseen by it in this process: that is why it must be one that answers alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

UNSEEN = ("is_accelerate_available", "is_scipy_available", "is_torch_distributed_available")
"""Questions of transformers whether a package is there, which decide what it imports."""
_COMPILER = "torch._dynamo"
_INDEXING = f"{_COMPILER}._trace_wrapped_higher_order_op"


@contextmanager
def lean_loading(architecture: str) -> Iterator[None]:
    """Import the class of a model and load it in the block, with no more than its answers need.

    What a release of transformers cannot do without is there after all: it is then imported as
    ever, and so it is where it was imported before.

    Parameters
    ----------
    architecture : str
        Name of a class of transformers that answers by the decoder of this package.
    """
    if "transformers" in sys.modules or _COMPILER in sys.modules:
        yield
        return
    import torch  # noqa: F401

    before = {*sys.modules}
    with _no_compiler():
        try:
            _say_no()
            for name in (architecture, "AutoTokenizer"):
                getattr(sys.modules["transformers"], name)
        except Exception:  # whatever a release that we do not know makes of what is not there
            for name in {*sys.modules} - before:
                if name.partition(".")[0] == "transformers":
                    del sys.modules[name]
        else:
            yield  # to make a model on no device, torch asks for its compiler too
            return
    yield


def _say_no() -> None:
    """Let transformers ask for what is not needed, and be told that it is not there."""
    from transformers import utils
    from transformers.utils import import_utils

    def no(*least_version: str) -> bool:
        return False

    for name in UNSEEN:
        for module in (import_utils, utils):
            if hasattr(module, name):
                setattr(module, name, no)


@contextmanager
def _no_compiler() -> Iterator[None]:
    """Without torch's compiler while the block runs: what marks functions for it leaves them be.

    Nothing is compiled here, so that such marks mean nothing. The compiler itself is imported where
    somebody asks for it afterwards.
    """
    compiler, indexing = ModuleType(_COMPILER), ModuleType(_INDEXING)
    compiler.__path__ = []
    compiler.__getattr__ = _mark  # type: ignore[method-assign]
    indexing.TransformGetItemToIndex = _indexing  # type: ignore[attr-defined]
    sys.modules |= {_COMPILER: compiler, _INDEXING: indexing}
    try:
        yield
    finally:
        for name in (_COMPILER, _INDEXING):
            sys.modules.pop(name, None)


def _mark(name: str) -> Callable[..., Any]:
    """Of the compiler, a decorator with or without options that changes nothing."""
    if name.startswith("__"):
        raise AttributeError(name)

    def mark(function: Any = None, *_: object, **__: object) -> Any:
        return function if callable(function) else lambda decorated: decorated

    return mark


def _indexing() -> Any:
    """What masks of some other families need of the compiler, imported when it is used."""
    from torch._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex

    return TransformGetItemToIndex()
