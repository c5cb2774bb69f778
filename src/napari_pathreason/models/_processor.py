"""The processor of transformers for families that it prepares, for pictures and words alone.

Those of families that also take video or sound refuse to be made without torchvision, which only
their video part needs. Pictures do not: transformers prepares them with Pillow, the same on every
machine. So the processor is built here of its picture part and the tokenizer.
"""

from __future__ import annotations

from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any

from napari_pathreason.errors import ModelError
from napari_pathreason.types import ModelInfo

from ._config import is_whole, read_json
from ._limits import LEVELS
from ._pretrained import from_pretrained
from .families import FAMILIES, Family

_PARTS = ("image_processor", "tokenizer")
PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
"""What a checkpoint says of how its pictures are prepared, in either of two files or in both."""


def check_installed(family: Family) -> None:
    """Refuse a family whose packages are missing, before anything of a model is read.

    Raises
    ------
    ModelError
        With the line that installs them.
    """
    missing = [name for name in family.needs if find_spec(name) is None]
    if missing:
        raise ModelError(
            f"models of the family {family.name} need {', '.join(missing)}; "
            f"pip install {' '.join(missing)}"
        )


def load_processor(
    folder: Path, info: ModelInfo, tokenizer: Any, before: type | None = None
) -> Any:
    """The processor of a checkpoint, for pictures and words alone.

    Parameters
    ----------
    folder : Path
        With the checkpoint's preprocessor file.
    info : ModelInfo
    tokenizer : transformers tokenizer
    before : type, optional
        Whose methods stand before the processor's own.

    Raises
    ------
    ModelError
        If its files are missing or damaged, or it needs what is not installed.
    """
    import transformers

    family = FAMILIES[info.family]
    check_installed(family)
    own = next((f for f in PROCESSOR_FILES if (folder / f).exists()), None)
    if own is None:
        raise ModelError(f"the model {info.name} lacks {PROCESSOR_FILES[0]}; fetch the whole model")
    try:
        pictures = from_pretrained(transformers.AutoImageProcessor, folder, backend="pil")
        kind = _of_pictures(getattr(transformers, family.processor), before)
        return kind(pictures, tokenizer, **_settings(folder, info, kind))
    except ModelError:
        raise
    except ImportError as error:
        raise ModelError(
            f"pictures of the family {family.name} cannot be prepared by this transformers "
            "without torchvision; pip install torchvision"
        ) from error
    except Exception as error:  # whatever a damaged file makes a processor raise
        raise ModelError(
            f"{own} of the model {info.name} cannot be read; fetch the whole model"
        ) from error


def _settings(folder: Path, info: ModelInfo, kind: Any) -> dict[str, Any]:
    """What a checkpoint's own file sets of the processor beside its parts."""
    file = folder / PROCESSOR_FILES[1]
    values = read_json(file, info.name) if file.exists() else {}
    known = signature(kind.of).parameters.keys() - {*_PARTS, "chat_template"}
    for name in known & values.keys():
        if is_whole(values[name]) and not 0 <= values[name] <= LEVELS:
            raise ModelError(
                f"{name} in {file.name} of the model {info.name} must be from 0 to {LEVELS:,}; "
                "fetch it again"
            )
    return {name: value for name, value in values.items() if name in known and _plain(value)}


def _plain(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _of_pictures(kind: Any, before: type | None) -> Any:
    """A class of processors that has no other parts than pictures and words."""
    from transformers import ProcessorMixin

    class _WithoutRest(ProcessorMixin):
        def __init__(self, *parts: Any, **others: Any) -> None:
            others = {name: value for name, value in others.items() if value is not None}
            super().__init__(*(part for part in parts if part is not None), **others)

        @classmethod
        def get_attributes(cls) -> list[str]:
            return [*_PARTS]

    # what the family's own __init__ calls with all its parts is then _WithoutRest, which leaves
    # the absent ones out before transformers checks their number and kind
    class PicturesAndWords(*([before] if before else []), kind, _WithoutRest):  # type: ignore[misc]
        of = kind

        def __init__(self, image_processor: Any, tokenizer: Any, **settings: Any) -> None:
            others = signature(kind).parameters.keys() - {*_PARTS}
            absent = dict.fromkeys(others & {"video_processor", "feature_extractor"})
            super().__init__(
                image_processor=image_processor, tokenizer=tokenizer, **absent, **settings
            )

        @classmethod
        def get_attributes(cls) -> list[str]:
            return [*_PARTS]

    return PicturesAndWords
