"""Load a model by name; every way in which that fails is one line with a remedy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_pathreason.errors import ModelError
from napari_pathreason.types import Messages, ModelInfo

from ._adapter import CONFIG as ADAPTER, find_base, merge_adapter
from ._checkpoint import check_whole, find_checkpoint
from ._config import ALLOCATOR, read_info, read_json
from ._detector import LEAST_TOKENS
from ._device import choose_dtype, resolve_device
from ._fixed import FixedAllocator
from ._memory import memory_errors
from ._models import LoadedModels
from ._quiet import quiet_transformers
from ._threads import wait_passively

if TYPE_CHECKING:
    from ._detector import OODDetector
    from ._features import FeatureHook
    from ._performer import VLMPerformer
    from ._pixels import Normalisation

_PROBE: Messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}]


def load_models(model_id: str | Path = "embedded", device: str = "auto") -> LoadedModels:
    """Load a performer and its allocator: the learned one beside the weights, else a fixed one.

    Parameters
    ----------
    model_id : str or Path
        ``embedded``, a folder, or a hub id of a Qwen3-VL or Qwen2.5-VL checkpoint, or of a LoRA
        adapter of one.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises
    ------
    ModelError
        If the model is unknown, incomplete, damaged, of another family, or not in the cache while
        offline; or if the device is not there.
    OutOfMemoryError
        If the weights do not fit.
    """
    performer = load_performer(model_id, device)
    folder, name = find_checkpoint(model_id)
    metadata_json = read_json(folder / ALLOCATOR, name) if (folder / ALLOCATOR).is_file() else {}
    if metadata_json.get("form") == "text":
        from ._text_allocator import load_text_allocator

        return load_text_allocator(folder, performer, metadata_json)
    if not (folder / "allocator.safetensors").is_file():
        return LoadedModels(performer, FixedAllocator())
    from ._allocator import load_allocator

    return LoadedModels(performer, load_allocator(folder))


def load_performer(
    model_id: str | Path = "embedded", device: str = "auto", *, known: bool = True
) -> VLMPerformer:
    """Load the performer alone; parameters and errors as in `load_models`.

    Without ``known`` what was fitted to its training pictures is left aside.
    """
    folder, name = find_checkpoint(model_id)
    base = find_base(folder, name)
    about = described_in(folder, base)
    info = read_info(about, name, folder)  # cheap, and fails before torch is loaded
    weight_bytes = check_whole(folder, info.name, base)

    wait_passively()
    from ._performer import VLMPerformer

    place = resolve_device(device)
    tokenizer = load_tokenizer(about, info)
    normalisation = read_normalisation(about, info)
    with memory_errors("choose a smaller model or close other programs"):
        model = load_weights(base, info, choose_dtype(place, weight_bytes))
        if (folder / ADAPTER).is_file():
            model = merge_adapter(model, folder, info.name)
        model = model.to(place)
    fitted = _load_known(folder, info, model) if known else None
    comparable = LEAST_TOKENS if fitted is not None else None
    info = replace(info, device=str(place), comparable=comparable)
    return VLMPerformer(model, tokenizer, info, normalisation, fitted)


def described_in(folder: Path, base: Path) -> Path:
    """Which of the two holds config and tokenizer; foreign adapters often come without."""
    return folder if (folder / "config.json").is_file() else base


def _load_known(
    folder: Path, info: ModelInfo, model: Any
) -> tuple[FeatureHook, OODDetector] | None:
    """What the training pictures look like, where the checkpoint tells."""
    from ._detector import FILE, load_detector
    from ._features import FeatureHook

    if not (folder / FILE).is_file():
        return None
    features = FeatureHook(model.model.visual)
    detector = load_detector(folder, info.name, features.signature())
    return None if detector is None else (features, detector)


def load_tokenizer(folder: Path, info: ModelInfo) -> Any:
    """A checkpoint's tokenizer, with a chat template that takes a picture.

    Raises
    ------
    ModelError
        If it is damaged or belongs to another model.
    """
    from transformers import AutoTokenizer

    from ._inputs import IMAGE_PAD, prompt_ids

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # whatever a damaged file makes the tokenizer libraries raise
        raise ModelError(
            f"the tokenizer of the model {info.name} cannot be read; fetch the whole model"
        ) from error
    if (folder / "chat_template.json").exists():
        # older checkpoints keep the template that knows pictures beside the tokenizer's own
        template = read_json(folder / "chat_template.json", info.name)["chat_template"]
        tokenizer.chat_template = template
    pad = read_json(folder / "config.json", info.name).get("image_token_id")
    if pad is None or tokenizer.convert_tokens_to_ids(IMAGE_PAD) != pad:
        raise ModelError(
            f"the tokenizer of the model {info.name} is not its own; fetch the whole model"
        )
    try:
        prompt_ids(tokenizer, _PROBE, 1)
    except Exception as error:  # a template is a program of the checkpoint's author
        raise ModelError(
            f"the chat template of the model {info.name} is missing or takes no picture; "
            "fetch the whole model"
        ) from error
    return tokenizer


def read_normalisation(folder: Path, info: ModelInfo) -> Normalisation:
    """Of the checkpoint's own preprocessor file, under either name; else its family's."""
    from ._pixels import NORMALISATION, Normalisation

    for file in ("preprocessor_config.json", "processor_config.json"):
        if (folder / file).exists():
            values = read_json(folder / file, info.name)
            values = values.get("image_processor", values)
            if "image_mean" in values and "image_std" in values:
                mean, std = values["image_mean"], values["image_std"]
                return Normalisation(tuple(mean), tuple(std))
    return NORMALISATION[info.family]


def load_weights(folder: Path, info: ModelInfo, dtype: Any) -> Any:
    """The transformers model of a folder with weights of its own, in evaluation mode.

    Raises
    ------
    ModelError
        If the weights do not fit the config.
    """
    from transformers import Qwen2_5_VLForConditionalGeneration, Qwen3VLForConditionalGeneration

    from ._patch_embedding import embed_by_product

    kind = {
        "qwen3_vl": Qwen3VLForConditionalGeneration,
        "qwen2_5_vl": Qwen2_5_VLForConditionalGeneration,
    }[info.family]
    damaged = f"the weights of the model {info.name} do not fit its config; fetch the whole model"
    with quiet_transformers():
        try:
            model, report = kind.from_pretrained(
                folder,
                dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
        except MemoryError:
            raise
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            if "memory" in str(error).lower():
                raise
            raise ModelError(damaged) from error
    if report["missing_keys"]:  # transformers would go on with random numbers in their place
        raise ModelError(damaged)
    embed_by_product(model.model.visual)
    return model.eval()
