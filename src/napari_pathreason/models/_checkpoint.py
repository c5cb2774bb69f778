"""From what a user calls a model to a folder that is known to be whole. No torch."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_pathreason.errors import ModelError
from napari_pathreason.files import own_name, plain_text, resolved

from ._config import read_json
from .server import is_address

EMBEDDED = Path(__file__).parent / "embedded"
INDEX = "model.safetensors.index.json"
WHOLE = "model.safetensors"
"""The one file of weights that are not in shards."""
_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
"""Of a user or organisation and a model; ``./x`` and ``../x`` are folders."""
NEEDED = ("*.json", "*.safetensors", "*.jinja", "merges.txt")
"""Files of a model that are downloaded."""


def find_checkpoint(model_id: str | Path) -> tuple[Path, str]:
    """Folder of a model and the name to call it by.

    Parameters
    ----------
    model_id : str or Path
        ``embedded``, a folder, or a hub id such as ``Qwen/Qwen3-VL-2B-Instruct``; that one is
        downloaded once, or taken from the cache where ``HF_HUB_OFFLINE`` is set.

    Raises
    ------
    ModelError
        If there is none, or the hub cannot be asked and the cache does not hold it.
    """
    if is_address(model_id):
        raise ModelError(
            "a model on a server has no weights on this machine; give embedded, a folder or a "
            "hub id for this"
        )
    if model_id == "embedded":
        if not EMBEDDED.is_dir():
            raise ModelError(
                "this installation has no embedded model; install a released wheel, "
                "or choose a model folder or a hub id"
            )
        return EMBEDDED, "embedded"
    folder = Path(model_id).expanduser()
    if str(model_id) and os.path.isdir(folder):  # also of what is no path at all
        return folder, own_name(folder)
    if os.path.isfile(folder):
        raise ModelError(f"the model {folder.name} is a file; give the folder that holds it")
    if isinstance(model_id, str) and is_hub_id(model_id):
        return _download(model_id), model_id
    raise ModelError(
        f"there is no model {plain_text(folder.name)[:100]!r}; give embedded, a folder that "
        "exists, or a hub id such as Qwen/Qwen3-VL-2B-Instruct"
    )


def is_embedded(model_id: str | Path) -> bool:
    """Whether a name or folder is that of the model that ships."""
    return model_id == "embedded" or resolved(model_id) == resolved(EMBEDDED)


def is_hub_id(text: str) -> bool:
    """Whether a text has the form of a hub id, such as ``Qwen/Qwen3-VL-2B-Instruct``."""
    return _HUB_ID.fullmatch(text) is not None


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download

    with hub_errors(hub_id):
        return Path(snapshot_download(hub_id, allow_patterns=list(NEEDED)))


@contextmanager
def hub_errors(hub_id: str) -> Iterator[None]:
    """Turn what the hub's library raises about a model into a line that names the remedy."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        yield
    except GatedRepoError as error:
        raise ModelError(
            f"the model {hub_id} asks for consent; accept its terms on the hub, "
            "then log in with: hf auth login"
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise ModelError(
            f"there is no model {hub_id} on the hub and no such folder; check the spelling"
        ) from error
    except LocalEntryNotFoundError as error:
        why = (
            "offline is set (Preferences, HF_HUB_OFFLINE)"
            if constants.HF_HUB_OFFLINE
            else "the hub cannot be reached"
        )
        raise ModelError(
            f"the model {hub_id} is not in the cache and {why}; "
            "download it where there is a network, or choose embedded"
        ) from error
    except (HfHubHTTPError, OSError) as error:
        raise ModelError(
            f"the model {hub_id} could not be downloaded ({type(error).__name__}); "
            "check the network and the free disk space, then try again"
        ) from error


def check_whole(folder: Path, name: str, base: Path | None = None) -> int:
    """Make sure that tokenizer and weights are all there; return the bytes of the weights.

    Parameters
    ----------
    folder : Path
    name : str
    base : Path, optional
        Where the weights are those of another folder's with an adapter on top.

    Raises
    ------
    ModelError
        If a file is missing, cut off, or the weights are not safetensors.
    """
    if not any(_has_tokenizer(place) for place in (folder, base) if place is not None):
        raise ModelError(f"the model {name} lacks its tokenizer.json; fetch the whole model")
    shards = weight_files(folder, name, base)
    for shard in shards:
        _check_shard(shard, name)
    return sum(shard.stat().st_size for shard in shards)


def _has_tokenizer(folder: Path) -> bool:
    parts = (("tokenizer.json",), ("vocab.json", "merges.txt"))
    return any(all((folder / file).exists() for file in part) for part in parts)


def has_weights(folder: Path) -> bool:
    """Whether a folder says that it holds weights of its own, whole or not."""
    return any((folder / file).exists() for file in (WHOLE, INDEX))


def weight_files(folder: Path, name: str, base: Path | None = None) -> list[Path]:
    """Files of the weights: those of ``base`` and the adapter on them, or the folder's own.

    Raises
    ------
    ModelError
        If one is missing.
    """
    if base is None or base == folder:
        return _shards(folder, name)
    adapter = folder / "adapter_model.safetensors"
    if not adapter.exists():
        raise ModelError(f"the model {name} lacks {adapter.name}; fetch the whole model")
    return [*_shards(base, name), adapter]


def _shards(folder: Path, name: str) -> list[Path]:
    if (folder / INDEX).exists():
        places = read_json(folder / INDEX, name).get("weight_map")
        if not isinstance(places, dict) or not places or not all(map(_is_shard, places.values())):
            raise ModelError(f"{INDEX} of the model {name} is damaged; fetch it again")
        shards = [folder / file for file in sorted(set(places.values()))]
        if (folder / WHOLE).exists() and shards != [folder / WHOLE]:
            raise ModelError(  # transformers would load the one and leave the others
                f"the model {name} has both {WHOLE} and an index of other weight files; take away "
                "which of them is not the model's"
            )
    else:
        shards = [folder / WHOLE]
    missing = [shard.name for shard in shards if not shard.exists()]
    if missing:
        raise ModelError(
            f"the model {name} lacks {len(missing)} of {len(shards)} weight files "
            f"({missing[0]}); fetch the whole model, as safetensors"
        )
    return shards


def _is_shard(file: object) -> bool:
    """Whether a value names a file of safetensors in the same folder."""
    return isinstance(file, str) and re.fullmatch(r"[\w.-]+\.safetensors", file) is not None


def _check_shard(shard: Path, name: str) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(shard, framework="numpy") as weights:
            weights.keys()
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{shard.name} of the model {name} is cut off or damaged; fetch it again"
        ) from error
