"""Scale, channels and profile of the slide in the Ask dock."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_pathreason.reader import slide_layer
from napari_pathreason.viewer import SLIDE_KEY, known_mpp
from tests.support import write_synthetic_slide


def add(viewer, path: Path):
    levels, attributes, _ = slide_layer(path)
    return viewer.add_image(levels, **attributes)


def test_um_per_pixel_and_channels(make_dock, tmp_path: Path, messages: list):
    viewer, dock = make_dock()
    fields = dock.form.slide_fields
    assert fields.mpp_box.isHidden()
    path = write_synthetic_slide(tmp_path / "a.ome.tif", 300, 200, (1,), tile=64, mpp=0.25)
    layer = add(viewer, path)
    assert not fields.mpp_box.isHidden()
    assert fields.channels_edit.isHidden()
    assert fields.icc_box.isHidden()
    assert fields.mpp_box.value() == pytest.approx(0.25)
    fields.mpp_box.setValue(0.5)
    assert known_mpp(layer) == (0.5, 0.5)
    assert layer.metadata[SLIDE_KEY].info.mpp_source == "user"
    fields.mpp_box.setValue(0)
    assert known_mpp(layer) == (0.25, 0.25)
    assert fields.mpp_box.value() == pytest.approx(0.25)

    path = tmp_path / "b.ome.tif"
    planes = np.random.default_rng(0).integers(0, 255, (4, 128, 160), dtype=np.uint8)
    tifffile.imwrite(
        path, planes, metadata={"axes": "CYX"}, photometric="minisblack", tile=(64, 64)
    )
    stained = add(viewer, path)
    assert not fields.channels_edit.isHidden()
    assert fields.channels_edit.text() == "1=blue,2=green,3=red,4=cyan"
    assert fields.mpp_box.value() == 0
    fields.channels_edit.setText("2=red")
    fields.channels_edit.returnPressed.emit()
    slide = stained.metadata[SLIDE_KEY]
    assert (slide.info.channels, slide.reservation) == ("2=red", "")
    fields.channels_edit.setText("9=red")
    fields.channels_edit.returnPressed.emit()
    assert any("no channel" in text for _, text in messages)
    assert fields.channels_edit.text() == "2=red"
    for one in (layer, stained):
        one.metadata[SLIDE_KEY].close()
