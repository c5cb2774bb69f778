"""Whoever gets a value from the package can name its type from the package."""

import dataclasses
import typing
from collections.abc import Iterator
from typing import Any

import pytest

import napari_pathreason
from napari_pathreason import Request, Result


def types_within(kind: Any) -> Iterator[type]:
    """The dataclasses of this package that a type is made of, its fields' and theirs included."""
    for part in typing.get_args(kind):
        yield from types_within(part)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        yield kind
        for hint in typing.get_type_hints(kind).values():
            yield from types_within(hint)


@pytest.mark.parametrize("kind", [Result, Request])
def test_every_type_of_a_value_is_exported(kind: type) -> None:
    needed = set(types_within(kind))
    assert len(needed) > 3
    assert {one.__name__ for one in needed} <= set(napari_pathreason.__all__)
    for one in needed:
        assert getattr(napari_pathreason, one.__name__) is one


def test_what_ask_takes_is_exported() -> None:
    hints = napari_pathreason.ask.__annotations__
    named = " ".join(hints.values())
    for name in ("Slide", "Region", "TaskName", "Budget", "Effort", "Models", "Result"):
        assert name in named
        assert getattr(napari_pathreason, name) is not None
