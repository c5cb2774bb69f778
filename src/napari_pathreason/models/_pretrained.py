"""The one place where a file of a checkpoint becomes an object of transformers or peft.

Whatever it is: from a folder on this machine, without a network, without code of the checkpoint's
author, and weights as safetensors, which hold numbers alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from napari_pathreason.errors import ModelError
from napari_pathreason.files import plain_text
from napari_pathreason.types import ModelInfo

from ._checkpoint import weight_files
from ._config import is_whole, read_json
from ._memory import NUMBERS, read_header
from ._runtime import quiet_transformers
from .families import FAMILIES

OWN_ATTENTION = ("sdpa", "eager")
"""Ways to attend that torch has itself, the faster one first."""


def from_pretrained(kind: Any, folder: Path, **options: Any) -> Any:
    """``kind.from_pretrained(folder)`` as this module says.

    Parameters
    ----------
    kind : class of transformers or peft
    folder : Path
        Of a checkpoint whose family `family_of` knows.
    **options
        As for the class.
    """
    return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **options)


def load_weights(folder: Path, info: ModelInfo, dtype: Any, four_bits_on: Any = None) -> Any:
    """The transformers model of a folder with weights of its own, in evaluation mode.

    Parameters
    ----------
    folder : Path
    info : ModelInfo
    dtype : torch.dtype or "auto"
        ``auto`` is that of the files.
    four_bits_on : torch.device, optional
        Where to put the model with its matrices in four bits each; ``dtype`` is then what it
        computes in.

    Raises
    ------
    ModelError
        If the weights do not fit the config.
    """
    import transformers

    family = FAMILIES[info.family]
    damaged = f"the weights of the model {info.name} do not fit its config; fetch the whole model"
    kind = getattr(transformers, family.architecture, None)
    if kind is None:
        raise ModelError(
            f"models of the family {family.name} need a newer transformers than "
            f"{transformers.__version__}; pip install --upgrade transformers"
        )
    options: dict[str, Any] = {}
    config = read_json(folder / "config.json", info.name)
    if {*_wishes(config)} - {*OWN_ATTENTION, None}:
        options["attn_implementation"] = OWN_ATTENTION[0]
    shards = weight_files(folder, info.name)
    packs = any("quantization_config" in part for part in (config, config.get("text_config") or ()))
    _refuse_twice(shards, info.name)
    if not packs:
        refuse_packed(shards, info.name)
    if four_bits_on is not None:
        options["device_map"] = {"": four_bits_on}
        options["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
        )
    with quiet_transformers():
        try:
            model, report = from_pretrained(
                kind,
                folder,
                dtype=dtype,
                use_safetensors=True,
                output_loading_info=True,
                **options,
            )
        except MemoryError:
            raise
        except ImportError as error:  # of weights that were packed by who wrote them
            raise ModelError(
                f"the weights of the model {info.name} are packed in a way that needs a package "
                "which is not installed; pip install 'napari-pathreason[4bit]', or take the "
                "model's unpacked weights"
            ) from error
        except Exception as error:  # whatever a config or weights that do not fit make it raise
            if "memory" in str(error).lower():
                raise
            raise ModelError(damaged) from error
    _check_stops(model.generation_config.eos_token_id, info)
    if getattr(model, "hf_quantizer", None) is None:  # of a way to pack that it does not know
        refuse_packed(shards, info.name)
    if report["missing_keys"]:  # transformers would go on with random numbers in their place
        raise ModelError(damaged)
    if family.loader == "decoder" and four_bits_on is None:
        from ._inputs import embed_by_product

        embed_by_product(model.model.visual)
    return model.eval()


def _wishes(config: Mapping[str, Any]) -> Iterator[Any]:
    """How the parts of a model wish to attend: a matter of who saved it, not of its weights.

    The package for it may be missing here, and a name of the hub would be code of others.
    """
    for key, value in config.items():
        if key in ("attn_implementation", "_attn_implementation"):
            yield from value.values() if isinstance(value, dict) else (value,)
        elif isinstance(value, dict):
            yield from _wishes(value)


def _refuse_twice(shards: Iterable[Path], name: str) -> None:
    """Refuse a tensor that stands in two files: nobody knows which of them counts.

    Raises
    ------
    ModelError
    """
    places: dict[str, str] = {}
    for shard in shards:
        for tensor in read_header(shard, name):
            if (other := places.setdefault(tensor, shard.name)) != shard.name:
                raise ModelError(
                    f"{plain_text(tensor)} of the model {name} stands in {other} and in "
                    f"{shard.name}; fetch the whole model into an empty folder"
                )


def refuse_packed(shards: Iterable[Path], name: str) -> None:
    """Refuse weights that are no plain numbers where nothing says how they were packed.

    transformers and peft would take what was packed for the numbers themselves.

    Parameters
    ----------
    shards : iterable of Path
    name : str
        How the model is called.

    Raises
    ------
    ModelError
        Names a tensor.
    """
    for shard in shards:
        for tensor, about in read_header(shard, name).items():
            is_matrix = len(about["shape"]) > 1 or tensor.endswith(".weight")
            if is_matrix and about["dtype"] not in NUMBERS and not tensor.endswith("position_ids"):
                raise ModelError(
                    f"{shard.name} of the model {name} holds {plain_text(tensor)} as "
                    f"{about['dtype']}, and its config says nothing of how it was packed; take the "
                    "model's unpacked weights"
                )


def _check_stops(stops: Any, info: ModelInfo) -> None:
    """Refuse tokens that end an answer which are none: it would go on, or break off in the midst.

    Raises
    ------
    ModelError
    """
    for stop in stops if isinstance(stops, list) else (stops,):
        if stop is not None and not (is_whole(stop) and 0 <= stop < info.dims.vocabulary):
            raise ModelError(
                f"eos_token_id of the model {info.name} must be numbers of tokens; fetch the whole "
                "model"
            )
