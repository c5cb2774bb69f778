"""TIFF in its many layouts: SVS, OME-TIFF, NDPI, SCN, BIF, generic, tiled or flat.

The directories are walked first (`_directories`), then tifffile says which pages are pictures, then
the largest one is read by native tiles (`_tiff_source`). At open it is checked what can be checked
cheaply: that tiles can be decoded, that levels show the same picture, that OpenSlide agrees.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.errors import SlideError, reading
from napari_pathreason.files import is_there

from . import _limits as limits
from ._agree import check_tiles
from ._arrays import ArraySource
from ._channels import Unnamed, channels_named, is_fluorescence
from ._colour import Colours, Rgb, with_bits
from ._cut import is_cut
from ._directories import Directories, walk
from ._flat import HELP, LazyPicture, other_kind
from ._jpeg import strict_decoder
from ._ome import Ome, OmeImage, parse_ome
from ._openslide import OpenSlideSource
from ._overlap import focal_planes, mpp_of_ventana, tiles_overlap
from ._page_colour import colours_of_page
from ._pyramid import (
    RIVAL,
    Picture,
    choose_picture,
    faults_of,
    is_masked,
    levels_that_show_it,
    more_levels,
    sorted_levels,
)
from ._scale import Stated, mpp_of_aperio, mpp_of_leica, mpp_of_tags, mpp_of_tiffslide
from ._source import Source, Window, check_coarsest
from ._tiff_source import HEADER, UNPACKED, Level, TiffSource, grid_of

BLOCK = 4_194_304  # pixels of the largest strip or tile that is decoded for a part of it
ORIENTATION, PROFILE = 274, 34675
OVERLAP = "its tiles overlap, and only OpenSlide lays them right; export it as OME-TIFF"
MASKED = (
    "a mask beside it says where it is transparent; it was not applied, and what lies below it is "
    "shown as it is stored"
)
LAID = "the slide was read with OpenSlide, as its tiles overlap"


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """What was opened: pixels as they lie in the file, and what it says of them.

    Parameters
    ----------
    source : Source
    stated : tuple of Stated
        Of the size of a level-0 pixel.
    orientation : int
        1 for upright, see `OrientedSource`.
    profile : bytes, optional
        ICC profile.
    """

    source: Source
    stated: tuple[Stated, ...] = ()
    orientation: int = 1
    profile: bytes | None = None


def open_tiff(path: Path, cache: int, channels: str = "") -> OpenedFile:
    """Open the largest picture of a TIFF.

    Parameters
    ----------
    path : Path
    cache : int
        Bytes of decoded tiles that stay for the next read.
    channels : str
        What the user chose, see `channels_named`.

    Raises
    ------
    SlideError
        If it is no image, a stack, damaged beyond reading, or of colours that are not read right.
    """
    import tifffile

    try:
        directories = walk(path)
    except SlideError as error:
        raise _unreadable(path, error) from None
    if not directories.by_offset:
        raise SlideError(f"{path.name} cannot be read as an image, or is cut off; {HELP}")
    with ExitStack() as files, _quiet():  # closes what no source takes over
        with reading(path.name, SlideError, HELP):
            tiff = files.enter_context(tifffile.TiffFile(path))
            ome = _checked_set(path, tiff, directories)
            chosen, others = choose_picture(tiff, path.name)
            if tiles_overlap(tiff, chosen):
                notes_of_overlap = (LAID, *focal_planes(tiff, chosen))
                files.close()
                return open_with_openslide(path, notes_of_overlap, OVERLAP)
        faults = {offset: one.fault for offset, one in directories.by_offset.items()}
        image, ome_notes = _image_of(ome, tiff, chosen)
        with reading(path.name, SlideError, HELP):
            levels, notes = _levels(path, chosen, others, faults)
            doubt = directories.by_offset.get(levels[0].page.offset)
            if doubt is not None and doubt.doubt:
                notes.append(doubt.doubt)
            notes += [*ome_notes, *focal_planes(tiff, chosen)]
            if is_masked(tiff, levels[0]):
                notes.append(MASKED)
            if directories.cut:
                notes.append("the file is cut off: pages at its end are missing")
            colours = _colours(path.name, tiff, levels[0], image, channels)
            page = levels[0].page
            orientation = _orientation(page)
            stated = tuple(_stated(path, tiff, page, chosen, image, files))
            profile = page.tags.valueof(PROFILE, None)
        if _is_flat(levels[0]):
            source: Source = _flat(path, chosen, levels[0], colours, tuple(notes))
        else:
            levels = [level for level in levels if not _is_flat(level)]
            check_coarsest(path.name, levels[-1].tiles)
            tiles = TiffSource(path, tiff, levels, colours, cache, tuple(notes))
            files.pop_all()
            with reading(path.name, SlideError, HELP):
                source = _checked(path, tiles)
        return OpenedFile(
            source, stated, orientation, profile if isinstance(profile, bytes) else None
        )


def _unreadable(path: Path, error: SlideError) -> SlideError:
    if "no TIFF" not in str(error):
        return error
    return SlideError(other_kind(path) or f"{path.name} cannot be read as an image; {HELP}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep tifffile from printing on the way what is said in one line at the end."""
    logger = logging.getLogger("tifffile")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _checked_set(path: Path, tiff: Any, directories: Directories) -> Ome | None:
    """OME metadata, after a look at whether the files and planes that they name are there.

    Raises
    ------
    SlideError
        If they are not: libraries then give black planes, or as many as they are told.
    """
    if not tiff.is_ome:
        return None
    text = tiff.ome_metadata
    if text is not None and len(text) > limits.XML:
        raise SlideError(f"the OME-XML of {path.name} is longer than any slide's; save it anew")
    ome = parse_ome(text)
    if ome is None:
        return None
    if ome.fault:
        raise SlideError(f"the OME-XML of {path.name} {ome.fault}; save it anew")
    if ome.elsewhere:
        raise SlideError(
            f"{path.name} is a part of a set whose metadata lie in {_plain(ome.elsewhere)}; save "
            "the set as one OME-TIFF"
        )
    for name in ome.named:
        other = path.parent / name
        in_folder = Path(name).name == name
        if other != path and is_there(other) and not (in_folder and other.is_file()):
            why = "is no file" if in_folder else "lies in another folder"
            raise SlideError(
                f"{path.name} is a part of a set, of which {_plain(name)} {why}; save the set as "
                "one OME-TIFF"
            )
    pages = len(directories.by_offset)
    for name in ome.files:
        other = path.parent / name
        if other == path:
            continue
        if not other.is_file():
            raise SlideError(
                f"{path.name} is a part of a set, and {_plain(name)} is missing; put it beside it"
            )
        pages += len(walk(other).by_offset)
    planes = sum(max(0, image.planes) for image in ome.images)
    if planes > pages:
        raise SlideError(
            f"the OME metadata of {path.name} name {planes:,} planes, but it holds {pages:,}; get "
            "a whole copy"
        )
    return ome


def _plain(name: str) -> str:
    """A name from inside a file, fit for one line."""
    return "".join(c for c in Path(name).name if c.isprintable())[:80] or "another file"


def _image_of(
    ome: Ome | None, tiff: Any, chosen: Picture
) -> tuple[OmeImage | None, tuple[str, ...]]:
    """What OME metadata say of the chosen picture, and what must be known of that.

    Some images are described and lie elsewhere; of a size that is not that of the picture, nothing
    is believed.
    """
    images = [] if ome is None else [image for image in ome.images if image.is_here]
    if not images or not chosen.levels:
        return None, ()
    size = chosen.levels[0].size
    if len(images) == len(tiff.series):
        found = [images[chosen.index]]
    else:
        fitting = [image for image in images if image.size == size]
        found = [image for image in fitting if image.name == chosen.name] or fitting or images
    if len(found) > 1:
        return None, (
            f"its OME metadata describe {len(found)} pictures that may be this one; none of them "
            "was believed",
        )
    image = found[0]
    if image.size == size:
        return image, ()
    (across, down), (width, height) = image.size, size
    return replace(image, mpp=None), (
        f"its OME metadata describe a picture of {across:,} x {down:,} px, but it has {width:,} x "
        f"{height:,} px; their scale was not believed",
    )


def _levels(
    path: Path, chosen: Picture, others: list[Picture], faults: dict[int, str]
) -> tuple[list[Level], list[str]]:
    """Levels that can be read, and what was left out."""
    base = chosen.levels[0]
    if int(base.page.imagedepth) > 1:
        raise SlideError(
            f"{path.name} is a stack of {int(base.page.imagedepth)} planes in depth; save one of "
            "them"
        )
    fault = faults_of(base, faults) or _oddity(base)
    if fault:
        raise SlideError(f"{path.name} is damaged: {fault}; get a whole copy")
    notes = []
    good = []
    for level in (*chosen.levels[1:], *more_levels(chosen, others)):
        fault = faults_of(level, faults) or _oddity(level)
        if fault:
            notes.append(
                f"a level of {level.size[0]:,} x {level.size[1]:,} px is damaged ({fault}) and was "
                "left out"
            )
        elif _is_like(base, level):
            good.append(level)
    levels = [base, *sorted_levels([level for level in good if level.size[0] < base.size[0]])]
    own = {id(level.page) for level in levels}
    more = [one for one in others if one.levels and id(one.levels[0].page) not in own]
    rivals = [one for one in more if RIVAL * one.area >= chosen.area]
    if rivals:
        which = (
            "the one with levels" if max(r.area for r in rivals) > chosen.area else "the largest"
        )
        notes.append(f"the file holds {len(rivals) + 1} large pictures; {which} was opened")
    return levels, notes


def _is_like(base: Level, level: Level) -> bool:
    """Whether values of a level mean what those of level 0 do."""
    return bool(
        level.page.dtype == base.page.dtype
        and level.page.samplesperpixel == base.page.samplesperpixel
        and level.page.photometric == base.page.photometric
        and len(level.pages) == len(base.pages)
    )


def _oddity(level: Level) -> str:
    """What no decoder makes a picture of; empty for nothing."""
    import tifffile

    page = level.page
    if page.dtype is None:
        return "the type of its pixels is lost"
    if int(page.imagedepth) != 1:
        return "it is a volume"
    compression = int(page.compression)
    try:
        known = compression == 1 or compression in tifffile.TIFF.DECOMPRESSORS
    except Exception:  # a codec whose library is missing
        known = False
    if not known:
        try:
            named = tifffile.COMPRESSION(compression).name
        except ValueError:
            named = "an unknown codec"
        return f"its tiles are packed with {named} ({compression}), which is not served"
    tile = grid_of(page)
    if tile[0] * tile[1] * int(page.samplesperpixel) * np.dtype(page.dtype).itemsize > (
        limits.TILE_BYTES if page.is_tiled else 4 * limits.FLAT_PIXELS
    ):
        return f"a tile of {tile[0]:,} x {tile[1]:,} px is larger than memory should hold"
    return ""


def _colours(name: str, tiff: Any, level: Level, image: OmeImage | None, wanted: str) -> Colours:
    """What the numbers of a level mean, by its tags, its OME channels, and the user's choice."""
    page = level.page
    bits = 0 if image is None else image.bits
    count = len(level.pages) * int(page.samplesperpixel)
    try:
        colours = with_bits(colours_of_page(page, name), bits)
        dtype = colours.dtype
        if len(level.pages) == 1:
            if not wanted.strip() or colours.kind == "palette":
                return colours
            names = ["red", "green", "blue"] if colours.kind == "rgb" else [""]
            return channels_named(name, names, dtype, wanted, False, colours.bits)
        if colours.kind != "grey" or colours.inverted:
            raise SlideError(f"{name} is a stack of {len(level.pages)} pictures; save one of them")
    except Unnamed as several:
        dtype, bits = several.dtype, several.bits or bits
    names, waves = [""] * count, [False] * count
    known: list[Rgb | None] = [None] * count
    if image is not None and image.channels:
        listed = [one for one in image.channels for _ in range(one.samples)][:count]
        for index, one in enumerate(listed):
            names[index], known[index], waves[index] = one.name, one.colour, one.wavelength
    about = tiff.imagej_metadata or {}
    fluorescent = is_fluorescence(names, known, waves) or about.get("mode") == "composite"
    return channels_named(name, names, dtype, wanted, fluorescent, bits, known)


def _orientation(page: Any) -> int:
    value = page.tags.valueof(ORIENTATION, 1)
    return int(value) if value in range(1, 9) else 1


def _stated(
    path: Path, tiff: Any, page: Any, chosen: Picture, image: OmeImage | None, files: ExitStack
) -> Iterator[Stated]:
    """What a file says of its scale, part by part."""
    vendor = None
    texts = [str(one.description) for one in (page, tiff.pages[0])]
    if any(text.startswith("Aperio") for text in texts):
        vendor = next(filter(None, map(mpp_of_aperio, texts)), None)
    elif chosen.kind == "ndpi":
        vendor = mpp_of_tags(page)
    elif chosen.kind == "bif":
        vendor = mpp_of_ventana(tiff)
    elif chosen.kind == "scn":
        size = chosen.levels[0].size
        vendor = next(filter(None, (mpp_of_leica(text, size) for text in texts)), None)
    elif chosen.kind not in ("ome", "imagej", "generic", "uniform", "shaped", ""):
        vendor = _mpp_of_vendor(path)
    if vendor is not None:
        yield Stated("vendor", vendor)
    if image is not None and image.mpp is not None:
        yield Stated("OME", image.mpp)
    by_tags = mpp_of_tags(page)
    if by_tags is not None and chosen.kind != "ndpi":
        yield Stated("TIFF", by_tags)


def _mpp_of_vendor(path: Path) -> tuple[float, float] | None:
    from tiffslide import TiffSlide

    try:
        with closing(TiffSlide(path)) as slide:
            return mpp_of_tiffslide(slide)
    except Exception:  # tiffslide raises many kinds for what it does not know
        return None


def _is_flat(level: Level) -> bool:
    """Whether a strip or tile is too large to be decoded for a part of it."""
    width, length = level.grid
    return width * length > BLOCK


def _flat(
    path: Path, chosen: Picture, level: Level, colours: Colours, notes: tuple[str, ...]
) -> ArraySource:
    """A picture that has to be decoded whole, at its first read.

    Raises
    ------
    SlideError
        If it is too large; when read, if it is cut off.
    """
    width, height = level.size
    if width * height > limits.FLAT_PIXELS:
        raise SlideError(
            f"{path.name} is {width:,} x {height:,} px in one piece, too large to be decoded "
            "whole; save it as a tiled, pyramidal TIFF"
        )
    count = len(level.pages) * int(level.page.samplesperpixel)

    def load() -> NDArray[Any]:
        import tifffile

        damaged = f"{path.name} is cut off or damaged; copy the file again"
        try:
            with tifffile.TiffFile(path) as tiff:
                levels = tiff.series[chosen.index].levels
                series = next(one for one in levels if one.keyframe.offset == level.page.offset)
                _check_packed(tiff, series)
                pixels = np.asarray(series.asarray())
        except Exception:  # codecs raise whatever they like
            raise SlideError(damaged) from None
        axes = str(series.axes)
        left = "".join(
            axis for axis, size in zip(axes, pixels.shape, strict=True) if size > 1 or axis in "YX"
        )
        pixels = pixels[tuple(slice(None) if axis in left else 0 for axis in axes)]
        channels = [axis for axis in "CS" if axis in left]
        pixels = np.transpose(pixels, [left.index(axis) for axis in ("Y", "X", *channels)])
        if pixels.size != width * height * count:
            raise SlideError(damaged)
        return pixels.reshape(height, width, count)

    picture = LazyPicture((height, width, count), level.page.dtype, load, _empty(level))
    return ArraySource([picture], None, colours, path.name, notes)


def _empty(level: Level) -> list[Window]:
    """Where tiles or strips lie that no page has; a library fills them with black."""
    (width, height), (across, down) = level.size, level.grid
    columns = -(-width // across)
    windows = []
    for index in range(level.tiles):
        places = [index + plane * level.tiles for plane in range(level.planes)]
        counts = [page.databytecounts[at] for page in level.pages for at in places]
        if not any(counts):
            left, top = index % columns * across, index // columns * down
            windows.append((left, top, min(left + across, width), min(top + down, height)))
    return windows


def _check_packed(tiff: Any, series: Any) -> None:
    """Raise for strips whose decoder would fill up what is missing, and for those that lie nowhere.

    Raises
    ------
    SlideError
        If one is damaged.
    """
    key = series.keyframe
    for page in series.pages:
        if page is None:
            continue
        decode = strict_decoder(key, grid_of(key))
        tables, header = (getattr(page, name, None) for name in ("jpegtables", "jpegheader"))
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            if not count:
                continue
            if offset < HEADER:
                raise SlideError("a strip lies nowhere")
            if int(key.compression) == UNPACKED:
                continue
            tiff.filehandle.seek(offset)
            data = tiff.filehandle.read(count)
            if decode is not None:
                decode(data, tables, header)
            elif is_cut(data):
                raise SlideError("a strip is cut off")


def _checked(path: Path, source: TiffSource) -> Source:
    """The source, or OpenSlide's in its place, after a look at some tiles.

    Raises
    ------
    SlideError
        If no tile can be decoded.
    """
    try:
        verdict = check_tiles(path, source)
        if verdict.others is not None:
            source.close()
            return verdict.others
        if verdict.unreadable:
            raise SlideError(
                f"{path.name} is damaged: none of the tiles that were tried can be decoded; get a "
                "whole copy"
            )
        beyond = source.lies_beyond()
        if beyond:
            source.add_notes(
                f"the file is cut off: {beyond:,} of {source.levels[0].tiles:,} tiles are missing"
            )
        own_levels = levels_that_show_it(source, source.busiest)
        dropped = [size for i, size in enumerate(source.level_sizes) if i not in own_levels]
        for width, height in dropped:
            source.add_notes(f"a page of {width:,} x {height:,} px shows another picture, no level")
        if dropped:
            source.keep_levels(own_levels)
        source.opened()
        return source
    except BaseException:
        source.close()
        raise


def open_with_openslide(
    path: Path, notes: tuple[str, ...] = (), remedy: str = "copy it again"
) -> OpenedFile:
    """Open a slide with OpenSlide.

    Parameters
    ----------
    path : Path
    notes : tuple of str
        What must be known of it.
    remedy : str
        What to do where it is not read.

    Raises
    ------
    SlideError
        If it does not read it.
    """
    source = OpenSlideSource(path, notes, remedy)
    try:
        source.check(path.name)
    except SlideError:
        source.close()
        raise
    stated = () if source.mpp is None else (Stated("vendor", source.mpp),)
    return OpenedFile(source, stated, profile=source.profile)
