"""Load a model by name, or read what it says of itself; each failure is one line with a remedy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_pathreason.engine import Allocator, Performer
from napari_pathreason.errors import ModelError, reading
from napari_pathreason.types import Encoder, Messages, ModelInfo, Precision

from ._adapter import CONFIG as ADAPTER, base_of, find_base, merge_adapter
from ._allocators import FixedAllocator, load_beside
from ._checkpoint import check_whole, find_checkpoint, is_hub_id, weight_files
from ._config import read_info, read_json, read_preprocessor, scale_of
from ._lean import lean_loading
from ._limits import LEAST_BYTES
from ._memory import check_memory, free_memory, weight_bytes
from ._pretrained import from_pretrained, load_weights
from ._processor import check_installed
from ._runtime import (
    encode_in_bfloat16,
    memory_errors,
    no_collection,
    resolve_device,
    resolve_encoder,
    resolve_precision,
    wait_passively,
)
from ._template import check_template
from ._tokenizer import check_spelling, panics_told, render
from .families import CLIP, FAMILIES, Normalisation
from .server import (
    allocator_folder,
    is_address,
    known_address,
    load_server,
    read_server_info,
)

if TYPE_CHECKING:
    from ._generate import GeneratePerformer
    from ._ood import FeatureHook, OODDetector
    from ._performer import VLMPerformer
    from ._text_windows import UnloadedWindows
    from ._window_allocator import WindowAllocator

_PROBE: Messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}]


@dataclass(frozen=True, slots=True)
class LoadedModels:
    """A performer and the allocator that goes with it, in this process; see `engine.Models`."""

    performer: Performer
    allocator: Allocator
    ended: Callable[[], object] = lambda: None

    def close(self) -> None:
        """End what waits for a server; memory is freed with the last reference."""
        self.ended()


def load_models(
    model_id: str | Path = "embedded",
    device: str = "auto",
    encoder: Encoder = "exact",
    precision: Precision = "auto",
    *,
    answers_only: bool = False,
) -> LoadedModels:
    """Load a performer and its allocator: the learned one beside the weights, else a fixed one.

    Parameters
    ----------
    model_id : str or Path
        ``embedded``, a folder, a hub id of a Qwen3-VL or Qwen2.5-VL checkpoint, or of a LoRA
        adapter of one, or the address of a server such as ``http://host:8000/v1#name``; device and
        encoder are then the server's own.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    encoder : {"exact", "fast", "openvino"}
        ``fast`` lets the vision encoder multiply in bfloat16 on a processor that has units for it;
        of 288 answers of the embedded model at 64 tokens one was another. ``openvino`` lets
        OpenVINO compute it, in bfloat16 too where that is fast: the package must be installed, and
        the model a Qwen3-VL. Where one cannot be had the exact one runs, and the notes of
        `ModelInfo` say so.
    precision : Precision
        What the weights are loaded as; ``4bit`` needs bitsandbytes and a CUDA device.
    answers_only : bool
        Whether this process is there for the answers of this one model and ends with them: less is
        then imported with transformers where the model is one of Qwen's, which saves a second.

    Raises
    ------
    ModelError
        If the model is unknown, incomplete, damaged, of another family, or not in the cache while
        offline; if the device is not there, or the encoder or precision not understood or not to
        be had of this family.
    OutOfMemoryError
        If the weights do not fit; known before they are read.
    """
    if is_address(model_id):
        served = load_server(str(model_id))
        usual, least = FixedAllocator(), served.capabilities.least
        allocator: Allocator = FixedAllocator(max(usual.budget or 0, least))  # less costs no less
        windows = find_windows(model_id)
        if windows is not None:
            from ._window_allocator import WithWindows

            allocator = WithWindows(allocator, windows)
        return LoadedModels(served, allocator, served.close)
    performer = load_performer(
        model_id, device, encoder=encoder, precision=precision, answers_only=answers_only
    )
    folder, name = find_checkpoint(model_id)
    return LoadedModels(*load_beside(folder, name, performer))


def load_performer(
    model_id: str | Path = "embedded",
    device: str = "auto",
    *,
    detector: bool = True,
    encoder: Encoder = "exact",
    precision: Precision = "auto",
    answers_only: bool = False,
) -> VLMPerformer | GeneratePerformer:
    """Load the performer alone; parameters and errors as in `load_models`.

    Without ``detector`` no picture is held against the training pictures.
    """
    folder, name = find_checkpoint(model_id)
    base = find_base(folder, name)
    about = described_in(folder, base)
    info = read_info(about, name, folder)  # cheap, and fails before torch is loaded
    family = FAMILIES[info.family]
    check_installed(family)
    on_disk = check_whole(folder, info.name, base)
    _check_sizes(info, on_disk)

    wait_passively()
    adapted = (folder / ADAPTER).is_file()
    # peft and four bits need accelerate, and OpenVINO what traces a model
    plain = not adapted and precision != "4bit" and encoder != "openvino"
    plain &= family.loader == "decoder"
    lean = lean_loading(family.architecture) if answers_only and plain else nullcontext()
    with no_collection(), lean:
        place = resolve_device(device)
        dtype, loaded_as = resolve_precision(precision, place, on_disk)
        shards = weight_files(folder, info.name, base)
        check_fits(info.name, shards, place, loaded_as)
        tokenizer = load_tokenizer(about, info)
        if loaded_as == "4bit" and adapted:
            raise ModelError(
                f"the adapter {info.name} cannot be added to weights in four bits; merge it first: "
                "pathreason merge"
            )
        with memory_errors("choose a smaller model or close other programs"):
            model = load_weights(base, info, dtype, place if loaded_as == "4bit" else None)
            if adapted:
                model = merge_adapter(model, folder, info.name)
            if loaded_as != "4bit":
                model = model.to(place)
        info = replace(info, device=str(place), precision=loaded_as)
        if family.loader == "generate":
            return _by_generate(about, info, model, tokenizer, encoder)
        return _by_decoder(folder, about, info, model, tokenizer, encoder, detector)


def _check_sizes(info: ModelInfo, on_disk: int) -> None:
    """Refuse a config that asks for far more numbers than its weights hold, before they are made.

    Raises
    ------
    ModelError
    """
    dims = info.dims
    numbers = (
        dims.vocabulary * dims.text_hidden
        + 2 * dims.text_depth * dims.text_hidden * dims.text_mlp
        + 2 * dims.vision_depth * dims.vision_hidden * dims.vision_mlp
    )
    if numbers * LEAST_BYTES > on_disk:
        raise ModelError(
            f"the weights of the model {info.name} do not fit its config, which asks for "
            f"{numbers:,} numbers; fetch the whole model"
        )


def _by_generate(
    about: Path, info: ModelInfo, model: Any, tokenizer: Any, encoder: Encoder
) -> GeneratePerformer:
    from ._generate import GeneratePerformer
    from ._processor import load_processor

    if encoder != "exact":
        note = f"the vision encoder runs exact, not {encoder}: that one is for Qwen's families"
        info = replace(info, notes=(note,))
    return GeneratePerformer(model, load_processor(about, info, tokenizer), info)


def _by_decoder(
    folder: Path,
    about: Path,
    info: ModelInfo,
    model: Any,
    tokenizer: Any,
    encoder: Encoder,
    detector: bool,
) -> VLMPerformer:
    from ._performer import VLMPerformer

    chosen, note = resolve_encoder(encoder, info.device)
    if chosen == "openvino":
        from ._openvino import encode_in_openvino

        with memory_errors("choose the exact encoder, a smaller model or close other programs"):
            encode_in_openvino(model.model.visual, info)
    elif chosen == "fast":
        encode_in_bfloat16(model.model.visual)
    ood, comparable = _load_detector(folder, info, model) if detector else (None, None)
    notes = (note,) if note else ()
    info = replace(info, comparable=comparable, encoder=chosen, notes=notes)
    normalisation = read_normalisation(about, info)
    return VLMPerformer(model, tokenizer, info, normalisation, ood, keeps=info.converses)


def check_fits(name: str, shards: Sequence[Path], device: Any, precision: Precision) -> None:
    """Refuse weights that do not fit a device's free memory, with the numbers.

    Parameters
    ----------
    name : str
        How the model is called.
    shards : sequence of Path
        Of its weights.
    device : torch.device
    precision : Precision
        What they would be loaded as, not ``auto``.

    Raises
    ------
    OutOfMemoryError
    """
    needed = weight_bytes(shards, precision, name)
    small = weight_bytes(shards, "4bit", name)
    check_memory(name, needed, free_memory(device), str(device), precision, small)


def described_in(folder: Path, base: Path) -> Path:
    """Which of the two holds config and tokenizer; foreign adapters often come without."""
    return folder if (folder / "config.json").is_file() else base


def _load_detector(
    folder: Path, info: ModelInfo, model: Any
) -> tuple[tuple[FeatureHook, OODDetector] | None, int | None]:
    """How the training pictures look, where the checkpoint says, and the least tokens it needs."""
    from ._ood import DETECTOR, LEAST_TOKENS, FeatureHook, load_detector

    if not (folder / DETECTOR).is_file():
        return None, None
    features = FeatureHook(model.model.visual)
    detector = load_detector(folder, info.name, features.signature())
    return (features, detector), LEAST_TOKENS


def load_tokenizer(folder: Path, info: ModelInfo) -> Any:
    """A checkpoint's tokenizer, with a chat template that takes a picture.

    Raises
    ------
    ModelError
        If it is damaged or belongs to another model.
    """
    from transformers import AutoTokenizer

    from ._inputs import IMAGE_PAD, prompt_ids, without_system

    _check_config(folder, info)
    try:
        with panics_told():
            tokenizer = from_pretrained(AutoTokenizer, folder)
    except Exception as error:  # whatever a damaged file makes the tokenizer libraries raise
        raise ModelError(
            f"the tokenizer of the model {info.name} cannot be read; fetch the whole model"
        ) from error
    check_spelling(tokenizer, info.name)
    for file in ("chat_template.json", "processor_config.json"):
        if not (folder / file).exists():
            continue
        # older checkpoints keep the template that knows pictures beside the tokenizer's own
        template = read_json(folder / file, info.name).get("chat_template")
        if template is None and file == "processor_config.json":
            continue
        if not isinstance(template, str):
            raise ModelError(
                f"{file} of the model {info.name} holds no chat template; fetch the whole model"
            )
        tokenizer.chat_template = template
    check_template(tokenizer.chat_template, info.name)
    family = FAMILIES[info.family]
    wrong = (
        f"the chat template of the model {info.name} is missing or takes no picture; "
        "fetch the whole model"
    )
    probe = _PROBE if family.system else without_system(_PROBE)
    try:
        render(tokenizer, probe, visual_tokens=1)
    except ModelError as error:
        raise ModelError(wrong) from error
    if family.loader == "generate":  # its processor checks the rest
        return tokenizer
    pad = read_json(folder / "config.json", info.name).get("image_token_id")
    if pad is None or tokenizer.convert_tokens_to_ids(IMAGE_PAD) != pad:
        raise ModelError(
            f"the tokenizer of the model {info.name} is not its own; fetch the whole model"
        )
    try:
        prompt_ids(tokenizer, _PROBE, [1])
    except ModelError as error:
        raise ModelError(f"the model {info.name}: {error}") from error
    except Exception as error:  # it places no picture, or a file made a tokenizer of another kind
        raise ModelError(wrong) from error
    return tokenizer


def _check_config(folder: Path, info: ModelInfo) -> None:
    """Refuse a config that transformers cannot make anything of: each loader would fail at it.

    Raises
    ------
    ModelError
    """
    from transformers import AutoConfig

    with reading(f"config.json of the model {info.name}", ModelError, "fetch the whole model"):
        from_pretrained(AutoConfig, folder)


def read_normalisation(folder: Path, info: ModelInfo) -> Normalisation:
    """Of the checkpoint's own preprocessor file, under either name; without one its family's.

    What a file leaves out is the default of transformers' own processor, as it is there.
    """
    values = read_preprocessor(folder, info.name)
    usual = CLIP if values else FAMILIES[info.family].normalisation
    scale = scale_of(values)
    if values.get("do_normalize") is False:
        return Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), scale)
    mean, std = values.get("image_mean", usual.mean), values.get("image_std", usual.std)
    return Normalisation(tuple(mean), tuple(std), scale)


def read_model_info(model: str | Path) -> ModelInfo | None:
    """What a model says of itself, as it lies on this machine.

    Takes a few milliseconds, so it may be asked while a user types.

    Parameters
    ----------
    model : str or Path
        ``embedded``, a folder, a hub id, or the address of a server.

    Returns
    -------
    ModelInfo or None
        As the loaded model gives it, but for its device and encoder. None where nothing of the
        model is here: no such folder, a hub id that is not in the cache, an adapter without its
        base, a server that was never asked.

    Raises
    ------
    ModelError
        If one of its files is damaged, or its family is not served.
    """
    if is_address(model):
        return read_server_info(str(model))
    place = _on_this_machine(model)
    if place is None:
        return None
    folder, name = place
    base = None if (folder / "config.json").is_file() else base_of(folder, name)
    if base is None:
        return read_info(folder, name)
    under = _on_this_machine(base)  # foreign adapters come without a config
    return None if under is None else read_info(under[0], name, folder)


def find_windows(model: str | Path) -> WindowAllocator | UnloadedWindows | None:
    """The learned allocator of windows of a model, without the model itself.

    Parameters
    ----------
    model : str or Path
        ``embedded``, a folder, a hub id or the address of a server.

    Returns
    -------
    WindowAllocator, UnloadedWindows or None
        None where the model has none, or is not on this machine; the second where the model itself
        writes windows, so that it must be loaded first.

    Raises
    ------
    ModelError
        If its files are damaged.
    """
    from ._text_windows import unloaded_windows
    from ._window_allocator import load_windows

    if is_address(model):
        address = known_address(str(model))
        return None if address is None else load_windows(allocator_folder(address))
    place = _on_this_machine(model)
    return None if place is None else load_windows(place[0]) or unloaded_windows(*place)


def _on_this_machine(model: str | Path) -> tuple[Path, str] | None:
    """Folder and name of a model that is on this machine; as `find_checkpoint`, without the hub."""
    if isinstance(model, str) and is_hub_id(model) and not Path(model).is_dir():
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        try:
            config = try_to_load_from_cache(model, "config.json")
        except HFValidationError:  # has the form of a hub id, but is none
            return None
        return (Path(config).parent, model) if isinstance(config, str) else None
    try:
        return find_checkpoint(model)
    except ModelError:
        return None
