"""What the numbers of a picture mean: right, or refused by name."""

from __future__ import annotations

import io
import subprocess
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from napari_pathreason.errors import SlideError
from napari_pathreason.geometry import Region
from napari_pathreason.slides import ChannelsError, Slide, open_slide
from tests.support import coded_pixels

WIDTH, HEIGHT = 256, 192
RGB = coded_pixels(np.arange(WIDTH) * 6.0, np.arange(HEIGHT) * 6.0)
RGB[:16, :16] = 255
YCBCR = np.asarray(Image.fromarray(RGB).convert("YCbCr"))


def whole(slide: Slide) -> np.ndarray:
    image = slide.read_region(Region(0, 0, slide.width, slide.height), (slide.width, slide.height))
    assert image.unreadable == 0
    return image.pixels


def read(path: Path, **options) -> np.ndarray:
    with open_slide(path, **options) as slide:
        return whole(slide)


def off_by(pixels: np.ndarray, expected: np.ndarray) -> int:
    return int(np.abs(pixels.astype(int) - expected).max())


def write_tiles(path: Path, tiles: list[bytes], side: int, samples: int, tags: dict) -> Path:
    """A TIFF of packed tiles whose compression and colours are what the tags say."""
    columns, rows = -(-WIDTH // side), -(-HEIGHT // side)
    assert len(tiles) == columns * rows
    data = bytearray(b"II*\0" + bytes(4))
    offsets = []
    for tile in tiles:
        offsets.append(len(data))
        data += tile
    spot = len(data)
    data += np.array(offsets, "<u4").tobytes()
    sizes = len(data)
    data += np.array([len(tile) for tile in tiles], "<u4").tobytes()
    bits = len(data)
    data += np.array([8] * samples, "<u2").tobytes()
    entries = {
        256: (4, 1, WIDTH),
        257: (4, 1, HEIGHT),
        258: (3, samples, bits),
        277: (3, 1, samples),
    }
    entries |= {284: (3, 1, 1), 322: (4, 1, side), 323: (4, 1, side)}
    entries |= {324: (4, len(tiles), spot), 325: (4, len(tiles), sizes)}
    for code, value in tags.items():
        if isinstance(value, bytes):
            entries[code] = (2, len(value), len(data))
            data += value
        else:
            entries[code] = (3, 1, value)
    data[4:8] = len(data).to_bytes(4, "little")
    data += len(entries).to_bytes(2, "little")
    for code, (kind, count, value) in sorted(entries.items()):
        data += code.to_bytes(2, "little") + kind.to_bytes(2, "little")
        data += count.to_bytes(4, "little") + value.to_bytes(4, "little")
    path.write_bytes(data + bytes(4))
    return path


def tiles_of(pixels: np.ndarray, side: int) -> list[np.ndarray]:
    padded = np.pad(pixels, ((0, -HEIGHT % side), (0, -WIDTH % side), (0, 0)), mode="edge")
    return [
        np.ascontiguousarray(padded[y : y + side, x : x + side])
        for y in range(0, padded.shape[0], side)
        for x in range(0, padded.shape[1], side)
    ]


def jpeg_2000(pixels: np.ndarray, transformed: bool) -> bytes:
    packed = imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="J2K", mct=transformed)
    assert packed[packed.index(b"\xff\x52") + 8] == transformed
    return packed


@pytest.mark.parametrize(
    ("compression", "photometric", "stored", "transformed"),
    [
        (33003, 2, YCBCR, False),  # Aperio: the compression says it, the tag lies
        (33003, 6, YCBCR, False),
        (33005, 2, RGB, False),
        (33005, 2, RGB, True),
        (34712, 2, RGB, True),
        (34712, 6, YCBCR, False),
        (34712, 6, RGB, True),  # its decoder undoes the transform
    ],
)
def test_jpeg_2000(tmp_path: Path, compression, photometric, stored, transformed):
    tiles = [jpeg_2000(tile, transformed) for tile in tiles_of(stored, 64)]
    path = write_tiles(tmp_path / "a.tif", tiles, 64, 3, {259: compression, 262: photometric})
    assert off_by(read(path), RGB) <= 2


def jpeg(pixels: np.ndarray, space: str) -> bytes:
    return imagecodecs.jpeg8_encode(
        pixels, level=100, colorspace=space, outcolorspace=space, subsampling="444"
    )


@pytest.mark.parametrize("compression", [7, 33007])
@pytest.mark.parametrize("photometric", [2, 6])
def test_jpeg_is_what_the_tag_says(tmp_path: Path, compression: int, photometric: int):
    """Aperio packs RGB as it is, without a marker that would say so."""
    stored = RGB if photometric == 2 else YCBCR
    tiles = [jpeg(tile, "RGB") for tile in tiles_of(stored, 64)]
    path = write_tiles(tmp_path / "a.tif", tiles, 64, 3, {259: compression, 262: photometric})
    smooth = np.asarray(Image.fromarray(RGB))
    assert np.abs(read(path).astype(int) - smooth).mean() < 2


def test_a_marker_of_jfif_does_not_overrule_the_tag(tmp_path: Path):
    packed = [jpeg(tile, "RGB") for tile in tiles_of(RGB, 64)]
    marker = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
    tiles = [tile[:2] + marker + tile[2:] for tile in packed]
    path = write_tiles(tmp_path / "a.tif", tiles, 64, 3, {259: 7, 262: 2})
    assert np.abs(read(path).astype(int) - RGB).mean() < 2


@pytest.mark.parametrize("tile", [None, (64, 64)])
def test_ycbcr_without_jpeg(tmp_path: Path, tile):
    path = tmp_path / "a.tif"
    extratags = [(530, "H", 2, (1, 1), True)]
    tifffile.imwrite(path, YCBCR, photometric="ycbcr", tile=tile, extratags=extratags)
    assert off_by(read(path), RGB) <= 2


def test_ycbcr_as_pillow_writes_it(tmp_path: Path):
    path = tmp_path / "a.tif"
    Image.fromarray(RGB).convert("YCbCr").save(path)
    assert off_by(read(path), RGB) <= 2


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 2)])
def test_ycbcr_whose_planes_are_jpegs_of_their_own(tmp_path: Path, subsampling):
    """No decoder turns one plane into RGB; where two of them are smaller, it is refused."""
    planes = [tile[..., i] for i in range(3) for tile in tiles_of(YCBCR, 64)]
    tiles = [imagecodecs.jpeg8_encode(np.ascontiguousarray(plane), level=100) for plane in planes]
    path = tmp_path / "a.tif"
    options = {"shape": (3, HEIGHT, WIDTH), "dtype": np.uint8, "tile": (64, 64), "metadata": None}
    tifffile.imwrite(path, iter(tiles), photometric="ycbcr", planarconfig="separate", **options)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[0].tags[259].overwrite(7)
        tiff.pages[0].tags[530].overwrite(subsampling)
    if subsampling == (1, 1):
        assert np.abs(read(path).astype(int) - RGB).mean() < 2
    else:
        with pytest.raises(SlideError, match=r"YCbCr colours .* apart.*save it as RGB"):
            open_slide(path)


def test_ycbcr_of_a_lower_resolution_is_refused(tmp_path: Path):
    tiles = [tile.tobytes() for tile in tiles_of(YCBCR, 64)]  # half is what no tag means
    path = write_tiles(tmp_path / "a.tif", tiles, 64, 3, {259: 1, 262: 6})
    with pytest.raises(SlideError, match="YCbCr colours without JPEG"):
        open_slide(path)


@pytest.mark.parametrize(
    ("photometric", "named"), [("cielab", "CIELAB"), ("icclab", "ICCLAB"), ("separated", "CMYK")]
)
def test_colours_that_are_refused_by_their_name(tmp_path: Path, photometric: str, named: str):
    path = tmp_path / "a.tif"
    pixels = np.dstack([RGB, RGB[..., :1]]) if photometric == "separated" else RGB
    tifffile.imwrite(path, pixels, photometric=photometric, tile=(64, 64))
    with pytest.raises(SlideError, match=named):
        open_slide(path)


def test_a_jpeg_of_inks_is_refused(tmp_path: Path):
    Image.fromarray(RGB).convert("CMYK").save(tmp_path / "a.jpg")
    with pytest.raises(SlideError, match="CMYK"):
        open_slide(tmp_path / "a.jpg")


def test_premultiplied_alpha(tmp_path: Path):
    alpha = np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))
    share = alpha[..., None] / 255
    expected = np.rint(RGB * share + 255 * (1 - share))
    for name, pixels, kind in (
        ("straight", RGB, "unassalpha"),
        ("premultiplied", np.rint(RGB * share).astype(np.uint8), "assocalpha"),
    ):
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(
            path, np.dstack([pixels, alpha]), photometric="rgb", extrasamples=[kind], tile=(64, 64)
        )
        assert off_by(read(path), expected) <= 1


def test_a_fourth_channel_is_alpha_only_where_the_file_says_so(tmp_path: Path):
    path = tmp_path / "a.tif"
    pixels = np.dstack([RGB, np.zeros_like(RGB[..., :1])])
    tifffile.imwrite(path, pixels, photometric="rgb", extrasamples=["unspecified"], tile=(64, 64))
    with open_slide(path) as slide:
        assert off_by(whole(slide), RGB) == 0
        assert any("of 4 channels" in note for note in slide.notes)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("tile", [None, (64, 64)])
def test_bits_of_a_camera_in_sixteen(tmp_path: Path, bits: int, tile):
    """Glass of a bright field nearly fills the bits: the picture is that of 8 bits."""
    path = tmp_path / "a.tif"
    top = 2**bits - 1
    tifffile.imwrite(path, np.rint(RGB / 255 * top).astype(np.uint16), photometric="rgb", tile=tile)
    assert off_by(read(path), RGB) <= 1


@pytest.mark.parametrize(
    ("dtype", "top"),
    [
        ("u2", 255),
        ("i2", 4095),
        ("i2", 32767),
        ("u4", 65535),
        ("u4", 2**32 - 1),
        ("i4", 255),
        ("f2", 1),
        ("f4", 255),
        ("f8", 65535),
    ],
)
def test_colours_keep_their_brightness_in_every_type(tmp_path: Path, dtype: str, top: int):
    path = tmp_path / "a.tif"
    values = RGB / 255 * top
    pixels = values if dtype[0] == "f" else np.rint(values)
    tifffile.imwrite(path, pixels.astype(dtype), photometric="rgb", tile=(64, 64))
    assert off_by(read(path), RGB) <= 1


@pytest.mark.parametrize("stated", [True, False])
def test_alpha_fills_as_many_bits_as_the_colours(tmp_path: Path, stated: bool):
    """Opaque is 4095 of 65535 here, no pale veil."""
    path = tmp_path / "a.tif"
    alpha = np.full_like(RGB[..., :1], 255)
    alpha[:, 64:128] = 0
    pixels = np.rint(np.dstack([RGB, alpha]) / 255 * 4095).astype(np.uint16)
    tags = [(281, "H", 4, (4095,) * 4, True)] if stated else []
    tifffile.imwrite(
        path, pixels, photometric="rgb", extrasamples=["unassalpha"], tile=(64, 64), extratags=tags
    )
    assert off_by(read(path), np.where(alpha, RGB, 255)) <= 1


def write_rgba(path: Path, pixels: np.ndarray, kind: str = "unassalpha") -> Path:
    if path.suffix == ".png":
        path.write_bytes(imagecodecs.png_encode(pixels))
    elif path.suffix == ".zarr":
        group = zarr.open_group(path, mode="w", zarr_format=2)
        group.create_array("0", shape=pixels.shape, dtype=pixels.dtype, chunks=(64, 64, 4))[:] = (
            pixels
        )
        group.attrs["multiscales"] = [{"axes": ["y", "x", "c"], "datasets": [{"path": "0"}]}]
        names = ["red", "green", "blue", "alpha"]
        group.attrs["omero"] = {"channels": [{"label": name} for name in names]}
    else:
        options = {"photometric": "rgb", "extrasamples": [kind], "tile": (64, 64)}
        tifffile.imwrite(path, pixels, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.zarr"])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_an_alpha_that_hides_everything_is_not_believed(tmp_path: Path, name: str, dtype: str):
    """Programs leave a fourth channel empty and call it alpha: nobody saves an invisible slide."""
    colours = RGB.astype(dtype) * (257 if dtype == "u2" else 1)
    path = write_rgba(tmp_path / name, np.dstack([colours, np.zeros_like(colours[..., :1])]))
    with open_slide(path) as slide:
        assert off_by(whole(slide), RGB) == 0
        assert sum("alpha hides all" in note for note in slide.notes) == 1


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.zarr"])
@pytest.mark.parametrize("what", ["some", "one colour"])
def test_an_alpha_that_hides_a_part_is_believed(tmp_path: Path, name: str, what: str):
    """Nor is anything shown where nothing but one colour lies below it."""
    alpha = np.zeros_like(RGB[..., :1])
    colours = RGB if what == "some" else np.zeros_like(RGB)
    if what == "some":
        alpha[:64, 64:128] = 255
    with open_slide(write_rgba(tmp_path / name, np.dstack([colours, alpha]))) as slide:
        np.testing.assert_array_equal(whole(slide), np.where(alpha, colours, 255))
        assert not any("alpha hides" in note for note in slide.notes)


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
def test_transparent_is_white_where_0_is_white(tmp_path: Path, kind: str):
    path = tmp_path / "a.tif"
    grey, alpha = RGB[..., 0], np.full(RGB.shape[:2], 255, np.uint8)
    alpha[:, 64:128] = 0
    own = np.where(alpha, 255 - grey, 0) if kind == "assocalpha" else 255 - grey
    tifffile.imwrite(
        path,
        np.dstack([own, alpha]).astype(np.uint8),
        photometric="miniswhite",
        planarconfig="contig",
        extrasamples=[kind],
        tile=(64, 64),
    )
    assert off_by(read(path)[..., 0], np.where(alpha, grey, 255)) == 0


@pytest.mark.parametrize("compression", [None, "group4"])
def test_one_bit_is_black_and_white(tmp_path: Path, compression):
    path, mask = tmp_path / "a.tif", RGB[..., 0] > 100
    options = {} if compression is None else {"compression": compression}
    Image.fromarray(mask).save(path, **options)
    with tifffile.TiffFile(path) as tiff:
        codec = tiff.pages[0].compression
    if codec not in tifffile.TIFF.DECOMPRESSORS:  # of older imagecodecs
        with pytest.raises(SlideError, match=r"CCITT_T6 \(4\), which is not served"):
            open_slide(path)
        return
    assert off_by(read(path)[..., 0], mask * 255) == 0
    Image.new("1", (64, 64), 1).save(path, **options)
    assert (read(path) == 255).all()


def test_four_bits_reach_from_black_to_white(tmp_path: Path):
    path, values = tmp_path / "a.tif", RGB[..., 0] >> 4
    packed = (values[:, ::2] << 4 | values[:, 1::2]).tobytes()
    options = {"shape": values.shape, "dtype": "u1", "rowsperstrip": len(values)}
    tifffile.imwrite(path, iter([packed]), photometric="minisblack", bitspersample=4, **options)
    with open_slide(path) as slide:
        assert off_by(whole(slide)[..., 0], values * 17) == 0
        assert any("4-bit" in note for note in slide.notes)


def test_a_palette_of_eight_bits(tmp_path: Path):
    """Some writers fill no more than the lower half of its numbers of 16 bits."""
    table = np.tile(np.arange(256, dtype=np.uint16), (3, 1))
    for name, palette in (("wide", table * 257), ("narrow", table)):
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, RGB[..., 0], photometric="palette", colormap=palette, tile=(64, 64))
        assert off_by(read(path)[..., 1], RGB[..., 0]) == 0


def test_a_palette_of_two_colours(tmp_path: Path):
    path, mask = tmp_path / "a.tif", RGB[..., 0] > 100
    table = np.zeros((3, 2), np.uint16)
    table[:, 0], table[:, 1] = (0, 65535, 0), (65535, 0, 257)
    about = {"shape": mask.shape, "dtype": "u1", "bitspersample": 1, "rowsperstrip": len(mask)}
    packed = np.packbits(mask, axis=1).tobytes()
    tags = [(320, "H", 6, tuple(table.ravel().tolist()), True)]
    tifffile.imwrite(path, iter([packed]), photometric="minisblack", extratags=tags, **about)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[0].tags[262].overwrite(3)
    expected = np.where(mask[..., None], (255, 0, 1), (0, 255, 0))
    assert off_by(read(path), expected) == 0


@pytest.mark.parametrize("photometric", [77, 51177])
def test_colours_of_no_known_kind_are_refused(tmp_path: Path, photometric: int):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB, photometric="rgb", tile=(64, 64))
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[0].tags[262].overwrite(photometric)
    with pytest.raises(SlideError, match=f"not known .{photometric}.*save it as RGB"):
        open_slide(path)


def test_labels_of_ngff_are_no_picture(tmp_path: Path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("0", shape=(64, 64), dtype="i4", chunks=(64, 64))
    group.attrs["multiscales"] = [{"axes": ["y", "x"], "datasets": [{"path": "0"}]}]
    group.attrs["image-label"] = {"version": "0.4"}
    with pytest.raises(SlideError, match=r"labels of an image.*name the folder of that image"):
        open_slide(tmp_path / "a.zarr")


def test_bits_that_the_file_states(tmp_path: Path):
    """A dark picture stays dark where the file says how bright white is."""
    path = tmp_path / "a.tif"
    dark = (RGB // 4).astype(np.uint16) * 16
    tifffile.imwrite(
        path, dark, photometric="rgb", tile=(64, 64), extratags=[(281, "H", 3, (4095,) * 3, True)]
    )
    assert off_by(read(path), RGB // 4) <= 1


@pytest.mark.parametrize("tag", ["MaxSampleValue", "SignificantBits"])
@pytest.mark.parametrize("alpha", [False, True])
def test_bits_that_the_values_go_beyond_are_not_believed(tmp_path: Path, tag: str, alpha: bool):
    """Else all but the darkest would be white."""
    pixels = RGB.astype(np.uint16) * 257
    options = {"photometric": "rgb", "tile": (64, 64)}
    if alpha:
        pixels = np.dstack([pixels, np.full_like(pixels[..., :1], 65535)])
        options["extrasamples"] = ["unassalpha"]
    path = tmp_path / "a.ome.tif"
    if tag == "MaxSampleValue":
        options["extratags"] = [(281, "H", 3 + alpha, (1023,) * (3 + alpha), True)]
        tifffile.imwrite(path, pixels, metadata=None, **options)
    else:
        tifffile.imwrite(path, pixels, metadata={"axes": "YXS", "SignificantBits": 10}, **options)
    assert off_by(read(path), RGB) <= 1


def test_a_hot_pixel_does_not_make_a_picture_dark(tmp_path: Path):
    path = tmp_path / "a.tif"
    values = RGB.astype(np.uint16) * 16
    values[5, 5] = 65535
    tag = [(281, "H", 3, (4095,) * 3, True)]
    tifffile.imwrite(path, values, photometric="rgb", tile=(64, 64), extratags=tag)
    pixels = read(path)
    assert (pixels[5, 5] == 255).all()
    pixels[5, 5] = RGB[5, 5]
    assert off_by(pixels, RGB) <= 1


@pytest.mark.parametrize("top", [1, 255])
def test_what_is_no_number_is_background(tmp_path: Path, top: int):
    path = tmp_path / "a.tif"
    values = (RGB / 255 * top).astype("f4")
    values[:, 64:100] = np.nan
    tifffile.imwrite(path, values, photometric="rgb", tile=(64, 64))
    expected = RGB.copy()
    expected[:, 64:100] = 255
    assert off_by(read(path), expected) <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", "strips.tif"])
def test_orientation_as_viewers_show_it(tmp_path: Path, orientation: int, suffix: str):
    path = tmp_path / f"a{suffix}"
    if suffix.endswith(".tif"):
        tile = (64, 64) if suffix == ".tif" else None
        tag = [(274, "H", 1, orientation, True)]
        tifffile.imwrite(path, RGB, photometric="rgb", tile=tile, extratags=tag, metadata=None)
        exif = Image.Exif()
        exif[274] = orientation
        shown = Image.fromarray(RGB)
        shown.getexif()[274] = orientation
    else:
        exif = Image.Exif()
        exif[274] = orientation
        Image.fromarray(RGB).save(path, exif=exif, quality=95, subsampling=0)
        shown = Image.open(path)
    expected = np.asarray(ImageOps.exif_transpose(shown))
    with open_slide(path) as slide:
        assert (slide.width, slide.height) == expected.shape[1::-1]
        np.testing.assert_array_equal(whole(slide), expected)
        part = slide.read_region(Region(20, 30, 90, 70), (90, 70))
        np.testing.assert_array_equal(part.pixels, expected[30:100, 20:110])


@pytest.mark.parametrize("where", ["behind", "text", "webp", "broken"])
def test_orientation_wherever_it_is_written(tmp_path: Path, where: str):
    """EXIF may follow the pixels of a PNG, and programs wrote it as text before it had a chunk."""
    exif = Image.Exif()
    exif[274] = 6
    data, path = exif.tobytes(), tmp_path / "a.png"
    if where == "webp":
        path = tmp_path / "a.webp"
        Image.fromarray(RGB).save(path, lossless=True, exif=exif)
    elif where == "text":
        text = f"\nexif\n{len(data):8d}\n{data.hex()}\n"
        info = PngImagePlugin.PngInfo()
        info.add_text("Raw profile type exif", text, zip=True)
        Image.fromarray(RGB).save(path, pnginfo=info)
    else:
        Image.fromarray(RGB).save(path)
        content = b"eXIf" + (data.removeprefix(b"Exif\0\0") if where == "behind" else b"none")
        chunk = (len(content) - 4).to_bytes(4, "big") + content
        chunk += zlib.crc32(content).to_bytes(4, "big")
        whole_file = path.read_bytes()
        path.write_bytes(whole_file[:-12] + chunk + whole_file[-12:])
    shown = Image.fromarray(RGB)
    shown.getexif()[274] = 1 if where == "broken" else 6
    np.testing.assert_array_equal(read(path), np.asarray(ImageOps.exif_transpose(shown)))


@pytest.mark.parametrize("top", [4095, 65535])
@pytest.mark.parametrize("channels", ["rgb", "rgba", "grey and alpha"])
def test_a_png_of_16_bits_keeps_its_brightness(tmp_path: Path, top: int, channels: str):
    """Of each value the upper 8 bits alone would be dark where a camera fills 12."""
    values = np.rint(RGB / 255 * top).astype(np.uint16)
    alpha = np.full_like(values[..., :1], top)
    expected = RGB
    if channels == "rgba":
        values = np.dstack([values, alpha])
    elif channels == "grey and alpha":
        values, expected = np.dstack([values[..., :1], alpha]), np.repeat(RGB[..., :1], 3, axis=2)
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(values))
    with open_slide(path) as slide:
        assert off_by(whole(slide), expected) <= 1
        assert "uint16 pixels were stretched" in " ".join(slide.notes)


def test_a_cut_png_of_16_bits_is_an_error(tmp_path: Path):
    path = tmp_path / "a.png"
    content = imagecodecs.png_encode(RGB.astype(np.uint16) * 257)
    path.write_bytes(content[: len(content) // 2])
    with open_slide(path) as slide, pytest.raises(SlideError, match="cut off or damaged"):
        whole(slide)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif"])
def test_colours_are_those_of_the_file_and_not_of_its_name(tmp_path: Path, name: str):
    """A TIFF is read as one under any name, and a picture too."""
    tifffile.imwrite(tmp_path / "real.tif", RGB, photometric="cielab", tile=(64, 64))
    (tmp_path / "real.tif").rename(tmp_path / name)
    with pytest.raises(SlideError, match="CIELAB"):
        open_slide(tmp_path / name)
    Image.fromarray(RGB).save(tmp_path / "real.png")
    (tmp_path / "real.png").rename(tmp_path / "b.svs")
    np.testing.assert_array_equal(read(tmp_path / "b.svs"), RGB)


def test_a_program_is_not_run_for_what_is_no_picture(tmp_path: Path, monkeypatch):
    """Pillow hands PostScript to an interpreter."""
    monkeypatch.setattr(subprocess, "check_call", lambda *_, **__: pytest.fail("it was run"))
    Image.fromarray(RGB).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.png")
    with pytest.raises(SlideError, match="is not an image"):
        open_slide(tmp_path / "a.png")


def test_a_scale_turns_with_the_picture(tmp_path: Path):
    tag = [(274, "H", 1, 6, True)]
    options = {"resolution": (20000, 40000), "resolutionunit": 3, "metadata": None}
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB, photometric="rgb", tile=(64, 64), extratags=tag, **options)
    with open_slide(path) as slide:
        assert slide.info.mpp == (0.25, 0.5)


# fluorescence


PLANES = np.stack([RGB[..., 0], RGB[..., 1], RGB[..., 0][::-1], RGB[..., 1][:, ::-1]])


def write_ome(path: Path, count: int, **channel) -> Path:
    about = {"axes": "CYX", **({"Channel": channel} if channel else {})}
    tifffile.imwrite(
        path, PLANES[:count], metadata=about, photometric="minisblack", tile=(64, 64), ome=True
    )
    return path


@pytest.mark.parametrize(
    ("count", "channel"),
    [
        (3, {"Name": ["DAPI", "FITC", "TRITC"]}),
        (3, {"Color": [0x0000FFFF, 0x00FF00FF, -16776961]}),
        (3, {"EmissionWavelength": [460, 520, 580]}),
        (3, {"Name": ["Blue", "Green", "Red"]}),
        (4, {}),
        (2, {}),
    ],
)
def test_fluorescence_is_never_taken_for_rgb(tmp_path: Path, count: int, channel: dict):
    path = write_ome(tmp_path / "a.ome.tif", count, **channel)
    with pytest.raises(ChannelsError, match=f"{count} channels.*--channels") as caught:
        open_slide(path)
    with open_slide(path, channels=caught.value.offer) as slide:
        assert slide.info.channels == caught.value.offer
        assert any("composed of single channels" in note for note in slide.notes)
        assert whole(slide).std() > 0


def test_three_channels_of_no_name_are_rgb_and_it_is_said(tmp_path: Path):
    with open_slide(write_ome(tmp_path / "a.ome.tif", 3)) as slide:
        np.testing.assert_array_equal(whole(slide), np.moveaxis(PLANES[:3], 0, -1))
        assert any("without names" in note for note in slide.notes)


def test_the_user_chooses_channels_and_colours(tmp_path: Path):
    path = write_ome(tmp_path / "a.ome.tif", 4, Name=["DAPI", "FITC", "Cy3", "Cy5"])
    pixels = read(path, channels="DAPI=blue, 2=#ff0000")
    assert (pixels[..., 1] == 0).all()
    for channel, plane in ((2, PLANES[0]), (0, PLANES[1])):
        assert np.corrcoef(pixels[..., channel].ravel(), plane.ravel())[0, 1] > 0.999
    np.testing.assert_array_equal(read(path, channels="rgb"), np.moveaxis(PLANES[:3], 0, -1))


@pytest.mark.parametrize(
    ("wanted", "says"), [("9=red", "no channel"), ("DAPI=mauve", "no colour"), ("x", "no channel")]
)
def test_a_choice_that_is_not_there(tmp_path: Path, wanted: str, says: str):
    path = write_ome(tmp_path / "a.ome.tif", 4, Name=["DAPI", "FITC", "Cy3", "Cy5"])
    with pytest.raises(SlideError, match=says):
        open_slide(path, channels=wanted)


@pytest.mark.parametrize(
    ("count", "omero", "outcome"),
    [
        (4, None, ChannelsError),
        (3, [("DAPI", "0000FF"), ("FITC", "00FF00"), ("Cy3", "FF0000")], ChannelsError),
        (3, [("", "0000FF"), ("", "00FF00"), ("", "FF0000")], ChannelsError),
        (3, [("Red", "FF0000"), ("Green", "00FF00"), ("Blue", "0000FF")], None),
        (3, None, None),
        (5, None, ChannelsError),
    ],
)
def test_channels_of_ngff(tmp_path: Path, count: int, omero, outcome):
    path = tmp_path / "a.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=2)
    planes = np.concatenate([PLANES, PLANES])[:count]
    array = group.create_array("0", shape=planes.shape, dtype="u1", chunks=(1, 64, 64))
    array[:] = planes
    axes = [{"name": "c", "type": "channel"}, *({"name": n, "type": "space"} for n in "yx")]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}]
    if omero is not None:
        named = [{"label": label, "color": colour} for label, colour in omero]
        group.attrs["omero"] = {"channels": named}
    if outcome is None:
        np.testing.assert_array_equal(read(path), np.moveaxis(planes[:3], 0, -1))
    else:
        with pytest.raises(outcome):
            open_slide(path)
        assert read(path, channels="1=red").any()


# profiles


def profile() -> bytes:
    """A profile that exchanges nothing but the white point: what it does can be computed."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_one_switch_for_the_profile(tmp_path: Path, suffix: str):
    path = tmp_path / f"a{suffix}"
    if suffix == ".png":
        Image.fromarray(RGB).save(path, icc_profile=profile())
    else:
        tifffile.imwrite(path, RGB, photometric="rgb", tile=(64, 64), iccprofile=profile())
    with open_slide(path) as slide:
        assert slide.info.icc == "ignored"
        np.testing.assert_array_equal(whole(slide), RGB)
    with open_slide(path, icc=True) as slide:
        assert slide.info.icc == "applied"
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile()))
        to_srgb = ImageCms.buildTransform(own, ImageCms.createProfile("sRGB"), "RGB", "RGB")
        expected = np.asarray(ImageCms.applyTransform(Image.fromarray(RGB), to_srgb))
        assert off_by(whole(slide), expected) <= 1
        assert off_by(np.asarray(slide.display_levels()[0]), expected) <= 1


def test_without_a_profile_there_is_nothing_to_switch(tmp_path: Path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    with open_slide(tmp_path / "a.png", icc=True) as slide:
        assert slide.info.icc == "none"


def test_a_broken_profile_is_ignored_and_said(tmp_path: Path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RGB, photometric="rgb", tile=(64, 64), iccprofile=b"no profile" * 20)
    with open_slide(path, icc=True) as slide:
        assert slide.info.icc == "ignored"
        assert any("ICC" in note for note in slide.notes)
        np.testing.assert_array_equal(whole(slide), RGB)
