"""``pathreason models``: which models there are, what each is good for, and which lie here."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from napari_pathreason.models import (
    LISTED,
    CachedModel,
    ListedModel,
    cached_models,
    read_model_info,
)

from ._text import printable

if TYPE_CHECKING:
    from ._main import Subparsers

WIDTH = 100
INDENT = 4


def add_parser(commands: Subparsers) -> None:
    """Add ``models`` to the command line."""
    parser = commands.add_parser(
        "models",
        help="say which models there are, what each is good for, and which lie here",
        description="Nothing is asked of a network. Memory is estimated from the number of "
        "parameters, in 16 bits and in four; a model that cannot fit is refused before it is "
        "loaded.",
    )
    parser.add_argument("--json", action="store_true", help="write the list as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List the embedded model, those of the cache and those that can be fetched."""
    cached = cached_models()
    if args.json:
        print(json.dumps(_values(cached), indent=2))
        return 0
    print("\n".join(map(printable, _lines(cached))))
    return 0


def _lines(cached: list[CachedModel]) -> Iterator[str]:
    yield "On this machine, by the name to give with --model:"
    yield from _entry("embedded", _of_embedded())
    here = {model.hub_id for model in cached}
    listed = {model.hub_id: model for model in LISTED}
    for model in cached:
        words = f"{model.family.name}, {model.size / 1e9:,.1f} GB of weights"
        if (known := listed.get(model.hub_id)) is not None:
            words += f"; {known.good_for}"
        yield from _entry(model.hub_id, words)
    yield ""
    yield "To fetch, once; any other checkpoint of these families may be given as well:"
    for model_ in LISTED:
        if model_.hub_id not in here:
            yield from _entry(model_.hub_id, _of_listed(model_), model_.command)
    yield ""
    yield "Or on a server: give its address, see docs/using/models.md."


def _of_embedded() -> str:
    info = read_model_info("embedded")
    if info is None:
        return "not in this installation; install a released wheel"
    metadata = info.metadata
    tissues = ", ".join(metadata.tissues) if metadata is not None else ""
    trained = f", trained on {tissues}" if tissues else ""
    return f"a demonstrator{trained}; needs no network and no GPU"


def _of_listed(model: ListedModel) -> str:
    memory = f"{model.gigabytes:,.0f} GB of memory ({model.gigabytes_packed:,.0f} in four bits)"
    words = f"{model.good_for}; {model.parameters:g} B parameters, {memory}; {model.licence}"
    return f"{words}; first: {model.consent}, then: hf auth login" if model.consent else words


def _entry(name: str, words: str, command: str = "") -> Iterator[str]:
    yield f"  {name}"
    yield from textwrap.wrap(
        words, WIDTH, initial_indent=" " * INDENT, subsequent_indent=" " * INDENT
    )
    if command:
        yield " " * INDENT + command


def _values(cached: list[CachedModel]) -> dict[str, Any]:
    return {
        "cached": [
            {"model": one.hub_id, "family": one.family.model_type, "weight_bytes": one.size}
            for one in cached
        ],
        "listed": [
            {
                "model": one.hub_id,
                "family": one.family,
                "good_for": one.good_for,
                "billions_of_parameters": one.parameters,
                "gigabytes": round(one.gigabytes, 1),
                "gigabytes_in_four_bits": round(one.gigabytes_packed, 1),
                "licence": one.licence,
                "consent": one.consent,
                "command": one.command,
            }
            for one in LISTED
        ],
    }
