"""Options that several commands have, read off the dataclasses that they fill.

A default and its type stand in one place, the dataclass; an option adds its words.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from napari_pathreason import QueryError
from napari_pathreason.files import plain_text, refuse_inside_slide, refuse_overwriting
from napari_pathreason.types import BoxSpace, Budget, Effort, Encoder, GenerationSettings, Precision

if TYPE_CHECKING:
    from napari_pathreason.slides import Slide

Settings = TypeVar("Settings")
Options = argparse.ArgumentParser | argparse._ArgumentGroup


def add_setting(options: Options, defaults: object, name: str, words: str, **more: Any) -> None:
    """Add the option of a field, of its name, default and type.

    Parameters
    ----------
    options : parser or group of options
    defaults : dataclass
        An instance with all defaults.
    name : str
    words : str
        The help; ``{}`` becomes the default.
    **more
        As for `add_argument`, in place of what follows from the default.
    """
    value = getattr(defaults, name)
    if isinstance(value, bool):
        more.setdefault("action", argparse.BooleanOptionalAction)
    elif "choices" not in more:
        more.setdefault("type", plain_text if isinstance(value, str) else type(value))
    flag = f"--{name.replace('_', '-')}"
    options.add_argument(flag, default=value, help=words.format(value) or None, **more)


def settings_of(kind: type[Settings], args: argparse.Namespace, **others: Any) -> Settings:
    """A dataclass out of the options of its fields' names; ``others`` are given as they are."""
    options = vars(args)
    names = {field.name for field in fields(kind)} & options.keys()  # type: ignore[arg-type]
    return kind(**{name: options[name] for name in names} | others)


def add_model(
    options: Options, whose: str = "", budget: Budget = "auto", effort: Effort = "balanced"
) -> None:
    """Add budget, effort, zoom, model and what it runs on; ``whose`` begins the budget's help."""
    options.add_argument(
        "--budget", default=budget, help=f"{whose}auto, native or most visual tokens to spend"
    )
    options.add_argument(
        "--effort",
        choices=get_args(Effort),
        default=effort,
        help="how readily an allocator or a policy spends tokens where the budget is auto",
    )
    add_setting(
        options,
        GenerationSettings(),
        "zoom",
        "zoom in on small detections, on top of the budget, where the model knows how",
    )
    options.add_argument(
        "--model",
        default="embedded",
        help="embedded, a folder, a hub id, or a server: http://host:8000/v1, with #NAME behind it "
        "where it has several models",
    )
    add_server(options)
    options.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    options.add_argument(
        "--encoder",
        choices=get_args(Encoder),
        default="exact",
        help="of pictures on a processor: fast multiplies in bfloat16 where it has units for that, "
        "openvino wants the package",
    )
    options.add_argument(
        "--dtype",
        choices=[one for one in get_args(Precision) if one != "4bit"],
        default="auto",
        help="of the weights; auto: float32 on a processor and of small models, else bfloat16",
    )
    options.add_argument(
        "--load-in",
        choices=["4bit"],
        help="pack the weights, on a CUDA device, with the package bitsandbytes",
    )


def precision_of(args: argparse.Namespace) -> Precision:
    """What `add_model` was told of the weights.

    Raises
    ------
    QueryError
        If they were told to be two things.
    """
    if args.load_in is None:
        precision: Precision = args.dtype
        return precision
    if args.dtype != "auto":
        raise QueryError("weights in four bits have no --dtype of their own; leave one of both out")
    return "4bit"


def add_server(options: Options) -> None:
    """Add what concerns models on servers alone."""
    options.add_argument(
        "--allow-host",
        metavar="NAME",
        help="send pixels and words to this host, which is not this machine; remembered",
    )
    options.add_argument(
        "--boxes",
        choices=get_args(BoxSpace),
        help="how the model writes boxes, where nobody knows or it was taught otherwise: 0 to 1000 "
        "(relative), pixels of the picture (resized), or 0 to 1000 with y first (relative_yx); "
        "remembered",
    )


def add_slide(options: Options, mpp: str) -> None:
    """Add how a slide is read: its scale under the name ``mpp``, channels, colour profile."""
    options.add_argument(
        mpp, type=float, metavar="UM", help="µm per level-0 pixel; goes before what the file says"
    )
    options.add_argument(
        "--channels",
        default="",
        metavar="A=COLOUR,B=COLOUR",
        help='of fluorescence, by number or name: "1=blue,FITC=green"; rgb takes the first three',
    )
    options.add_argument(
        "--icc",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="turn colours into sRGB by the ICC profile of the slide",
    )


def open_with(path: str | Path, mpp: Any, args: argparse.Namespace) -> Slide:
    """Open a slide as the options of `add_slide` say."""
    from napari_pathreason.slides import open_slide

    return open_slide(path, mpp, channels=args.channels, icc=args.icc)


def names_in(text: str) -> tuple[str, ...]:
    """Names between commas."""
    return tuple(word.strip() for word in plain_text(text).split(",") if word.strip())


def check_writable(file: Path) -> None:
    """Refuse before the work what could not be kept after it."""
    if file.is_dir():
        raise QueryError(f"{file} is a folder; give a file to write to")
    if not file.absolute().parent.is_dir():
        raise QueryError(f"there is no folder {file.parent} to write to; make it first")
    refuse_inside_slide(file)


def check_results(
    written: Iterable[str | Path | None], read: Iterable[str | Path | None] = ()
) -> None:
    """Refuse results that would be written over what is read, or over each other.

    Parameters
    ----------
    written, read : iterable of str, Path or None
        As options have them: ``-`` and what is left out count for nothing; a model may be a name.
    """
    files = [[Path(file) for file in some if file not in (None, "-")] for some in (written, read)]
    refuse_overwriting(*files)


def write_json(file: str, value: object) -> None:
    """Write a value; ``-`` is stdout."""
    if file == "-":  # a terminal or pipe may know no more than ASCII
        print(json.dumps(value, indent=2, allow_nan=False))
        return
    from napari_pathreason.files import atomic_text

    with atomic_text(file) as out:
        out.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
