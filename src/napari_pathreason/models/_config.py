"""A checkpoint's json files as the plain values that the rest of the plugin knows. No torch."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from napari_pathreason._errors import ModelError
from napari_pathreason._types import BoxSpace, Calibration, ModelDims, ModelInfo, Scale

Family: TypeAlias = Literal["qwen3_vl", "qwen2_5_vl"]
FAMILIES: tuple[Family, ...] = get_args(Family)
BOX_SPACES: dict[Family, BoxSpace] = {"qwen3_vl": "relative", "qwen2_5_vl": "resized"}
"""Where each family writes boxes: 0 to 1000 of the picture, or pixels of the resized picture."""
CARD = "pathreason.json"
"""Optional file beside the weights that says what a checkpoint was trained for."""
CALIBRATION = "calibration.json"
"""Optional file beside the weights that says how sure its answers are."""

ALLOCATOR = "allocator.json"
"""Optional file beside the weights that says of which form the learned allocator is."""
ALLOCATOR_FOLDER = "allocator"
"""Where the adapter of an allocator that writes its number lies, beside the weights."""


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


def read_info(folder: Path, name: str) -> ModelInfo:
    """What a checkpoint's folder says of itself.

    Parameters
    ----------
    folder : Path
    name : str
        How the model is called where its own ``pathreason.json`` gives no name.

    Raises
    ------
    ModelError
        If a file is missing or damaged, or the family is not served.
    """
    config = read_json(folder / "config.json", name)
    family = config.get("model_type")
    if family not in FAMILIES:
        raise ModelError(
            f"the model {name} is of the family {family!r}; choose a Qwen3-VL or Qwen2.5-VL one"
        )
    try:
        dims = read_dims(config)
    except (KeyError, TypeError) as error:
        raise ModelError(
            f"config.json of the model {name} lacks {error}; fetch the whole model"
        ) from error
    card = read_card(folder, name)
    return ModelInfo(
        name=card.get("name", name),
        family=family,
        box_space=card.get("box_space", BOX_SPACES[family]),
        dims=dims,
        tissues=tuple(card.get("tissues", ())),
        any_tissue_terms=tuple(card.get("any_tissue_terms", ())),
        calibration=read_calibration(folder, name),
        mpp=tuple(card["mpp"]) if "mpp" in card else None,
        closer=tuple(card.get("closer", ())),
    )


def read_card(folder: Path, name: str) -> dict[str, Any]:
    """The optional ``pathreason.json``, checked; empty if there is none.

    Keys: ``name``, ``tissues``, ``any_tissue_terms``, ``box_space`` (``relative`` where a
    fine-tune of Qwen2.5-VL was taught boxes from 0 to 1000), ``mpp`` (least and most um per
    pixel of the training pictures as the model read them) and ``closer`` (labels of small things
    whose boxes are better for a closer look). Others are left alone.

    Raises
    ------
    ModelError
        If the file is damaged or a value is of the wrong kind.
    """
    if not (folder / CARD).exists():
        return {}
    card = read_json(folder / CARD, name)
    for key in ("tissues", "any_tissue_terms", "closer"):
        words = card.get(key, [])
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ModelError(f"{key} in {CARD} of the model {name} must be a list of texts")
    if not isinstance(card.get("name", name), str):
        raise ModelError(f"name in {CARD} of the model {name} must be a text")
    if card.get("box_space", "relative") not in get_args(BoxSpace):
        raise ModelError(f"box_space in {CARD} of the model {name} must be relative or resized")
    if "mpp" in card and not _is_range(card["mpp"]):
        raise ModelError(
            f"mpp in {CARD} of the model {name} must be the least and the most um per pixel"
        )
    return card


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
        return Calibration(**{form: _scale(values[form]) for form in ("choice", "open", "box")})
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{CALIBRATION} of the model {name} is damaged; run pathreason calibrate again"
        ) from error


def _is_range(values: Any) -> bool:
    return (
        isinstance(values, list)
        and len(values) == 2
        and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        and 0 < values[0] <= values[1] < math.inf
    )


def _scale(values: dict[str, Any]) -> Scale:
    temperature, offset = float(values["temperature"]), float(values["offset"])
    if not (0 < temperature < math.inf and math.isfinite(offset)):
        raise ValueError("no scale")
    return Scale(temperature, offset, bool(values["rationale"]))


def read_dims(config: dict[str, Any]) -> ModelDims:
    """Dimensions out of ``config.json``, nested (Qwen3-VL, transformers 5) or flat (older).

    Raises
    ------
    KeyError
        If the config lacks one of them.
    """
    vision, text = config["vision_config"], config.get("text_config", config)
    heads = text["num_attention_heads"]
    return ModelDims(
        patch=vision["patch_size"],
        merge=vision["spatial_merge_size"],
        vision_depth=vision["depth"],
        vision_hidden=vision["hidden_size"],
        vision_mlp=vision["intermediate_size"],
        text_depth=text["num_hidden_layers"],
        text_hidden=text["hidden_size"],
        text_mlp=text["intermediate_size"],
        text_heads=heads,
        text_kv_heads=text.get("num_key_value_heads", heads),
        head_dim=text.get("head_dim") or text["hidden_size"] // heads,
        vocabulary=text["vocab_size"],
        vision_gated=config["model_type"] == "qwen2_5_vl",
    )
