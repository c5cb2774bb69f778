"""A checkpoint's json files as the plain values that the rest of the plugin knows. No torch."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, get_args

from napari_pathreason.errors import ModelError
from napari_pathreason.types import BoxSpace, Calibration, ModelInfo, Scale, TokenLevel

from ._dims import read_dims
from ._metadata import METADATA, metadata_of
from .families import family_of

CALIBRATION = "calibration.json"
"""Optional file beside the weights that says how confidence follows from probability."""

_OF_PICTURES = {"image_mean", "size", "image_processor_type"}
"""Keys of which a preprocessor's file has one; what sets the processor beside it has none."""
LEAST = 0.5
"""Confidence below which an answer is uncertain where no calibration says."""


def read_json(path: Path, name: str) -> dict[str, Any]:
    """Read one json object of the checkpoint called ``name``.

    Raises
    ------
    ModelError
        If the file is missing or is not a json object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"the model {name} lacks {path.name}; fetch the whole model") from None
    except (OSError, ValueError) as error:
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
    try:
        dims = read_dims(config)
    except (KeyError, TypeError) as error:
        raise ModelError(
            f"config.json of the model {name} lacks {error}; fetch the whole model"
        ) from error
    trained = folder if trained is None else trained
    metadata_json = read_metadata(trained, name)
    box_space = metadata_json.get("box_space", family.box_space)
    levels: tuple[TokenLevel, ...] = ()
    if family.levels is not None:
        levels = family.levels(config, read_preprocessor(folder, name))
    return ModelInfo(
        name=metadata_json.get("name", name),
        family=family.model_type,
        box_space=box_space,
        dims=dims,
        calibration=read_calibration(trained, name),
        metadata=metadata_of(metadata_json, name),
        levels=levels,
        several=family.several,
    )


def read_preprocessor(folder: Path, name: str) -> dict[str, Any]:
    """How a checkpoint's pictures are prepared, of its own file under either name; else empty.

    Raises
    ------
    ModelError
        If a file is damaged.
    """
    for file in ("preprocessor_config.json", "processor_config.json"):
        if (folder / file).exists():
            values = read_json(folder / file, name)
            own = values.get("image_processor", values)
            if isinstance(own, dict) and own.keys() & _OF_PICTURES:
                return own
    return {}


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
    """The optional ``calibration.json``: a `Scale` under each field of `Calibration`.

    Raises
    ------
    ModelError
        If the file is damaged or a temperature is not above 0.
    """
    if not (folder / CALIBRATION).exists():
        return None
    values = read_json(folder / CALIBRATION, name)
    try:
        forms = ("choice", "open", "box")
        scales = {form: _scale(values[form]) for form in forms}
        return Calibration(**scales, least=_share(values.get("least", LEAST)))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(
            f"{CALIBRATION} of the model {name} is damaged; run pathreason calibrate again"
        ) from error


def _scale(values: dict[str, Any]) -> Scale:
    temperature, offset = float(values["temperature"]), float(values["offset"])
    if not (0 < temperature < math.inf and math.isfinite(offset)):
        raise ValueError("no scale")
    return Scale(temperature, offset, bool(values["rationale"]))


def _share(value: Any) -> float:
    share = float(value)
    if not 0 <= share <= 1:
        raise ValueError("no share")
    return share
