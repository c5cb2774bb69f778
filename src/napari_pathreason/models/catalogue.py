"""Models that people ask about slides, and which of them lie on this machine. No torch, no network.

The list is what `pathreason models` tells: what each works well for, what it costs, and how it is
fetched. Nothing else depends on it: any checkpoint of a family that loads may be given by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from napari_pathreason.errors import ModelError

from ._checkpoint import weight_files
from ._config import read_json
from ._memory import BESIDE, FOUR_BITS
from .families import FAMILIES, Family


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model of the hub.

    Parameters
    ----------
    hub_id : str
    family : str
        Its model type, a key of `FAMILIES`.
    parameters : float
        In billions.
    good_for : str
        What it works well for, by its makers.
    licence : str
    consent : str
        What must be agreed to before it can be fetched; empty where nothing.
    """

    hub_id: str
    family: str
    parameters: float
    good_for: str
    licence: str
    consent: str = ""

    @property
    def command(self) -> str:
        """What fetches it."""
        return f"hf download {self.hub_id}"

    @property
    def gigabytes(self) -> float:
        """Of memory in 16 bits, estimated from its parameters."""
        return self.parameters * 2 * BESIDE

    @property
    def gigabytes_packed(self) -> float:
        """Of memory in four bits, estimated from its parameters; embeddings take some more."""
        return self.parameters * FOUR_BITS * BESIDE


_HAI = "Health AI Developer Foundations terms"
LISTED: tuple[ListedModel, ...] = (
    ListedModel(
        "google/medgemma-1.5-4b-it",
        "gemma3",
        4.3,
        "questions on patches of a slide, many in one prompt; boxes on chest X-rays alone",
        _HAI,
        "accept the terms on its page",
    ),
    ListedModel(
        "google/medgemma-27b-it",
        "gemma3",
        27.4,
        "medical questions with longer reasoning",
        _HAI,
        "accept the terms on its page",
    ),
    ListedModel(
        "WenchuanZhang/Patho-R1-7B",
        "qwen2_5_vl",
        8.3,
        "pathology questions and choices with a rationale; no boxes; may not be fine-tuned",
        "CC-BY-NC-ND-4.0",
        "ask on its page with an institutional address",
    ),
    ListedModel(
        "lingshu-medical-mllm/Lingshu-7B",
        "qwen2_5_vl",
        8.3,
        "medical questions, pathology among them",
        "see its page",
    ),
    ListedModel(
        "FreedomIntelligence/HuatuoGPT-Vision-7B-Qwen2.5VL",
        "qwen2_5_vl",
        8.3,
        "medical questions",
        "Apache-2.0",
    ),
    ListedModel(
        "Qwen/Qwen3-VL-2B-Instruct",
        "qwen3_vl",
        2.1,
        "general questions and boxes; a start for training; runs on a laptop",
        "Apache-2.0",
    ),
    ListedModel(
        "Qwen/Qwen3-VL-4B-Instruct", "qwen3_vl", 4.4, "general questions and boxes", "Apache-2.0"
    ),
    ListedModel(
        "Qwen/Qwen3-VL-8B-Instruct", "qwen3_vl", 8.8, "general questions and boxes", "Apache-2.0"
    ),
    ListedModel(
        "Qwen/Qwen3-VL-30B-A3B-Instruct",
        "qwen3_vl_moe",
        31.1,
        "general questions and boxes, as fast as one of 3 B once it is in memory",
        "Apache-2.0",
    ),
    ListedModel("Qwen/Qwen3.5-4B", "qwen3_5", 4.7, "general questions and boxes", "see its page"),
    ListedModel(
        "Qwen/Qwen2.5-VL-7B-Instruct",
        "qwen2_5_vl",
        8.3,
        "general questions and boxes; what the paper trained",
        "Apache-2.0",
    ),
    ListedModel(
        "google/gemma-4-E4B-it",
        "gemma4",
        8.0,
        "general questions; a picture has 70 to 1,120 visual tokens in five steps",
        "see its page",
    ),
    ListedModel(
        "OpenGVLab/InternVL3_5-8B-HF",
        "internvl",
        8.5,
        "general questions; fine detail in tiles of 256 visual tokens",
        "see its page",
    ),
    ListedModel(
        "llava-hf/llava-onevision-qwen2-7b-ov-hf",
        "llava_onevision",
        8.0,
        "general questions",
        "see its page",
    ),
    ListedModel(
        "HuggingFaceTB/SmolVLM2-2.2B-Instruct",
        "smolvlm",
        2.2,
        "general questions on small machines",
        "Apache-2.0",
    ),
    ListedModel(
        "meta-llama/Llama-3.2-11B-Vision-Instruct",
        "mllama",
        10.7,
        "general questions about one picture",
        "Llama 3.2 Community License",
        "accept the terms on its page",
    ),
)


@dataclass(frozen=True, slots=True)
class CachedModel:
    """A model of the hub's cache on this machine.

    Parameters
    ----------
    hub_id : str
    folder : Path
        Of its newest snapshot.
    family : Family
    size : int
        Bytes of its weights.
    """

    hub_id: str
    folder: Path
    family: Family
    size: int


def cached_models(cache: Path | None = None) -> list[CachedModel]:
    """Whole models of the cache that load here, by name.

    Takes milliseconds, so a dock may ask it whenever it opens.

    Parameters
    ----------
    cache : Path, optional
        Where the hub's library keeps what it fetches; by default where it is told to on this
        machine (``HF_HUB_CACHE``, ``HF_HOME``).
    """
    if cache is None:
        from huggingface_hub import constants

        cache = Path(constants.HF_HUB_CACHE)
    try:
        folders = sorted(cache.glob("models--*--*"))
    except OSError:
        return []
    return [model for folder in folders for model in _of(folder)]


def _of(folder: Path) -> Iterator[CachedModel]:
    snapshot = _snapshot(folder)
    if snapshot is None:
        return
    hub_id = folder.name.removeprefix("models--").replace("--", "/", 1)
    try:
        model_type = read_json(snapshot / "config.json", hub_id).get("model_type")
        family = FAMILIES.get(model_type) if isinstance(model_type, str) else None
        if family is None:
            return
        size = sum(shard.stat().st_size for shard in weight_files(snapshot, hub_id))
    except (ModelError, OSError):  # half fetched, or of another kind
        return
    yield CachedModel(hub_id, snapshot, family, size)


def _snapshot(folder: Path) -> Path | None:
    """The one that a download fetched last, as the cache notes it."""
    try:
        named = (folder / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        named = ""
    if named and (folder / "snapshots" / named).is_dir():
        return folder / "snapshots" / named
    try:
        others = [one for one in (folder / "snapshots").iterdir() if one.is_dir()]
        return max(others, key=lambda one: one.stat().st_mtime, default=None)
    except OSError:
        return None
