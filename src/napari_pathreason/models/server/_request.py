"""From a prompt to the body of a request."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.types import Messages


def body_of(messages: Messages, pictures: Sequence[NDArray[np.uint8]]) -> list[dict[str, Any]]:
    """Chat messages with their pictures inside, as PNG: no pixel is changed on the way.

    Parameters
    ----------
    messages : list of dict
        With one ``{"type": "image"}`` part for each picture.
    pictures : sequence of uint8 array (height, width, 3)

    Raises
    ------
    ValueError
        If the messages hold not one image part for each picture.
    """
    coming = iter(pictures)
    filled = []
    for message in messages:
        content = message["content"]
        if not isinstance(content, str):
            parts = [_part(part, coming) for part in content]
            texts = [part["text"] for part in parts if part["type"] == "text"]
            # plain text where there is no picture: not every template takes parts there
            content = parts if len(texts) < len(parts) else "\n".join(texts)
        filled.append({**message, "content": content})
    if next(coming, None) is not None:
        raise ValueError("the messages hold fewer image parts than there are pictures")
    return filled


def _part(part: dict[str, Any], coming: Any) -> dict[str, Any]:
    if part.get("type") != "image":
        return part
    picture = next(coming, None)
    if picture is None:
        raise ValueError("the messages hold more image parts than there are pictures")
    return {"type": "image_url", "image_url": {"url": as_url(picture)}}


def without_pictures(messages: Messages) -> Messages:
    """The text of messages alone."""
    return [
        {
            **message,
            "content": message["content"]
            if isinstance(message["content"], str)
            else [part for part in message["content"] if part.get("type") != "image"],
        }
        for message in messages
    ]


def as_url(picture: NDArray[np.uint8]) -> str:
    """A picture (height, width, 3) as the URL that holds it."""
    from PIL import Image

    file = io.BytesIO()
    # fast rather than small: servers are near, and a level above 1 takes longer than it saves
    Image.fromarray(picture).save(file, "PNG", compress_level=1)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
