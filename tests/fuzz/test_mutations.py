"""Damaged copies of slides and regions: no error but the project's own, no hang, no other pixels.

Run with `make fuzz`; it is no part of the other tests. Each target takes a good file, changes some
bytes of it 300 times (flips, cuts, swaps, large numbers), and reads it as a user would. The
seed is fixed, so a failure names the mutation that repeats it.
"""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import shutil
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image
from zarr.codecs import BloscCodec

from napari_pathreason import exports, slides
from napari_pathreason.engine import read_outlines
from napari_pathreason.geometry import Region
from napari_pathreason.slides import open_slide
from tests.fuzz._mutate import (
    MUTATIONS,
    SEED,
    attempt,
    attempt_hostile,
    check_memory,
    mutated,
    mutated_json,
)
from tests.support import coded_pixels, write_synthetic_slide
from tests.support.scanners import write_ndpi

pytestmark = pytest.mark.fuzz

RGB = coded_pixels(np.arange(300) * 6.0, np.arange(200) * 6.0)
SAMPLE = Path(slides.__file__).parents[1] / "sample_data/CMU-1-Small-Region.svs"


def look(path: Path) -> None:
    """Open a slide and read parts of it, as a dock does; its pixels are those of other decoders.

    Where one of them takes the file for the same kind of picture, each pixel is the same, or white
    in a part that is said to be unreadable.
    """
    with open_slide(path) as slide:
        other = reference(path)
        if other is not None and (slide.height, slide.width) == other[0].shape[:2]:
            whole = Region(0, 0, slide.width, slide.height)
            image = slide.read_region(whole, (slide.width, slide.height))
            others = [other, by_openslide(path)] if path.suffix != ".ndpi" else [other]
            for number, (pixels, known) in enumerate(filter(None, others)):
                if pixels.shape != image.pixels.shape:
                    continue
                differs = known & (np.abs(image.pixels.astype(int) - pixels).max(axis=2) > 2)
                assert (image.pixels[differs] == 255).all(), f"other pixels than decoder {number}"
                assert image.unreadable > 0 or not differs.any(), "left white without a word"
                COMPARED[f"{path.name} {number}"] += 1
        region = Region(0, 0, slide.width, slide.height)
        image = slide.read_region(region, (64, 48))
        assert image.pixels.shape == (48, 64, 3)
        assert 0 <= image.unreadable <= 1
        levels = slide.display_levels()
        assert levels[0][:64, :64].shape[2] == 3


COMPARED: Counter[str] = Counter()
"""How many mutated files the other decoders took, by name and number."""


def by_openslide(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.bool_]] | None:
    """As `reference`, of level 0 by OpenSlide, tile by tile; what it leaves out is not known."""
    try:
        with openslide.OpenSlide(path) as slide:
            width, height = slide.dimensions
            sides = [f"openslide.level[0].tile-{name}" for name in ("width", "height")]
            across, down = (int(slide.properties.get(name, 64)) for name in sides)
    except (openslide.OpenSlideError, OSError):
        return None
    if width * height > 4 * RGB.shape[0] * RGB.shape[1]:
        return None
    pixels, known = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), bool)
    for y in range(0, height, down):
        for x in range(0, width, across):
            with contextlib.suppress(openslide.OpenSlideError), openslide.OpenSlide(path) as slide:
                side = min(across, width - x), min(down, height - y)
                part = np.asarray(slide.read_region((x, y), 0, side))
                pixels[y : y + side[1], x : x + side[0]] = part[..., :3]
                known[y : y + side[1], x : x + side[0]] = part[..., 3] == 255
    return pixels, known


def reference(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.bool_]] | None:
    """Pixels by tifffile or Pillow, and where they are known; None where it is another picture.

    Both know nothing of profiles, orientations and most colours: such files are left out. A tile
    that tifffile does not decode is not known.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if path.suffix not in (".tif", ".svs", ".ndpi"):
                with Image.open(path) as picture:
                    if picture.mode != "RGB" or picture.info.keys() & {"exif", "icc_profile"}:
                        return None
                    pixels = np.asarray(picture)
                    return pixels, np.ones(pixels.shape[:2], bool)
            with tifffile.TiffFile(path) as file:
                page = file.pages.first
                colour, turned = page.photometric, page.tags.valueof(274, 1)
                if page.samplesperpixel != 3 or page.dtype != np.uint8 or turned != 1:
                    return None
                if colour != 2 and not (colour == 6 and page.compression == 7):
                    return None
                if 34675 in page.tags or page.planarconfig != 1:
                    return None
                return segments(file, page)
    except Exception:
        return None


def segments(file: tifffile.TiffFile, page: Any) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Pixels of a page tile by tile, and those that could be decoded."""
    height, width = page.imagelength, page.imagewidth
    pixels, known = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), bool)
    across, down = page.tilewidth or width, page.tilelength or page.rowsperstrip
    tiles = -(-width // across) * -(-height // down)  # what a table holds beyond is no part of it
    table = zip(page.dataoffsets, page.databytecounts, strict=True)
    for index, (offset, count) in enumerate(itertools.islice(table, tiles)):
        file.filehandle.seek(offset)
        content = file.filehandle.read(count)
        if not content or len(content) < count:
            continue
        with contextlib.suppress(Exception):
            tile, (_, _, y, x, _), _ = page.decode(content, index, jpegtables=page.jpegtables)
            part = tile[0][: height - y, : width - x]
            pixels[y : y + part.shape[0], x : x + part.shape[1]] = part
            known[y : y + part.shape[0], x : x + part.shape[1]] = True
    return pixels, known


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


def write_shards(path: Path) -> Path:
    """Version 3, two by two chunks in a file."""
    group = zarr.open_group(path, mode="w", zarr_format=3)
    options = {"chunks": (64, 64, 3), "shards": (128, 128, 3), "dtype": "u1"}
    group.create_array("0", shape=RGB.shape, compressors=BloscCodec(cname="zstd"), **options)[:] = (
        RGB
    )
    axes = [{"name": n, "type": "space", "unit": "micrometer"} for n in "yx"]
    axes.append({"name": "c", "type": "channel"})
    datasets = [
        {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [0.5, 0.5, 1]}]}
    ]
    multiscale = {"axes": axes, "datasets": datasets}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale]}
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


def write_restarts(folder: Path) -> Path:
    """One JPEG with restart markers, as Hamamatsu writes a level."""
    large = np.asarray(Image.fromarray(RGB).resize((512, 256)))
    write_ndpi(folder / "a.ndpi", [large, large[::4, ::4].copy()])
    return folder / "a.ndpi"


def pack(path: Path) -> Path:
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    return packed


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
    "ndpi": (write_restarts, look),
    "packed": (
        lambda folder: pack(write_geojson(folder / "a.geojson")),
        lambda path: list(exports.read_geojson(path)),
    ),
    "geojson": (
        lambda folder: write_geojson(folder / "a.geojson"),
        lambda path: list(exports.read_geojson(path)),
    ),
    "regions": (lambda folder: write_geojson(folder / "a.geojson"), read_outlines),
}


ALIKE = {"tiles", "strips", "jpeg", "jpeg2000", "lzw", "bigtiff", "svs", "ome", "ndpi"}
"""Those whose damaged copies another decoder mostly takes; flat pictures it mostly refuses."""
BY_OPENSLIDE = {"tiles", "jpeg", "lzw", "bigtiff", "svs", "ome"}
"""Those that OpenSlide reads too; it takes no strips, and JPEG 2000 in Aperio's files alone."""


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file(tmp_path: Path, name: str):
    write, read = FILES[name]
    COMPARED.clear()
    path = write(tmp_path)
    content = path.read_bytes()
    assert attempt(read, path, f"{name} whole") == "read"
    rng = np.random.default_rng(SEED)
    outcomes = []
    for number in range(MUTATIONS):
        change = mutated_json if number % 2 and path.suffix == ".geojson" else mutated
        path.write_bytes(change(content, rng))
        outcomes.append(attempt(read, path, f"{name} {number}"))
    attempt_hostile(read, path)
    check_memory()
    refused = sum(outcome != "read" for outcome in outcomes)
    assert 0 < refused < MUTATIONS  # some are harmless, some are not
    if name in ALIKE:
        assert COMPARED[f"{path.name} 0"] > MUTATIONS // 20
    if name in ALIKE & BY_OPENSLIDE:
        assert COMPARED[f"{path.name} 1"] > MUTATIONS // 20


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("file", [".zattrs", "0/.zarray", "0/0.0.0"])
def test_a_damaged_file_of_a_folder(tmp_path: Path, file: str):
    damage_in_folder(write_ngff(tmp_path / "a.zarr"), file)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("file", ["zarr.json", "0/zarr.json", "0/c/0/0/0"])
def test_a_damaged_file_of_shards(tmp_path: Path, file: str):
    damage_in_folder(write_shards(tmp_path / "a.zarr"), file)


def damage_in_folder(path: Path, file: str) -> None:
    content = (path / file).read_bytes()
    rng = np.random.default_rng(SEED)
    outcomes = []
    for number in range(MUTATIONS):
        is_json = file.endswith(("json", ".zattrs", ".zarray"))
        change = mutated_json if number % 2 and is_json else mutated
        (path / file).write_bytes(change(content, rng))
        outcomes.append(attempt(look, path, f"{file} {number}"))
    attempt_hostile(lambda _: look(path), path / file)
    shutil.rmtree(path)
    check_memory()
    assert "read" in outcomes


@pytest.mark.timeout(1800)
def test_damaged_dicom(tmp_path: Path):
    """The file that holds the pixels: half of the damage is in its header, of 3 of 1,221 KB."""
    folder = Path(__file__).parents[2].parent / "shared/slides/dicom_cmu1"
    if not folder.is_dir():
        pytest.skip("the DICOM slide is not in ../shared/slides")
    source = max(folder.glob("*.dcm"), key=lambda file: file.stat().st_size)
    content = source.read_bytes()
    rng = np.random.default_rng(SEED)
    path = tmp_path / "a.dcm"
    outcomes = []
    for number in range(MUTATIONS):
        path.write_bytes(mutated(content, rng))
        outcomes.append(attempt(look, path, f"dicom {number}"))
    check_memory()
    assert outcomes.count("read") > MUTATIONS // 10
    assert len({*outcomes}) > 4
