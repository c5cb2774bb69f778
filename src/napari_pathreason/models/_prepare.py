"""What a user says of a model: that a host may be sent pixels, and how boxes are written. No torch.

Of many families nobody says how they write boxes, if they were taught any. What a user has found
out goes before what the family does; a checkpoint that says so itself, in `METADATA`, needs none.
"""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from napari_pathreason.errors import QueryError
from napari_pathreason.types import BoxSpace

from . import server
from ._box_spaces import remember_box_space
from ._checkpoint import find_checkpoint
from ._config import read_metadata


def prepare_model(model: str, host: str | None = None, boxes: str | None = None) -> None:
    """Remember what a user says of a model together with its name.

    Parameters
    ----------
    model : str
        ``embedded``, a folder, a hub id or the address of a server.
    host : str, optional
        See `allow_host`; of a server.
    boxes : str, optional
        See `set_boxes`.

    Raises
    ------
    QueryError, ModelError
        As these, or if a host is given for a model that is on no server.
    """
    if server.is_address(model) or host is not None:
        server.prepare_server(model, host, boxes)
    elif boxes is not None:
        set_boxes(model, boxes)


def set_boxes(model: str | Path, space: str) -> None:
    """Remember how a model writes boxes, as its user says.

    Parameters
    ----------
    model : str or Path
        A folder, a hub id or the address of a server.
    space : str
        ``relative``, ``resized`` or ``relative_yx``; empty to go by its family again.

    Raises
    ------
    QueryError
        If it is none of these, or the model says itself how it writes boxes.
    ModelError
        If there is no such model.
    ExportError
        If it cannot be remembered.
    """
    if server.is_address(model):
        server.set_boxes(str(model), space)
        return
    if space and space not in get_args(BoxSpace):
        raise QueryError(f"boxes are {', '.join(get_args(BoxSpace))}; choose one of them")
    folder, name = find_checkpoint(model)
    if "box_space" in read_metadata(folder, name) or model == "embedded":
        raise QueryError(
            f"the model {name} says itself how it writes boxes; leave out --boxes, or change "
            "pathreason.json in its folder"
        )
    remember_box_space(folder, name, space)
