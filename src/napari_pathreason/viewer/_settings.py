"""What the user set: napari's preferences of this plugin, and the docks as they were left."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from napari.utils.notifications import show_warning
from pydantic import TypeAdapter, ValidationError

from napari_pathreason.errors import ExportError
from napari_pathreason.files import atomic_text
from napari_pathreason.types import Budget, Effort, Encoder, Precision, TaskName

RegionSource = Literal["shape", "together", "annotations", "view", "layers", "layer"]
"""Where regions of a question come from: selected shapes, all annotations, the view of one layer or
of all selected ones, the layer."""
EMBEDDED = "embedded"
"""Model id of the one that ships with the plugin."""

PLUGIN, SECTION = "napari-pathreason", "pathreason"
"""The manifest's name and its configuration; environment variables are NAPARI_PATHREASON_*."""
DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
MOST_THREADS = 256
FILE = "napari-pathreason-docks.json"
"""Beside the plugin's preferences; holds no name of a slide, no key, and no path but a model's
folder or the address of its server."""


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
    encoder : Encoder
        How the vision encoder computes; see `models.load_models`.
    precision : Precision
        What weights are loaded as.
    """

    device: str = "auto"
    threads: int = 0
    offline: bool = False
    encoder: Encoder = "exact"
    precision: Precision = "auto"


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
        Whether small detections are refined by a zoom, on top of the budget.
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
        named = Path(value).name if isinstance(value, str) else value  # no path in a message
        troubles.append(
            f"the preference {title} is {named!r}; {default} is used. "
            f"In File > Preferences > PathReason {remedy}"
        )
        return default

    one_of_list = "choose one of the list"
    compute = Compute(
        use("device", "Device", "auto", _is_device, "give auto, cpu, cuda, cuda:1 or mps"),
        use("threads", "CPU threads", 0, _is_count, f"give 0 to {MOST_THREADS}"),
        use("offline", "Offline", False, lambda v: isinstance(v, bool), "check it or do not"),
        use("encoder", "Encoder", "exact", get_args(Encoder).__contains__, one_of_list),
        use("precision", "Precision", "auto", get_args(Precision).__contains__, one_of_list),
    )
    model = use(
        *("model", "Model", EMBEDDED, _is_model),
        "give embedded, a folder that exists, a hub id or the address of a server",
    )
    effort = use("effort", "Effort", "balanced", get_args(Effort).__contains__, one_of_list)
    zoom = use("zoom", "Zoom", True, lambda v: isinstance(v, bool), "check it or do not")
    return Preferences(compute, model, effort, zoom, tuple(troubles))


@dataclass(frozen=True, slots=True)
class AskState:
    """Form of the Ask dock; an empty ``model`` is the one of the preferences."""

    task: TaskName = "vqa"
    question: str = ""
    options: str = ""
    region: RegionSource = "view"
    budget: Budget = "auto"
    model: str = ""
    check_order: bool = False


@dataclass(frozen=True, slots=True)
class BudgetState:
    """The Token budget dock: the tab by its title, the budgets to compare, the token grid."""

    tab: str = ""
    compared: tuple[Budget, ...] = (16, 256)
    grid: bool = False


@dataclass(frozen=True, slots=True)
class DockState:
    """Of all docks; ``reader`` is the name under which answers are accepted or rejected.

    ``paces`` are FLOPs a second of models on this machine, by model id.
    """

    ask: AskState = field(default_factory=AskState)
    budget: BudgetState = field(default_factory=BudgetState)
    reader: str = ""
    paces: dict[str, float] = field(default_factory=dict)


_ADAPTER = TypeAdapter(DockState)


def state_file() -> Path | None:
    """Where the state is kept; None where napari keeps no settings."""
    folder = config_folder()
    return None if folder is None else folder / FILE


class DockMemory:
    """The last `DockState`, in a file that is there whole or not at all.

    Parameters
    ----------
    file : callable
        Gives the file, or None for a memory that ends with this object.
    warn : callable
        Takes what is wrong with the file, in a line; called once at most.
    """

    def __init__(
        self,
        file: Callable[[], Path | None] = state_file,
        warn: Callable[[str], object] = show_warning,
    ) -> None:
        self._file, self._show_warning = file, warn
        self._state: DockState | None = None
        self._warned = False

    @property
    def state(self) -> DockState:
        """What was kept last; the first time it is read, and a damaged file says so once."""
        if self._state is None:
            self._state = DockState()
            file = self._file()
            with suppress(OSError):  # most often there is none yet
                text = file.read_bytes() if file is not None else None
                try:
                    if text is not None:
                        self._state = _ADAPTER.validate_json(text)
                except ValidationError:
                    self._warn(
                        f"{FILE} is damaged; the docks begin with their defaults and replace it"
                    )
        return self._state

    def keep(self, **parts: Any) -> None:
        """Keep some parts of a `DockState`; a file that cannot be written says so once."""
        state = replace(self.state, **parts)
        if state == self._state:
            return
        self._state = state
        file = self._file()
        if file is None:
            return
        try:
            with suppress(OSError):  # what is wrong shows when the file is written
                file.parent.mkdir(parents=True, exist_ok=True)
            with atomic_text(file) as out:
                out.write(_ADAPTER.dump_json(state, indent=2).decode() + "\n")
        except ExportError as error:
            self._warn(f"the docks cannot keep their settings: {error}")

    def _warn(self, text: str) -> None:
        if not self._warned:
            self._warned = True
            self._show_warning(text)


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
    from napari_pathreason.models import is_address

    known = is_address(value) or HUB_ID.fullmatch(value) is not None
    return known or Path(value).expanduser().is_dir()
