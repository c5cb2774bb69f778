"""Pictures go out as they are, whichever way they are packed."""

import base64
import io

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from napari_pathreason.models.server import as_url, body_of
from napari_pathreason.tasks import TASKS
from napari_pathreason.types import Query

MESSAGES = TASKS["vqa"].messages(Query("vqa", "Is it?"))


def pixels_in(url):
    head, _, data = url.partition(",")
    assert head == "data:image/png;base64"
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert (image.format, image.mode) == ("PNG", "RGB")
    return np.asarray(image)


sides = st.integers(1, 70)


@settings(max_examples=40)
@given(
    st.tuples(sides, sides).flatmap(lambda hw: arrays(np.uint8, (*hw, 3))),
    st.booleans(),
)
def test_pixels_arrive_as_they_were(picture, near):
    assert (pixels_in(as_url(picture, near=near)) == picture).all()


def test_a_view_of_a_larger_array_is_packed_as_it_looks():
    whole = np.random.default_rng(0).integers(0, 256, (90, 80, 3), np.uint8)
    part = whole[10:60:2, 5:45]
    assert (pixels_in(as_url(part, near=True)) == part).all()


def test_the_system_s_words_are_plain_text_and_pictures_are_parts():
    system, user = body_of(MESSAGES, [np.zeros((32, 32, 3), np.uint8)])
    assert isinstance(system["content"], str)
    assert [part["type"] for part in user["content"]] == ["image_url", "text"]
    assert MESSAGES[1]["content"][0] == {"type": "image"}  # what was given is as it was


@pytest.mark.parametrize("count", [0, 2])
def test_each_picture_has_its_part(count):
    with pytest.raises(ValueError, match="image parts"):
        body_of(MESSAGES, [np.zeros((32, 32, 3), np.uint8)] * count)
