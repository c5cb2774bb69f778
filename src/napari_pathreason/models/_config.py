"""A checkpoint's json files as the plain values that the rest of the plugin knows. No torch."""

from __future__ import annotations

import json
import math
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any, get_args

from napari_pathreason.engine import calibration_of
from napari_pathreason.errors import ModelError
from napari_pathreason.files import plain_text
from napari_pathreason.types import (
    BoxSpace,
    Calibration,
    ModelDims,
    ModelInfo,
    TokenLevel,
)

from ._box_spaces import box_space_of
from ._dims import read_dims
from ._limits import JSON, LAYERS, LEVELS, NAME, PIXELS, VOCABULARY, WIDTH
from ._metadata import METADATA, metadata_of
from .families import Family, family_of
from .server import SPACES

CALIBRATION = "calibration.json"
"""Optional file beside the weights that says how confidence follows from probability."""

_OF_PICTURES = {"image_mean", "size", "image_processor_type"}
"""Keys of which `processor_config.json` has one where it says at its top how to prepare pictures;
what sets the processor beside it has none."""
_SWITCHES = ("do_convert_rgb", "do_normalize", "do_rescale", "do_resize", "do_pad")
_COUNTS = {
    "image_seq_length",
    "max_image_size",
    "max_image_tiles",
    "max_patches",
    "max_pixels",
    "max_soft_tokens",
    "merge_size",
    "min_patches",
    "min_pixels",
    "patch_size",
    "pooling_kernel_size",
    "size",
    "temporal_patch_size",
}
"""Keys of a preprocessor's file that hold whole numbers, or sides by their names."""
_FEW = ("image_seq_length", "max_image_tiles", "max_patches", "max_soft_tokens")
"""Of these, numbers of visual tokens or of tiles."""
_MOST = {
    "patch": 1024,
    "merge": 1024,
    "vision_depth": LAYERS,
    "text_depth": LAYERS,
    "vocabulary": VOCABULARY,
}
"""Of `ModelDims`; the others are widths."""


def read_json(path: Path, name: str) -> dict[str, Any]:
    """Read one json object of the checkpoint called ``name``.

    Raises
    ------
    ModelError
        If the file is missing or is not a json object.
    """
    try:
        with path.open("rb") as file:
            text = file.read(JSON + 1)
        value = json.loads(text) if len(text) <= JSON else None
    except FileNotFoundError:
        raise ModelError(f"the model {name} lacks {path.name}; fetch the whole model") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path.name} of the model {name} is damaged; fetch it again") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path.name} of the model {name} is damaged; fetch it again")
    return value


def read_info(folder: Path, name: str, trained: Path | None = None) -> ModelInfo:
    """What a checkpoint's folder says of itself.

    Parameters
    ----------
    folder : Path
        That holds the config.
    name : str
        How the model is called where its own ``pathreason.json`` gives no name.
    trained : Path, optional
        That holds what was trained, where it is another one: an adapter may lie without a config,
        and what its base says of its own training does not hold for it.

    Raises
    ------
    ModelError
        If a file is missing or damaged, or the family is not served.
    """
    config = read_json(folder / "config.json", name)
    family = family_of(config.get("model_type"), name)
    dims = _dims(config, name)
    trained = folder if trained is None else trained
    metadata_json = read_metadata(trained, name)
    box_space, boxes_by = metadata_json.get("box_space", family.box_space), ""
    if "box_space" not in metadata_json and (own := box_space_of(trained, name)) is not None:
        box_space, boxes_by = own, f"{SPACES[own]}, as you said"
    preprocessor = read_preprocessor(folder, name)
    if family.loader == "decoder":  # the others' own processor cuts their patches
        frames = config["vision_config"].get("temporal_patch_size", 2)
        sizes = {"patch_size": dims.patch, "merge_size": dims.merge, "temporal_patch_size": frames}
        for key, own_size in sizes.items():
            if preprocessor.get(key, own_size) != own_size:
                raise ModelError(
                    f"the model {name} has {own_size} as {key} in config.json and another one in "
                    "its preprocessor's file; fetch the whole model"
                )
    levels = _levels(family, config, preprocessor, name)
    return ModelInfo(
        name=plain_text(metadata_json.get("name", ""))[:NAME] or name,
        family=family.model_type,
        box_space=box_space,
        dims=dims,
        calibration=read_calibration(trained, name),
        metadata=metadata_of(metadata_json, name),
        levels=levels,
        several=family.several,
        boxes_by=boxes_by,
    )


def _dims(config: dict[str, Any], name: str) -> ModelDims:
    """Sizes of a config, each one that a model could have.

    Raises
    ------
    ModelError
        Names the one that it could not.
    """
    try:
        dims = read_dims(config)
    except KeyError as error:
        raise ModelError(
            f"config.json of the model {name} lacks {error}; fetch the whole model"
        ) from error
    except Exception as error:  # a division by a number that cannot be 0, a text for a number
        raise ModelError(
            f"the sizes in config.json of the model {name} make no sense; fetch the whole model"
        ) from error
    for field in fields(dims):
        value = getattr(dims, field.name)
        most = _MOST.get(field.name, WIDTH)
        if field.type != "bool" and not (is_whole(value) and 1 <= value <= most):
            raise ModelError(
                f"config.json of the model {name} has {plain_text(str(value))[:20]} as "
                f"{field.name}, which must be from 1 to {most:,}; fetch the whole model"
            )
    taken = config["vision_config"].get("deepstack_visual_indexes") or []
    layers = range(dims.vision_depth)
    if not isinstance(taken, list) or not all(is_whole(one) and one in layers for one in taken):
        raise ModelError(  # transformers leaves out what it does not find
            f"deepstack_visual_indexes in config.json of the model {name} must be numbers of "
            f"layers from 0 to {layers[-1]}; fetch the whole model"
        )
    return dims


def _levels(
    family: Family, config: dict[str, Any], preprocessor: dict[str, Any], name: str
) -> tuple[TokenLevel, ...]:
    """What a picture may cost where not every number of visual tokens can be.

    Raises
    ------
    ModelError
        If the files say nothing that could be.
    """
    if family.levels is None:
        return ()
    wrong = f"the sizes of pictures in the files of the model {name} make no sense; fetch it again"
    try:
        levels = family.levels(config, preprocessor)
    except (ArithmeticError, LookupError, AttributeError, TypeError, ValueError) as error:
        raise ModelError(wrong) from error
    if not levels or not all(is_whole(n) and n > 0 for one in levels for n in astuple(one)):
        raise ModelError(wrong)
    return levels


def read_preprocessor(folder: Path, name: str) -> dict[str, Any]:
    """How a checkpoint's pictures are prepared, of its own files; else empty.

    Where two files say it, ``image_processor`` in ``processor_config.json`` stands before
    ``preprocessor_config.json``, as it does in transformers.

    Raises
    ------
    ModelError
        If a file is damaged.
    """
    processor = _read_if_there(folder / "processor_config.json", name)
    own = processor.get("image_processor")
    if own is not None and not isinstance(own, dict):
        raise ModelError(f"processor_config.json of the model {name} is damaged; fetch it again")
    file = "processor_config.json"
    if own is None and (folder / "preprocessor_config.json").exists():
        file = "preprocessor_config.json"
        own = read_json(folder / file, name)
    elif own is None and processor.keys() & _OF_PICTURES:
        own = processor
    if own is None:
        return {}
    _check_preprocessor(own, f"{file} of the model {name}")
    return own


def _read_if_there(path: Path, name: str) -> dict[str, Any]:
    return read_json(path, name) if path.exists() else {}


def _check_preprocessor(values: dict[str, Any], where: str) -> None:
    """Refuse values that are of the wrong kind, not finite or out of range.

    Raises
    ------
    ModelError
        Names the key.
    """

    def refuse(key: str, why: str) -> ModelError:
        return ModelError(f"{key} in {where} must be {why}; fetch it again")

    for key in _SWITCHES:
        if not isinstance(values.get(key), bool | None):
            raise refuse(key, "true or false")
    factor = values.get("rescale_factor")
    if factor is not None and not (is_finite(factor) and 0 < factor <= 1):
        raise refuse("rescale_factor", "above 0 and at most 1")
    white = 255 * scale_of(values) * (1 + 1e-6)  # what the brightest pixel is scaled to
    if values.get("do_normalize") is not False:
        for key, least in (("image_mean", 0.0), ("image_std", 1e-3 * white)):
            if key in values and not _is_of_channels(values[key], least, white):
                raise refuse(key, f"three numbers of {least:.3g} to {white:.3g}")
    for key in _COUNTS & values.keys():
        value = values[key]
        sides = value.values() if isinstance(value, dict) else (value,)
        most = LEVELS if key in _FEW else PIXELS
        if not all(one is None or (is_whole(one) and 1 <= one <= most) for one in sides):
            raise refuse(key, f"whole numbers of 1 to {most:,}")
    _refuse_reversed(values, where)


def _refuse_reversed(values: dict[str, Any], where: str) -> None:
    """Refuse a least that is above its most.

    Raises
    ------
    ModelError
    """
    size = values.get("size")
    sides = size if isinstance(size, dict) else {}
    for places, least, most in (
        (values, "min_pixels", "max_pixels"),
        (values, "min_patches", "max_patches"),
        (sides, "shortest_edge", "longest_edge"),
    ):
        low, high = places.get(least), places.get(most)
        if low is not None and high is not None and low > high:
            raise ModelError(f"{least} in {where} must be at most {most}; fetch it again")


def _is_of_channels(value: object, least: float, most: float) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(is_finite(one) and least <= one <= most for one in value)
    )


def scale_of(values: dict[str, Any]) -> float:
    """What a preprocessor multiplies pixels with."""
    if values.get("do_rescale") is False:
        return 1.0
    factor = values.get("rescale_factor")
    return 1 / 255 if factor is None else float(factor)


def is_whole(value: Any) -> bool:
    """Whether a value of json is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_finite(value: Any) -> bool:
    """Whether a value of json is a number that can be reckoned with."""
    return is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def read_metadata(folder: Path, name: str) -> dict[str, Any]:
    """The values of the optional `METADATA`, name and box space checked; empty if there is none.

    Raises
    ------
    ModelError
        If the file is damaged or a value is of the wrong kind.
    """
    if not (folder / METADATA).exists():
        return {}
    metadata_json = read_json(folder / METADATA, name)
    if not isinstance(metadata_json.get("name", name), str):
        raise ModelError(f"name in {METADATA} of the model {name} must be a text")
    # where a fine-tune of Qwen2.5-VL was taught boxes from 0 to 1000
    if metadata_json.get("box_space", "relative") not in get_args(BoxSpace):
        spaces = ", ".join(get_args(BoxSpace))
        raise ModelError(f"box_space in {METADATA} of the model {name} must be one of {spaces}")
    return metadata_json


def read_calibration(folder: Path, name: str) -> Calibration | None:
    """The optional ``calibration.json``; None where there is none.

    Raises
    ------
    ModelError
        If the file is damaged or a temperature is not above 0.
    """
    if not (folder / CALIBRATION).exists():
        return None
    values = read_json(folder / CALIBRATION, name)
    try:
        return calibration_of(values)
    except ValueError as error:
        raise ModelError(
            f"{CALIBRATION} of the model {name} is damaged; run pathreason calibrate again"
        ) from error
