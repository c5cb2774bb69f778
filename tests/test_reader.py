from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from napari_pathreason.errors import SlideError
from napari_pathreason.reader import LayerData, get_reader, skin
from napari_pathreason.sample_data import SAMPLE_KEY, samples
from napari_pathreason.viewer import SLIDE_KEY


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a picture.png"
    values = np.random.default_rng(0).integers(0, 255, (300, 500, 3)).astype(np.uint8)
    Image.fromarray(values).save(path)
    return path


@pytest.fixture
def sample() -> Iterator[LayerData]:
    (layer,) = skin()
    yield layer
    layer[1]["metadata"][SLIDE_KEY].close()


def test_sample_is_one_lazy_layer_in_micrometres(sample: LayerData) -> None:
    levels, attributes, kind = sample
    assert kind == "image"
    assert attributes["rgb"]
    assert attributes["multiscale"]
    assert attributes["scale"] == pytest.approx((0.499, 0.499))
    assert attributes["units"] == ("um", "um")
    assert levels[0].shape == (2967, 2220, 3)
    assert levels[-1].shape[0] * levels[-1].shape[1] <= 1_000_000
    assert all(a.shape[0] > b.shape[0] for a, b in itertools.pairwise(levels))


def test_nothing_is_decoded_at_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("pixels were read")

    monkeypatch.setattr("os.pread", refuse)
    ((levels, attributes, _),) = skin()
    with pytest.raises(AssertionError, match="pixels were read"):
        levels[0][:8, :8]
    attributes["metadata"][SLIDE_KEY].close()


def test_no_path_leaves_with_the_layer(sample: LayerData) -> None:
    attributes = sample[1]
    told = {key: value for key, value in attributes.items() if key != "metadata"}
    assert "/" not in str(told)
    assert set(attributes["metadata"]) == {SLIDE_KEY, SAMPLE_KEY}
    assert "/" not in repr(attributes["metadata"])


def test_unknown_pixel_size_stays_in_pixels(picture: Path) -> None:
    reader = get_reader(str(picture))
    assert reader is not None
    ((_, attributes, _),) = reader(str(picture))
    assert set(attributes["metadata"]) == {SLIDE_KEY}
    assert attributes["scale"] == (1, 1)
    assert attributes["units"] == ("pixel", "pixel")


def test_several_paths_give_several_layers(picture: Path) -> None:
    reader = get_reader([str(picture)] * 2)
    assert reader is not None
    assert len(reader([str(picture)] * 2)) == 2


def test_missing_file_is_left_to_other_readers(tmp_path: Path) -> None:
    assert get_reader(str(tmp_path / "none.svs")) is None


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / "text.svs"
    path.write_text("no slide")
    reader = get_reader(str(path))
    assert reader is not None
    with pytest.raises(SlideError, match=r"text\.svs"):
        reader(str(path))


def test_layer_in_a_viewer(
    make_napari_viewer_proxy: Callable[..., Any], picture: Path, tmp_path: Path
) -> None:
    viewer = make_napari_viewer_proxy(show=True)
    picture = tmp_path / "a picture.tif"
    Image.fromarray(np.asarray(Image.open(tmp_path / "a picture.png"))).save(picture)
    (layer,) = viewer.open(str(picture), plugin="napari-pathreason")
    assert layer.rgb
    shown = np.asarray(layer.data[0])[100:110, 100:110]
    assert np.array_equal(shown, np.asarray(Image.open(picture))[100:110, 100:110])
    layer.metadata[SLIDE_KEY].close()


@pytest.mark.parametrize("key", [shown.key for shown in samples()])
def test_sample_opens_from_the_menu(make_napari_viewer_proxy: Callable[..., Any], key: str) -> None:
    viewer = make_napari_viewer_proxy(show=True)
    (layer,) = viewer.open_sample("napari-pathreason", key)
    assert layer.metadata[SAMPLE_KEY] == key
    known = layer.metadata[SLIDE_KEY].info.mpp is not None
    assert str(layer.units[0]) == ("micrometer" if known else "pixel")
    assert viewer.dims.ndim == 2
    layer.metadata[SLIDE_KEY].close()
