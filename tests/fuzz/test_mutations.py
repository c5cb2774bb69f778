"""Damaged copies of good files: no error but the project's own, no hang, no memory without end.

Run with `make fuzz`; it is no part of the other tests. Each target takes a good file, changes some
bytes of it 300 times (flips, cuts, swaps, large numbers), and reads it as a user would. The
seed is fixed, so a failure names the mutation that repeats it.
"""

from __future__ import annotations

import json
import resource
import shutil
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_pathreason import exports, slides
from napari_pathreason.engine import read_outlines
from napari_pathreason.errors import PathreasonError
from napari_pathreason.geometry import Region
from napari_pathreason.slides import open_slide
from tests.support import coded_pixels, write_synthetic_slide

pytestmark = pytest.mark.fuzz

MUTATIONS = 300
SECONDS = 5
BYTES = 2 * 2**30
RGB = coded_pixels(np.arange(300) * 6.0, np.arange(200) * 6.0)
SAMPLE = Path(slides.__file__).parents[1] / "sample_data/CMU-1-Small-Region.svs"
LARGE = [2**31 - 1, 2**32 - 1, 0, 1, 0x80000000, 0x10000]


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes of a file changed; its first kilobytes more often, where structure stands."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        if not data:
            break
        reach = len(data) if rng.random() < 0.5 else min(len(data), 2048)
        at = int(rng.integers(0, reach))
        kind = int(rng.integers(0, 6))
        if kind == 0:
            data[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            data[at : at + 4] = int(rng.choice(LARGE)).to_bytes(4, "little")
        elif kind == 2:
            del data[at : at + int(rng.integers(1, 64))]
        elif kind == 3:
            data[at:at] = data[at : at + int(rng.integers(1, 64))]
        elif kind == 4:
            data[at : at + 16] = bytes(rng.integers(0, 256, 16, dtype=np.uint8))
        else:
            del data[max(at, 16) :]
    return bytes(data)


def look(path: Path) -> None:
    """Open a slide and read parts of it, as a dock does."""
    with open_slide(path) as slide:
        region = Region(0, 0, slide.width, slide.height)
        image = slide.read_region(region, (64, 48))
        assert image.pixels.shape == (48, 64, 3)
        assert 0 <= image.unreadable <= 1
        levels = slide.display_levels()
        assert levels[0][:64, :64].shape[2] == 3


def write_ngff(path: Path) -> Path:
    group = zarr.open_group(path, mode="w", zarr_format=2)
    array = group.create_array("0", shape=RGB.shape, dtype="u1", chunks=(64, 64, 3))
    array[:] = RGB
    axes = [{"name": n, "type": "space", "unit": "micrometer"} for n in "yx"]
    axes.append({"name": "c", "type": "channel"})
    step = {"type": "scale", "scale": [0.5, 0.5, 1]}
    datasets = [{"path": "0", "coordinateTransformations": [step]}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    return path


def write_geojson(path: Path) -> Path:
    ring = [[10, 10], [110, 10], [110, 60], [10, 60], [10, 10]]
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {"objectType": "annotation", "measurements": {"a": 1.5}},
        }
    ] * 5
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def write_tiff(name: str, **options: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / name
        tifffile.imwrite(path, RGB, photometric="rgb", **options)
        return path

    return write


def write_picture(name: str, **options: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        Image.fromarray(RGB).save(folder / name, **options)
        return folder / name

    return write


ABOUT = "Aperio Image Library v11.2.1\r\n300x200 (64x64) JPEG/RGB Q=90|AppMag = 20|MPP = 0.499"
FILES: dict[str, tuple[Callable[[Path], Path], Callable[[Path], object]]] = {
    "tiles": (write_tiff("a.tif", tile=(64, 64), compression="zlib"), look),
    "strips": (write_tiff("a.tif", rowsperstrip=16), look),
    "jpeg": (write_tiff("a.tif", tile=(64, 64), compression="jpeg"), look),
    "jpeg2000": (write_tiff("a.tif", tile=(64, 64), compression="jpeg2000"), look),
    "lzw": (write_tiff("a.tif", tile=(64, 64), compression="lzw", predictor=True), look),
    "bigtiff": (write_tiff("a.tif", tile=(64, 64), bigtiff=True, compression="zlib"), look),
    "svs": (
        write_tiff("a.svs", tile=(64, 64), compression="jpeg", description=ABOUT, metadata=None),
        look,
    ),
    "ome": (
        lambda folder: write_synthetic_slide(folder / "a.ome.tif", 300, 200, (1, 2), tile=64),
        look,
    ),
    "png": (write_picture("a.png"), look),
    "jpg": (write_picture("a.jpg"), look),
    "webp": (write_picture("a.webp"), look),
    "bmp": (write_picture("a.bmp"), look),
    "geojson": (
        lambda folder: write_geojson(folder / "a.geojson"),
        lambda path: list(exports.read_geojson(path)),
    ),
    "regions": (lambda folder: write_geojson(folder / "a.geojson"), read_outlines),
}


class Hang(Exception):
    """A target took too long."""


def attempt(read: Callable[[Path], object], path: Path, which: str) -> str:
    """What came of a read: "read" or the error's line; anything else fails the test."""

    def stop(*_: Any) -> None:
        raise Hang(which)

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    start = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(path)
        return "read"
    except PathreasonError as error:
        line = str(error)
        assert "\n" not in line, which
        assert str(path.parent) not in line, which
        return line
    except Exception as error:
        raise AssertionError(f"{which}: {type(error).__name__}: {error}") from error
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        assert time.monotonic() - start < 2 * SECONDS, which


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file(tmp_path: Path, name: str):
    write, read = FILES[name]
    path = write(tmp_path)
    content = path.read_bytes()
    assert attempt(read, path, f"{name} whole") == "read"
    rng = np.random.default_rng(2029)
    outcomes = []
    for number in range(MUTATIONS):
        path.write_bytes(mutated(content, rng))
        outcomes.append(attempt(read, path, f"{name} {number}"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 < BYTES
    refused = sum(outcome != "read" for outcome in outcomes)
    assert 0 < refused < MUTATIONS  # some are harmless, some are not


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("file", [".zattrs", "0/.zarray", "0/0.0.0"])
def test_a_damaged_file_of_a_folder(tmp_path: Path, file: str):
    path = write_ngff(tmp_path / "a.zarr")
    content = (path / file).read_bytes()
    rng = np.random.default_rng(2029)
    for number in range(MUTATIONS):
        (path / file).write_bytes(mutated(content, rng))
        attempt(look, path, f"{file} {number}")
    shutil.rmtree(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 < BYTES


@pytest.mark.timeout(1800)
def test_damaged_dicom(tmp_path: Path):
    folder = Path(__file__).parents[2].parent / "shared/slides/dicom_cmu1"
    if not folder.is_dir():
        pytest.skip("the DICOM slide is not in ../shared/slides")
    source = min(folder.glob("*.dcm"), key=lambda file: file.stat().st_size)
    content = source.read_bytes()
    rng = np.random.default_rng(2029)
    path = tmp_path / "a.dcm"
    for number in range(MUTATIONS // 3):
        path.write_bytes(mutated(content, rng))
        attempt(look, path, f"dicom {number}")
