"""``pathreason doctor``: what is here, what is missing, and what to do about it."""

from __future__ import annotations

import argparse
import os
import platform
import re
import shlex
import sys
from collections.abc import Iterator
from ctypes import util
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Literal

from napari_pathreason import models
from napari_pathreason.errors import PathreasonError

from ._options import add_server

if TYPE_CHECKING:
    from napari_pathreason.models.server import Capabilities

    from ._main import Subparsers

PACKAGE = "napari-pathreason"
BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")
LIBRARIES = {
    "EGL": "libegl1",
    "GL": "libgl1",
    "xcb-cursor": "libxcb-cursor0",
    "xcb-icccm": "libxcb-icccm4",
    "xcb-keysyms": "libxcb-keysyms1",
    "xkbcommon-x11": "libxkbcommon-x11-0",
}
"""Shared libraries that Qt loads on Linux -> Debian packages that hold them."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    ``state`` is ``ok``, ``missing`` for what nothing works without, and ``note`` for what only
    a part (the viewer, a faster device) needs.
    """

    state: Literal["ok", "missing", "note"]
    name: str
    text: str
    remedy: str = ""


def add_parser(commands: Subparsers) -> None:
    """Add ``doctor`` to the command line."""
    parser = commands.add_parser("doctor", help="say what is installed and what is missing")
    parser.add_argument(
        "--model",
        metavar="ADDRESS",
        help="say what a server has and does, such as http://host:8000/v1; it is found out anew, "
        "by a few short questions about white pictures",
    )
    add_server(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the report; 1 if something is missing that every answer needs."""
    from ._text import quiet_libraries

    quiet_libraries()
    marks = {"ok": "ok", "missing": "MISSING", "note": "note"}
    sick = False
    if args.model is not None or args.allow_host or args.boxes:
        args.model = args.model or ""
        models.prepare_model(args.model, args.allow_host, args.boxes)
    for one in examine() if args.model is None else examine_server(args.model):
        sick |= one.state == "missing"
        print(f"{marks[one.state]:<9}{one.name:<19}{one.text}".rstrip())
        if one.remedy:
            print(f"{'':<28}-> {one.remedy}")
    print()
    if sick:
        print("Something that every answer needs is missing; see the arrows above.")
    elif args.model is not None:
        print(f"Ready: pathreason ask SLIDE --question TEXT --model {shlex.quote(args.model)}")
    else:
        print("Ready: pathreason ask SLIDE --question TEXT")
    return int(sick)


def examine() -> Iterator[Finding]:
    """Examine this installation; every finding stands alone, whatever is broken."""
    yield Finding("ok", "python", f"{platform.python_version()} on {platform.platform(terse=True)}")
    yield Finding("ok", PACKAGE, metadata.version(PACKAGE))
    for name in required_packages():
        yield _package(name)
    yield _device()
    yield _encoder()
    yield _model()
    yield from _viewer()


def examine_server(model: str) -> Iterator[Finding]:
    """What a server has, and what it does for the model that is asked for or its only one.

    Parameters
    ----------
    model : str
        Its address.
    """
    from napari_pathreason.models.server import MANY, look_at_server, parse_address

    if not models.is_address(model):
        yield Finding("missing", "server", f"{model} is no address", "give http://host:8000/v1")
        return
    try:
        report = look_at_server(model)
    except PathreasonError as error:
        what, _, remedy = str(error).partition("; ")
        yield Finding("missing", "server", what, remedy)
        return
    place = parse_address(model).place
    yield Finding("ok", "server", f"{place}: {', '.join(report.models) or 'lists no models'}")
    info, found = report.info, report.found
    if info is None or found is None or info.server is None:
        which = f"name one of them: {model}#NAME"
        yield Finding("missing", "model", "the server has several", which)
        return
    known = "" if info.family == "unknown" else f", of the family {info.family}"
    context = f"; context of {found.context:,} tokens" if found.context else ""
    yield Finding("ok", "model", f"{info.name}{known}{context}")
    many = {1: "one in a prompt", MANY: "several in a prompt"}
    yield Finding("ok", "pictures", many.get(found.pictures, f"{found.pictures} in a prompt"))
    yield _visual_tokens(found)
    yield _answers(found)
    if found.logprobs:
        yield Finding("ok", "confidence", "from the probabilities of tokens")
    else:
        yield Finding("note", "confidence", "none: this server gives no probabilities")
    if info.box_space is None:
        yield Finding("note", "boxes", "nobody knows how it writes them", "say so with --boxes")
    else:
        yield Finding("ok", "boxes", info.boxes_by)


def _visual_tokens(found: Capabilities) -> Finding:
    """How pictures become tokens, as it was measured."""
    if not found.usage:
        return Finding("note", "visual tokens", "not counted; those that are planned are reported")
    if found.fixed:
        return Finding("ok", "visual tokens", f"{found.fixed:,} for any picture")
    if not found.token_px:
        return Finding("note", "visual tokens", "follow no rule that is known; they are counted")
    side = f"one for {found.token_px} x {found.token_px} px"
    bounds = "" if not found.pixels else "; takes bounds of its pixels with a question"
    if found.least > 1 and not found.pixels:
        return Finding(
            "note",
            "visual tokens",
            f"{side}, at least {found.least:,} for a picture: a smaller budget costs as much",
            "start the server with lower bounds of pixels; docs/using/models.md says how",
        )
    return Finding("ok", "visual tokens", f"{side}, at least {found.least:,} for a picture{bounds}")


def _answers(found: Capabilities) -> Finding:
    """How answers come."""
    words = ["streamed"]
    if found.thinks_in in ("reasoning_content", "reasoning"):
        words.append(f"the rationale in {found.thinks_in}")
    words.append("goes on with one that was begun" if found.continues else "begun by itself alone")
    if found.structured:
        words.append(f"held to given choices by {found.structured}")
    return Finding("ok", "answers", ", ".join(words))


def required_packages() -> list[str]:
    """Packages that this one declares, extras left out."""
    lines = [line for line in metadata.requires(PACKAGE) or [] if "extra ==" not in line]
    return [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in lines]


def _package(name: str) -> Finding:
    try:
        return Finding("ok", name, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Finding("missing", name, "not installed", f"pip install {name}")


def _device() -> Finding:
    try:
        import torch
    except Exception as error:  # a broken build fails in many ways
        return Finding(
            "missing",
            "device",
            f"torch cannot be loaded ({type(error).__name__})",
            "pip install --force-reinstall torch",
        )
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        return Finding("ok", "device", f"cuda: {torch.cuda.get_device_name(0)}, {memory:.0f} GB")
    if torch.backends.mps.is_available():
        return Finding("ok", "device", "mps (Apple GPU)")
    return Finding("ok", "device", f"cpu, {torch.get_num_threads()} threads; no GPU is used")


def _encoder() -> Finding:
    """Whether pictures may be encoded faster here."""
    try:
        device = str(models.resolve_device("auto"))
    except Exception as error:  # of torch, which the line above has said more of
        return Finding("note", "encoder", f"nobody knows ({type(error).__name__})")
    runs, why = models.resolve_encoder("fast", device)
    if runs == "fast":
        text = "fast gains here: this processor multiplies bfloat16 (--encoder fast)"
    else:
        text = f"fast gains nothing here: {why.partition(': ')[2]}"
    if device == "cpu":
        there = models.resolve_encoder("openvino", device)[0] == "openvino"
        text += "; openvino " + ("gains too (--encoder openvino)" if there else "is not installed")
    return Finding("ok", "encoder", text)


def _model() -> Finding:
    """Load the embedded model: nothing less shows that it would answer."""
    try:
        performer = models.load_performer("embedded", "cpu")
    except PathreasonError as error:
        what, _, remedy = str(error).partition("; ")
        return Finding("missing", "model", what, remedy)
    except Exception as error:  # a missing or broken package; its own line says which
        return Finding("missing", "model", f"cannot be loaded ({type(error).__name__})")
    info = performer.info
    millions = performer.model.num_parameters() / 1e6
    tissues = info.metadata.tissues if info.metadata is not None else ()
    trained = f"; trained on {', '.join(tissues)}" if tissues else ""
    return Finding("ok", "model", f"{info.name}, {millions:.1f} M parameters{trained}")


def _viewer() -> Iterator[Finding]:
    install = f'pip install "{PACKAGE}[napari]"'
    try:
        yield Finding("ok", "napari", metadata.version("napari"))
    except metadata.PackageNotFoundError:
        yield Finding("note", "napari", "not installed; the shell works without it", install)
        return
    bindings = {name: v for name in BINDINGS if (v := _version(name)) is not None}
    if not bindings:
        yield Finding("note", "Qt", "no binding; napari cannot open a window", install)
    elif len(bindings) > 1:
        names = ", ".join(bindings)
        keep = next(iter(bindings))
        drop = " ".join(name for name in bindings if name != keep)
        yield Finding("note", "Qt", f"several bindings: {names}", f"pip uninstall {drop}")
    else:
        yield Finding("ok", "Qt", " ".join(*bindings.items()))
    display, remedy = find_display(sys.platform)
    yield Finding("note" if remedy else "ok", "display", display, remedy)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def find_display(platform: str) -> tuple[str, str]:
    """What windows would be drawn on, and whether any can be opened.

    Parameters
    ----------
    platform : str
        As `sys.platform`.

    Returns
    -------
    tuple of str
        What is there, and what to do about what is missing (empty if nothing is).
    """
    if not platform.startswith("linux"):
        return "the desktop", ""
    missing = [package for name, package in LIBRARIES.items() if util.find_library(name) is None]
    if missing:
        return f"{len(missing)} system libraries of Qt missing", f"apt install {' '.join(missing)}"
    for variable in ("WAYLAND_DISPLAY", "DISPLAY"):
        if os.environ.get(variable):
            return f"{variable}={os.environ[variable]}", ""
    return (
        "none; napari cannot open a window, the shell works without one",
        "log in with a desktop or ssh -X, or run under xvfb-run",
    )
