"""Adapter folders: a checkpoint whose weights are those of another model and LoRA matrices on top.

As peft writes them: ``adapter_config.json`` names the base, ``adapter_model.safetensors`` holds the
matrices. Ours carry config and tokenizer too; where a folder lacks them, the base's are taken.
"""

from __future__ import annotations

import json
import os
import re
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from napari_pathreason.errors import ModelError
from napari_pathreason.files import atomic_text, own_name, resolved

from ._checkpoint import find_checkpoint, has_weights, is_embedded
from ._config import is_finite, is_whole, read_json
from ._limits import PATTERN_SECONDS, RANK, WIDTH
from ._pretrained import from_pretrained, refuse_packed

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
"""What peft puts before the names of a model's parts in its files."""
_RENAMED = (
    (r"^visual\.", "model.visual."),
    (r"^model\.language_model\.model\.", "model.language_model."),
    (r"^language_model\.model\.", "model.language_model."),
    (r"^language_model\.lm_head", "lm_head"),
    (
        r"^(language_model|vision_tower|vision_model|multi_modal_projector|image_newline)\b",
        r"model.\1",
    ),
    (r"^(?:model\.)?(?=layers\.|embed_tokens\b|norm\b)", "model.language_model."),
)
"""How transformers named a model's parts before version 4.52, and how it does now. It has the same
table (`transformers.conversion_mapping`), but not for every family, and peft asks it for few."""
_NOT_SERVED = (
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "layer_replication",
    "megatron_config",
    "monteclora_config",
    "use_bdlora",
    "use_qalora",
    "velora_config",
)
"""Keys of adapters whose sum is another one than that of LoRA, that copy layers, or that import
what they name."""
_NAMES = ("layers_pattern", "modules_to_save", "target_parameters")
"""Keys that peft reads as patterns, and that hold names."""
_NAME = re.compile(r"[\w.-]+")
ALL_LINEAR = "all-linear"
"""What peft takes for every linear layer, and no pattern."""
BASE_KEY = "base_model_name_or_path"
"""Of an adapter's config: where its base lies."""


def base_of(folder: Path, name: str) -> str | None:
    """What an adapter was trained on: ``embedded``, a folder or a hub id; None if it is none.

    Parameters
    ----------
    folder : Path
        Of the checkpoint; a base named by a relative path is looked for from here.
    name : str
        How the checkpoint is called.

    Raises
    ------
    ModelError
        If the adapter's config is damaged or names no base.
    """
    if not (folder / CONFIG).is_file():
        return None
    base = read_json(folder / CONFIG, name).get(BASE_KEY)
    if not isinstance(base, str) or not base:
        raise ModelError(f"{CONFIG} of the model {name} names no base model; fetch it again")
    if base == "embedded":
        return base
    beside = folder / base
    return str(resolved(beside)) if os.path.isdir(beside) else base


def find_base(folder: Path, name: str) -> Path:
    """Folder whose weights a checkpoint builds upon: its own, or that of its adapter's base.

    Raises
    ------
    ModelError
        If the base cannot be found.
    """
    base = base_of(folder, name)
    if base is None:
        return folder
    if base.startswith(".") or os.path.isabs(base):
        if not Path(base).is_dir():
            raise ModelError(
                f"the base model {Path(base).name!r} of the adapter {name} is not where it was; "
                "put it back, or merge the adapter before it is moved: pathreason merge"
            )
    under = find_checkpoint(base)[0]
    if under != folder and (under / CONFIG).is_file() and not has_weights(under):
        raise ModelError(
            f"the base model {own_name(under)!r} of the adapter {name} is an adapter itself; merge "
            "that one first: pathreason merge"
        )
    return under


def write_base(folder: Path, base: str) -> None:
    """Name ``base`` (``embedded``, folder or hub id) in an adapter's config, so that both can move.

    A folder goes by its relative path, but the one that this installation ships by its name:
    another installation has it elsewhere.
    """
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    if is_embedded(base):
        base = "embedded"
    elif Path(base).is_dir():
        steps = os.path.relpath(Path(base).resolve(), folder.resolve())
        base = steps if steps.startswith(".") else os.path.join(".", steps)
    with atomic_text(folder / CONFIG) as file:
        file.write(json.dumps(config | {BASE_KEY: base}, indent=2) + "\n")


def save_matrices(folder: Path, matrices: Mapping[str, Any]) -> None:
    """Write an adapter's matrices, by the names that peft gives them within the model."""
    from safetensors.torch import save_file

    whole = {_PREFIX + n: v.detach().cpu().contiguous() for n, v in matrices.items()}
    save_file(whole, folder / WEIGHTS)


def read_adapter(model: Any, folder: Path, name: str) -> tuple[Any, dict[str, Any]]:
    """What peft needs to put an adapter on its base.

    Parameters
    ----------
    model : transformers model
        The base.
    folder : Path
        Of the adapter.
    name : str
        How the checkpoint is called.

    Returns
    -------
    tuple
        The `peft.LoraConfig`, and the matrices by their names within the model. Names of older
        transformers are those of now.

    Raises
    ------
    ModelError
        If a file is missing or damaged, or the adapter is none of LoRA.
    """
    from peft import LoraConfig
    from safetensors.torch import load_file

    if not (folder / CONFIG).is_file():  # peft would ask the hub for it
        raise ModelError(f"the model {name} lacks {CONFIG}; fetch the whole model")
    _check_config(read_json(folder / CONFIG, name), name)
    refuse_packed([folder / WEIGHTS], name)
    with _fits(name):
        config = from_pretrained(LoraConfig, folder)
        modules = {module for module, _ in model.named_modules()}
        _resolve_patterns(config, modules, name)
        matrices = {
            _named_now(key.removeprefix(_PREFIX), partial(_is_of, modules)): value
            for key, value in load_file(folder / WEIGHTS).items()
        }
        if isinstance(config.target_modules, set | list):
            known = partial(_names, modules)
            config.target_modules = {_named_now(one, known) for one in config.target_modules}
    if not all(value.isfinite().all() for value in matrices.values()):
        raise ModelError(
            f"the adapter of the model {name} holds values that are no numbers; its training "
            "failed, or it is damaged: fetch it again"
        )
    return config, matrices


def _check_config(values: Mapping[str, Any], name: str) -> None:
    """Refuse what is no plain LoRA, and numbers that make no sense.

    Raises
    ------
    ModelError
        Names the key.
    """
    if values.get("peft_type") != "LORA":
        raise ModelError(
            f"the adapter of the model {name} is of the kind {str(values.get('peft_type'))!r}; "
            "adapters of LoRA load here, others once they are merged"
        )
    rank, alpha = values.get("r", 8), values.get("lora_alpha", 8)  # what peft takes without
    patterns = [values.get(key) or {} for key in ("rank_pattern", "alpha_pattern")]
    if not all(isinstance(pattern, dict) for pattern in patterns):
        raise ModelError(f"{CONFIG} of the model {name} is damaged; fetch it again")
    ranks, alphas = [rank, *patterns[0].values()], [alpha, *patterns[1].values()]
    if not all(is_whole(one) and 1 <= one <= RANK for one in ranks):
        raise ModelError(
            f"r in {CONFIG} of the model {name} must be a whole number from 1 to {RANK:,}; fetch "
            "it again"
        )
    if not all(is_finite(one) and 0 < one <= WIDTH for one in alphas):
        raise ModelError(
            f"lora_alpha in {CONFIG} of the model {name} must be above 0 and at most {WIDTH:,}; "
            "fetch it again"
        )
    for key in _NOT_SERVED:
        if values.get(key) not in (None, False):
            raise ModelError(
                f"the adapter of the model {name} needs {key}, which is not served; merge it where "
                "it was trained"
            )
    for key in _NAMES:
        names = values.get(key) or []
        names = names if isinstance(names, list | dict) else [names]
        if not all(isinstance(one, str) and _NAME.fullmatch(one) for one in names):
            raise ModelError(
                f"{key} in {CONFIG} of the model {name} must be names of modules; merge it where "
                "it was trained"
            )


def _resolve_patterns(config: Any, modules: Collection[str], name: str) -> None:
    """Put the modules that they mean in place of patterns; a pattern may take for ever to match.

    Raises
    ------
    ModelError
        If one does, or is none.
    """
    import regex  # which has a limit of time, as `re` has not

    end = time.monotonic() + PATTERN_SECONDS

    def are_meant(pattern: str) -> list[str]:
        found = regex.compile(pattern)
        return [
            module
            for module in sorted(modules)
            if found.fullmatch(module, timeout=max(1e-3, end - time.monotonic()))
        ]

    try:
        for key in ("target_modules", "exclude_modules"):
            pattern = getattr(config, key)
            if isinstance(pattern, str) and pattern != ALL_LINEAR:
                setattr(config, key, {*are_meant(pattern)} or None)
        for key in ("rank_pattern", "alpha_pattern"):
            meant: dict[str, Any] = {}
            for pattern, value in getattr(config, key).items():
                whole = [pattern] if _NAME.fullmatch(pattern) else are_meant(rf"(.*\.)?({pattern})")
                meant |= {one: value for one in whole if one not in meant}
            setattr(config, key, meant)
    except (TimeoutError, regex.error) as error:
        raise ModelError(
            f"a pattern in {CONFIG} of the model {name} is none, or takes too long to match; merge "
            "it where it was trained"
        ) from error


def _named_now(name: str, is_known: Callable[[str], bool]) -> str:
    """A name within a model of today, from the name that an older transformers had for it."""
    if is_known(name):
        return name
    for pattern, replacement in _RENAMED:
        renamed, count = re.subn(pattern, replacement, name)
        if count and is_known(renamed):
            return renamed
    return name  # belongs to no module, which is told where it is put on


def _is_of(modules: Collection[str], key: str) -> bool:
    """Whether a matrix belongs to a module of a model."""
    before, is_low_rank, _ = key.partition(".lora_")
    module = before.removesuffix(".base_layer") if is_low_rank else key.rpartition(".")[0]
    return module in modules


def _names(modules: Collection[str], target: str) -> bool:
    """Whether a target of an adapter is a module of a model, or the end of its name."""
    return any(module == target or module.endswith(f".{target}") for module in modules)


def fill_adapter(model: Any, matrices: Mapping[str, Any], adapter: str, name: str) -> None:
    """Give an adapter that is on a model its matrices.

    Parameters
    ----------
    model : transformers or peft model
    matrices : mapping
        Of `read_adapter`.
    adapter : str
        What peft calls it.
    name : str
        How the checkpoint is called.

    Raises
    ------
    ModelError
        If a matrix is missing, of another size, or is one that no module takes.
    """
    from peft import PeftModel, set_peft_model_state_dict

    prefix = _PREFIX if isinstance(model, PeftModel) else ""
    with _fits(name):
        own = {prefix + key: value for key, value in matrices.items()}
        left = set_peft_model_state_dict(model, own, adapter)
        missing = [key for key in left.missing_keys if f".{adapter}." in f"{key}."]
    if missing:
        raise ModelError(
            f"the adapter of the model {name} does not fit its base: {len(missing)} matrices are "
            "missing; fetch both again"
        )
    if left.unexpected_keys:
        raise ModelError(
            f"the adapter of the model {name} does not fit its base: no module of that takes "
            f"{len(left.unexpected_keys)} of its {len(matrices)} matrices; fetch both again"
        )


def merge_adapter(model: Any, folder: Path, name: str) -> Any:
    """A model with the folder's adapter added into its weights: ``W + alpha / r * B A``.

    Raises
    ------
    ModelError
        If the adapter is damaged or fits another model.
    """
    from peft import PeftModel

    config, matrices = read_adapter(model, folder, name)
    with _fits(name):
        adapted = PeftModel(model, config)
    fill_adapter(adapted, matrices, "default", name)
    with _fits(name):
        return adapted.merge_and_unload().eval()


@contextmanager
def _fits(name: str) -> Iterator[None]:
    """Turn what peft and safetensors raise into one line; lack of memory passes as it is."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of what is found wrong here
            yield
    except (MemoryError, ModelError):
        raise
    except Exception as error:
        if "memory" in str(error).lower():
            raise
        raise ModelError(
            f"the adapter of the model {name} does not fit its base; fetch both again"
        ) from error
