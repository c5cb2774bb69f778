"""What is remembered of servers on this machine: consent to send pixels there, and what they take.

Consent is the user's, and lies with the settings; what a server takes is measured again at any
time, and lies in the cache. Keys are never written: they come from the environment or from the
system's keyring.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from napari_pathreason.errors import ExportError, ModelError
from napari_pathreason.files import write_json

from ._address import Address

KEY = "PATHREASON_API_KEY"
"""Environment variable with the key of a server."""
BOXES, CALIBRATED = "boxes", "calibration"
"""What is remembered of a model that changes its answers."""
SERVICE = "napari-pathreason"
"""Under which the system keyring holds keys, by host and port."""
SENT = "the pixels that are read and the words of the question, no file name, path or metadata"
_FOLDER = "napari-pathreason"


def config_folder() -> Path:
    """Where the user's settings of this package lie."""
    return _base("XDG_CONFIG_HOME", ".config", "APPDATA", "Application Support")


def cache_folder() -> Path:
    """Where what can be found out again lies."""
    return _base("XDG_CACHE_HOME", ".cache", "LOCALAPPDATA", "Caches")


def _base(xdg: str, hidden: str, windows: str, mac: str) -> Path:
    if value := os.environ.get(xdg):
        return Path(value) / _FOLDER
    if sys.platform == "win32":
        return Path(os.environ.get(windows) or Path.home()) / _FOLDER
    if sys.platform == "darwin":
        return Path.home() / "Library" / mac / _FOLDER
    return Path.home() / hidden / _FOLDER


def allowed_hosts() -> frozenset[str]:
    """Hosts, other than this machine, to which the user said that pixels may go."""
    hosts = _read(config_folder() / "hosts.json").get("allowed")
    return frozenset(filter(_is_text, hosts)) if isinstance(hosts, list) else frozenset()


def allow_host(host: str) -> None:
    """Remember that pixels and words may be sent to a host.

    Parameters
    ----------
    host : str
        Name or number, without a port.

    Raises
    ------
    ModelError
        If it is no name of a host.
    ExportError
        If it cannot be remembered.
    """
    host = host.strip().lower().strip("[]")
    if not host or any(c in host for c in "/@# ") or host.startswith("http"):
        raise ModelError("--allow-host takes the name of a host, such as lab-server")
    file = config_folder() / "hosts.json"
    _write(file, {"allowed": sorted(allowed_hosts() | {host})})


def is_allowed(address: Address) -> bool:
    """Whether pixels may be sent to an address."""
    return address.is_here or address.host in allowed_hosts()


def check_allowed(address: Address) -> None:
    """Refuse a host to which nobody has allowed to send pixels.

    Raises
    ------
    ModelError
        Says what would be sent, and how to allow it.
    """
    if not is_allowed(address):
        raise ModelError(
            f"{address.host} is not this machine, and would be sent {SENT}; allow it once with "
            f"--allow-host {address.host}, in Python with models.allow_host"
        )


def key_of(address: Address) -> str:
    """The key of a server: of the environment, else of the system keyring; empty for none."""
    if key := os.environ.get(KEY, "").strip():
        return key
    if find_spec("keyring") is None:
        return ""
    import keyring

    with suppress(Exception):  # no keyring on this system, or it is locked
        return keyring.get_password(SERVICE, address.place) or ""
    return ""


def keep_key(address: Address, key: str) -> None:
    """Store the key of a server in the system keyring; an empty one is deleted.

    Raises
    ------
    ModelError
        If there is no keyring to hold it.
    """
    if find_spec("keyring") is None:
        raise ModelError(
            f"a key is stored in the system keyring alone, and keyring is not installed; "
            f"pip install keyring, or set {KEY}"
        )
    import keyring

    try:
        if key:
            keyring.set_password(SERVICE, address.place, key)
        elif keyring.get_password(SERVICE, address.place) is not None:
            keyring.delete_password(SERVICE, address.place)
    except Exception as error:  # of whatever keyring the system has
        raise ModelError(
            f"the system keyring does not take the key ({type(error).__name__}); set {KEY} instead"
        ) from None


def recall(address: Address, what: str) -> dict[str, Any]:
    """What is remembered of a model of a server; empty where that is nothing."""
    return _read(_file(address, what))


def remember(address: Address, what: str, value: dict[str, Any]) -> None:
    """Remember something of a model of a server; a cache that cannot be written is no error."""
    with suppress(ExportError):
        _write(_file(address, what), value)


def allocator_folder(address: Address) -> Path:
    """Where what was learnt of a model's windows lies; with the settings, as it cost hours."""
    return config_folder() / "servers" / address.digest


def served_sha256(address: Address) -> str:
    """What a model on a server is: its address, and what was said, fitted and learnt of it here."""
    files = [_file(address, one) for one in (BOXES, CALIBRATED)]
    files += sorted(allocator_folder(address).glob("*allocator*"))
    contents = [file.read_bytes() for file in files if file.is_file()]
    if not contents:
        return address.digest
    digest = hashlib.sha256(address.digest.encode())
    for content in contents:
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


def _file(address: Address, what: str) -> Path:
    return cache_folder() / "servers" / f"{address.digest}-{what}.json"


def _read(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _write(file: Path, value: dict[str, Any]) -> None:
    with suppress(OSError):  # what is wrong shows when the file is written
        file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, value)


def _is_text(value: object) -> bool:
    return isinstance(value, str)
