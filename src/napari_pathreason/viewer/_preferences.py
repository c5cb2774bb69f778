"""What the user set in File > Preferences > PathReason, checked."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from napari_pathreason.types import Effort

PLUGIN, SECTION = "napari-pathreason", "pathreason"
"""The manifest's name and its configuration; environment variables are NAPARI_PATHREASON_*."""
DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
EMBEDDED = "embedded"
MOST_THREADS = 256


@dataclass(frozen=True, slots=True)
class Compute:
    """What a model computes with; another value needs another process.

    Parameters
    ----------
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    threads : int
        CPU threads; 0 leaves it to torch.
    offline : bool
        Take hub models from the cache alone.
    """

    device: str = "auto"
    threads: int = 0
    offline: bool = False


@dataclass(frozen=True, slots=True)
class Preferences:
    """All preferences; ``troubles`` has a line for each value that could not be used.

    Parameters
    ----------
    compute : Compute
    model : str
        ``embedded``, a folder or a hub id: what the docks offer first.
    effort : {"low", "balanced", "high"}
        How readily a learned allocator spends tokens where the budget is ``auto``.
    zoom : bool
        Whether small finds get a zoom, on top of the budget.
    troubles : tuple of str
    """

    compute: Compute = field(default_factory=Compute)
    model: str = EMBEDDED
    effort: Effort = "balanced"
    zoom: bool = True
    troubles: tuple[str, ...] = ()


def preferences() -> Preferences:
    """The preferences as they are now; defaults where napari does not know this plugin."""
    values = _settings()
    return Preferences() if values is None else checked(values.model_dump()[SECTION])


def config_folder() -> Path | None:
    """Where napari keeps this plugin's settings; None where it keeps none."""
    values = _settings()
    return None if values is None or not values.config_path else Path(values.config_path).parent


def checked(values: dict[str, Any]) -> Preferences:
    """Preferences out of raw values; what cannot be used gives way to the default.

    Parameters
    ----------
    values : dict
        Keys of the manifest; missing ones are defaults.
    """
    troubles: list[str] = []

    def use(key: str, title: str, default: Any, good: Any, remedy: str) -> Any:
        value = values.get(key, default)
        value = value.strip() if isinstance(value, str) else value
        if value in ("", default) or good(value):
            return default if value == "" else value
        told = Path(value).name if isinstance(value, str) else value  # no path in a message
        troubles.append(
            f"the preference {title} is {told!r}; {default} is used. "
            f"In File > Preferences > PathReason {remedy}"
        )
        return default

    compute = Compute(
        use("device", "Device", "auto", _is_device, "give auto, cpu, cuda, cuda:1 or mps"),
        use("threads", "CPU threads", 0, _is_count, f"give 0 to {MOST_THREADS}"),
        use("offline", "Offline", False, lambda v: isinstance(v, bool), "check it or do not"),
    )
    model = use(
        "model", "Model", EMBEDDED, _is_model, "give embedded, a folder that exists or a hub id"
    )
    effort = use(
        "effort", "Effort", "balanced", get_args(Effort).__contains__, "choose one of the list"
    )
    zoom = use("zoom", "Zoom", True, lambda v: isinstance(v, bool), "check it or do not")
    return Preferences(compute, model, effort, zoom, tuple(troubles))


def _settings() -> Any:
    """The settings that napari builds from the manifest, or None."""
    from napari.settings import get_plugin_settings

    try:
        return get_plugin_settings(PLUGIN)
    except KeyError:  # the plugin is switched off, or used without being installed
        return None


def _is_device(value: Any) -> bool:
    return isinstance(value, str) and DEVICE.fullmatch(value) is not None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_THREADS


def _is_model(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    return HUB_ID.fullmatch(value) is not None or Path(value).expanduser().is_dir()
