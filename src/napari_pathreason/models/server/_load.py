"""From an address to a performer: which model, what its server does, how it writes boxes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from napari_pathreason.engine import calibration_of
from napari_pathreason.errors import ModelError, QueryError
from napari_pathreason.types import (
    BoxSpace,
    Calibration,
    ModelInfo,
    ServerInfo,
    TokenLevel,
    unknown_dims,
)

from ._address import Address, is_address, parse_address
from ._client import Client, Served
from ._families import ServedFamily, family_named, short_name
from ._memory import BOXES, CALIBRATED, allow_host, check_allowed, key_of, recall, remember
from ._performer import ServerPerformer
from ._probe import Capabilities, capabilities, keep, probe, remembered
from ._trouble import plain

AROUND = 2
"""Tokens around a picture, where they cannot be told from its own."""
AT_ONCE = 4
"""Requests in flight, at the most."""
SPACES: dict[BoxSpace, str] = {
    "relative": "0 to 1000 of the picture",
    "resized": "pixels of the picture",
    "relative_yx": "0 to 1000 of the picture, y first",
}


@dataclass(frozen=True, slots=True)
class ServerReport:
    """What a server has and does, for people.

    Parameters
    ----------
    models : tuple of str
        Names that it lists.
    info : ModelInfo or None
        Of the model that was asked for, or of its only one; None where one must be chosen first.
    found : Capabilities or None
    """

    models: tuple[str, ...]
    info: ModelInfo | None = None
    found: Capabilities | None = None


def load_server(
    model_id: str, key: str = "", at_once: int = AT_ONCE, *, calibrated: bool = True
) -> ServerPerformer:
    """A performer of a model on a server; nothing is sent but words and white pictures.

    Parameters
    ----------
    model_id : str
        Its address.
    key : str
        In place of that of the environment or the keyring.
    at_once : int
        Requests in flight, at the most.
    calibrated : bool
        Whether its probabilities are scaled, where somebody has calibrated it.

    Raises
    ------
    ModelError
        If the host is not allowed, or the server or its model cannot be used; one line that names
        the remedy.
    """
    client, listed = _connected(model_id, key)
    client, served = _chosen(client, listed)
    found = capabilities(client, served.context)
    info = _info(client.address, found, at_once)
    return ServerPerformer(client, found, info if calibrated else replace(info, calibration=None))


def list_models(model_id: str, key: str = "") -> tuple[str, ...]:
    """Names of the models that a server lists; errors as `load_server`."""
    return tuple(one.name for one in _connected(model_id, key)[1])


def look_at_server(model_id: str, key: str = "") -> ServerReport:
    """Find out anew what a server has and does; parameters and errors as of `load_server`."""
    client, listed = _connected(model_id, key)
    names = tuple(one.name for one in listed)
    if not client.address.model and len(listed) != 1:
        return ServerReport(names)
    client, served = _chosen(client, listed)
    found = probe(client, served.context)
    keep(client.address, found)
    return ServerReport(names, _info(client.address, found, AT_ONCE), found)


def resolve_address(model_id: str) -> Address:
    """The address of a model with its name, which the server is asked for where it has one alone.

    Raises
    ------
    ModelError
        As `load_server`.
    """
    address = parse_address(model_id)
    if address.model:
        return address
    client, listed = _connected(model_id, "")
    return _chosen(client, listed)[0].address


def read_server_info(model_id: str) -> ModelInfo | None:
    """What is remembered of a model on a server; None where nothing is. Nothing is sent.

    Raises
    ------
    ModelError
        If the address cannot be understood.
    """
    address = known_address(model_id)
    found = None if address is None else remembered(address)
    return None if address is None or found is None else _info(address, found, AT_ONCE)


def known_address(model_id: str) -> Address | None:
    """As `resolve_address`, of what is remembered alone; None where that is nothing.

    Raises
    ------
    ModelError
        If the address cannot be understood.
    """
    address = parse_address(model_id)
    if address.model:
        return address
    name = recall(address, "only").get("model")
    return Address(address.url, name) if isinstance(name, str) else None


def set_boxes(model_id: str, space: str) -> None:
    """Remember how a model on a server writes boxes, as its user says.

    Parameters
    ----------
    model_id : str
        Its address.
    space : str
        ``relative``, ``resized`` or ``relative_yx``; empty to go by its family again.

    Raises
    ------
    QueryError
        If it is none of these.
    ModelError
        As `resolve_address`.
    """
    if space and space not in get_args(BoxSpace):
        raise QueryError(f"boxes are {', '.join(get_args(BoxSpace))}; choose one of them")
    remember(resolve_address(model_id), BOXES, {"space": space})


def prepare_server(model: str, host: str | None = None, boxes: str | None = None) -> None:
    """Remember what a user says of a server together with its address.

    Parameters
    ----------
    model : str
        As it was chosen.
    host : str, optional
        See `allow_host`.
    boxes : str, optional
        See `set_boxes`.

    Raises
    ------
    QueryError
        If either is given for a model that is on no server.
    ModelError
        If the host is none, or the server cannot say which model it has.
    """
    if host is None and boxes is None:
        return
    if not is_address(model):
        what = "--allow-host" if host is not None else "--boxes"
        raise QueryError(f"{what} is about a model on a server; leave it out, or give its address")
    if host is not None:
        allow_host(host)
    if boxes is not None:
        set_boxes(model, boxes)


def chosen_boxes(address: Address) -> BoxSpace | Literal[""]:
    """How its user says that a model on a server writes boxes; empty where nothing is said."""
    own = recall(address, BOXES).get("space")
    return next((space for space in get_args(BoxSpace) if space == own), "")


def keep_calibration(model_id: str, values: dict[str, Any]) -> None:
    """Remember how confidence follows from the probabilities of a model on a server.

    Parameters
    ----------
    model_id : str
        Its address.
    values : dict
        As `engine.calibration_values` gives them.

    Raises
    ------
    ModelError
        As `resolve_address`.
    """
    remember(resolve_address(model_id), CALIBRATED, values)


def _calibration(address: Address) -> Calibration | None:
    """What `keep_calibration` remembered; None where that is nothing, or is damaged."""
    try:
        return calibration_of(recall(address, CALIBRATED))
    except ValueError:
        return None


def _connected(model_id: str, key: str) -> tuple[Client, tuple[Served, ...]]:
    address = parse_address(model_id)
    check_allowed(address)
    key = (key or key_of(address)).strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ModelError(
            f"the key of the server {address.place} holds a blank, a line break or another "
            "character that no key has; set PATHREASON_API_KEY anew, or store it anew in the "
            "system keyring"
        )
    client = Client(address, key)
    return client, client.models()


def _chosen(client: Client, listed: tuple[Served, ...]) -> tuple[Client, Served]:
    """The model that the address names, or the only one."""
    address = client.address
    names = [one.name for one in listed]
    shown = ", ".join(map(plain, names[:8])) + (
        f" and {len(names) - 8} more" if len(names) > 8 else ""
    )
    wanted = address.model
    if not wanted and len(listed) == 1:
        (served,) = listed
        remember(address, "only", {"model": served.name})
        return client.with_model(served.name), served
    if not wanted:
        have = f"it has {shown}" if names else "it does not list what it has"
        raise ModelError(
            f"the server {address.place} needs the name of a model behind the address, as in "
            f"{address.url}#NAME; {have}"
        )
    for served in listed:
        if served.name in (wanted, f"{wanted}:latest"):
            return client.with_model(served.name), served
    if listed:
        raise ModelError(f"the server {address.place} has no model {wanted}; give one of: {shown}")
    return client, Served(wanted)


def _info(address: Address, found: Capabilities, at_once: int) -> ModelInfo:
    family = family_named(address.model)
    space, said_by = _boxes(address, family, found)
    token_px = found.token_px or family.token_px
    levels: tuple[TokenLevel, ...] = ()
    if found.fixed:  # the size of a picture costs nothing: it is read as finely as it can be shown
        levels = (TokenLevel(found.fixed, max(found.fixed - AROUND, 1)),)
    notes = []
    if not found.usage:
        notes.append("the server does not count tokens; visual tokens are those that were planned")
    return ModelInfo(
        name=short_name(address.model),
        family=family.name,
        box_space=space,
        dims=unknown_dims(token_px),
        device="server",
        calibration=_calibration(address) if found.logprobs else None,
        notes=tuple(notes),
        levels=levels,
        server=ServerInfo(
            pictures=found.pictures,
            at_once=at_once,
            least=max(found.least, 1),
            logprobs=found.logprobs,
            continues=found.continues,
        ),
        boxes_by=said_by,
    )


def _boxes(
    address: Address, family: ServedFamily, found: Capabilities
) -> tuple[BoxSpace | None, str]:
    """How boxes are written, and who says so: the user, the family, or the answer to a probe."""
    if own := chosen_boxes(address):
        return own, f"{SPACES[own]}, as you said"
    if family.boxes is not None:
        return family.boxes, f"{SPACES[family.boxes]}, as {family.name} models do"
    if found.boxes is not None:
        return found.boxes, f"{SPACES[found.boxes]}, as it boxed a test picture"
    return None, ""
