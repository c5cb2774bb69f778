"""What a run is going to do, decided once and kept in its folder."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path

from napari_pathreason import exports, models, slides, tasks
from napari_pathreason.errors import QueryError
from napari_pathreason.files import Format
from napari_pathreason.types import Encoder, ModelInfo, Precision, Query, SlideInfo

from ._identity import AnswersKey, Sources, differences, key_of, other_sources
from ._record import TileRecord
from ._settings import Override, RunSettings, apply_overrides
from ._tiles import Tile, lay_tiles, tile_layout, tile_side

FORMAT = Format("slide run", 6, oldest=6)
"""Version 1 assessed no tile; answers of version 2 did not say to which run they belong, those of
version 3 knew a model by some of its weights alone, runs of version 4 looked for lesions alone, and
in one of version 5 nobody saw whether a figure was still the one that was written. None of them was
released."""
MOST_TILES = 1_000_000
"""Of a run: all of them are held in memory, and in one plan."""
MOST_ZOOM = 32
"""Pixels across that one of the slide may become: beyond that there is nothing to be seen."""
TILE_BYTES = 4_000
"""Memory of a tile, its record and its lesion until the files are written: 2.7 kB were measured
with one box and a rationale of one word, and rationales are longer."""
MOST_BYTES = 16_000_000_000
"""Of memory, for all tiles and for the pictures of those in hand."""
PIXEL_BYTES = 16
"""Memory of a pixel until its tile is answered: as it was decoded, resampled and in patches."""
TOKEN_PIXELS = 32**2
"""Of a visual token, in the family that has the largest."""
_GROUPS = 2
"""Groups of tiles in hand: the model is at one while the next one is read."""
_MASK_OF_TILE = 16
"""Mask pixels along the side of a tile."""
_MASK_MOST = 2048
"""Mask pixels along the longer side of a slide."""
_SPACE = uuid.UUID("5d0c9a3e-6d5f-4d0e-9b0b-0d6f2a1c7e55")


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes two runs the same.

    Parameters
    ----------
    slide : SlideInfo
    fingerprint : str
        Of the slide, empty where it is no file.
    settings : RunSettings
    model : str
        See `model_identity`.
    encoder : Encoder
        That was chosen for its vision encoder.
    """

    slide: SlideInfo
    fingerprint: str
    settings: RunSettings
    model: str
    encoder: Encoder = "exact"

    @property
    def sources(self) -> Sources:
        """Slide and model."""
        return Sources(self.slide, self.fingerprint, self.model, self.encoder)

    @property
    def key(self) -> AnswersKey:
        """Of the answers to this run's tiles, whatever budgets a user has set for some of them."""
        settings = asdict(replace(self.settings, overrides=()))
        return key_of(str(FORMAT), self.sources, settings)

    @property
    def run(self) -> str:
        """UUID that follows from all of it: the same run has the same everywhere."""
        return str(uuid.uuid5(_SPACE, json.dumps(asdict(self), sort_keys=True)))


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A run.

    Parameters
    ----------
    format : str
    run : str
        UUID.
    made : str
        When it began, ISO 8601 in UTC.
    identity : Identity
    used : UsedModel
    model : ModelInfo
    versions : dict of str
    group : int
        Tiles that are answered, and kept, together.
    mask_pixels : int
        Pixels that were decoded to find the tissue.
    tiles : tuple of Tile
        All of them, those without tissue too.
    notes : tuple of str
        What a reader of results must know of how tissue was looked for.
    """

    format: str
    run: str
    made: str
    identity: Identity
    used: exports.UsedModel
    model: ModelInfo
    versions: dict[str, str]
    group: int
    mask_pixels: int
    tiles: tuple[Tile, ...]
    notes: tuple[str, ...] = ()

    @property
    def slide(self) -> SlideInfo:
        """The slide."""
        return self.identity.slide

    @property
    def settings(self) -> RunSettings:
        """What is looked for, and how."""
        return self.identity.settings

    @property
    def query(self) -> Query:
        """What each tile is asked, with the choices that the model was trained to see behind it."""
        return tasks.as_trained(self.settings.query, self.model.metadata)

    @property
    def classes(self) -> tuple[str, ...]:
        """Answers that a tile may have, where they are classes; none where boxes are looked for."""
        return () if self.settings.is_detection else self.query.options

    @property
    def to_read(self) -> list[Tile]:
        """Tiles with tissue, but for what a user has decided."""
        return [tile for tile in self.tiles if tile.is_read(self.settings.min_tissue)]

    def groups(self) -> Iterator[tuple[Tile, ...]]:
        """Tiles that are answered together; always the same, however often a run is cut.

        A tile that a user leaves out, or adds, does not move the others to another group.
        """
        least = self.settings.min_tissue
        held = [tile for tile in self.tiles if tile.tissue >= least]
        added = [tile for tile in self.tiles if tile.tissue < least and tile.is_read(least)]
        for some in (held, added):
            for start in range(0, len(some), self.group):
                together = some[start : start + self.group]
                if group := tuple(tile for tile in together if tile.is_read(least)):
                    yield group

    def counts(self, record: TileRecord) -> bool:
        """Whether a kept answer is still one to what this run asks of its tile."""
        if not 0 <= record.index < len(self.tiles):  # a damaged disk
            return False
        tile = self.tiles[record.index]
        return record.override == tile.override and tile.is_read(self.settings.min_tissue)

    def with_overrides(self, overrides: Sequence[Override], folder: str) -> RunPlan:
        """The same run, but for tiles whose budget a user has set.

        Raises
        ------
        QueryError
            If a tile does not exist; ``folder`` is named then.
        """
        tiles = apply_overrides(self.tiles, overrides, folder)
        settings = replace(self.settings, overrides=tuple(overrides))
        identity = replace(self.identity, settings=settings)
        return replace(self, run=identity.run, identity=identity, tiles=tiles)


def make_plan(
    slide: slides.Slide,
    identity: Identity,
    used: exports.UsedModel,
    model: ModelInfo,
    batches: bool,
) -> RunPlan:
    """Lay the tiles and decide which hold tissue.

    Parameters
    ----------
    slide : Slide
    identity : Identity
    used : UsedModel
    model : ModelInfo
    batches : bool
        Whether the model answers several tiles at once.

    Raises
    ------
    QueryError, SlideError
        If the slide states no resolution, or cannot be read.
    """
    settings = identity.settings
    side = tile_side(settings.tile, settings.mpp, slide.info.mpp)
    tiles = lay_tiles(slide.width, slide.height, side, settings.overlap)
    zoom = min(_MASK_OF_TILE / max(side), _MASK_MOST / max(slide.width, slide.height), 1)
    size = (max(1, round(slide.width * zoom)), max(1, round(slide.height * zoom)))
    mask = slides.tissue_mask(slide, size)
    identity = replace(identity, settings=replace(settings, overrides=()))
    plan = RunPlan(
        format=str(FORMAT),
        run=identity.run,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        identity=identity,
        used=used,
        model=model,
        versions=exports.versions_here(),
        group=settings.batch if batches else 1,
        mask_pixels=mask.pixels_decoded,
        tiles=tuple(replace(tile, tissue=round(mask.share(tile.region), 4)) for tile in tiles),
        notes=mask.notes,
    )
    return plan.with_overrides(settings.overrides or (), slide.info.name)


def check_tiles(slide: SlideInfo, settings: RunSettings) -> None:
    """Refuse a run of more tiles or larger ones than can be held, before any of them is laid.

    Raises
    ------
    QueryError
        Says how many there would be, what they would take, and what to change.
    """
    side = tile_side(settings.tile, settings.mpp, slide.mpp)
    if min(side) * MOST_ZOOM < settings.tile:
        raise QueryError(
            f"a tile of {settings.tile:,} px would show {side[0]:,} x {side[1]:,} px of the slide; "
            f"give more µm per pixel (--mpp, now {settings.mpp:g})"
        )
    count = len(tile_layout(slide.width, slide.height, side, settings.overlap))
    laid = count * TILE_BYTES
    if count > MOST_TILES:
        raise QueryError(
            f"the slide ({slide.width:,} x {slide.height:,} px) has {count:,} tiles of "
            f"{side[0]:,} x {side[1]:,} px, which would take about {laid / 1e9:,.0f} GB of memory; "
            f"a run has at most {MOST_TILES:,}: give larger tiles (--tile, now {settings.tile}), "
            f"more µm per pixel (--mpp, now {settings.mpp:g}) or less overlap (--overlap, now "
            f"{settings.overlap:g})"
        )
    pixels = _pixels_of_tile(slide, settings)
    held = min(settings.batch, count) * _GROUPS * pixels * PIXEL_BYTES
    if laid + held > MOST_BYTES:
        raise QueryError(
            f"the pictures of {_GROUPS} x {settings.batch:,} tiles of {settings.tile:,} px and "
            f"{count:,} tiles would take about {(laid + held) / 1e9:,.0f} GB of memory; a run has "
            f"at most {MOST_BYTES / 1e9:,.0f}: give smaller tiles (--tile, now {settings.tile}), "
            f"fewer at once (--batch, now {settings.batch}) or a smaller --budget"
        )


def _pixels_of_tile(slide: SlideInfo, settings: RunSettings) -> int:
    """Of the largest picture that a tile is read at."""
    x, y = slide.mpp or (settings.mpp, settings.mpp)
    whole = slide.width * x / settings.mpp * slide.height * y / settings.mpp
    most = min(settings.tile**2, math.ceil(whole))
    if isinstance(settings.budget, int):
        return min(most, settings.budget * TOKEN_PIXELS)
    return most


def check_same(first: Identity, this: Identity, folder: str) -> None:
    """Refuse to go on with a run that was another one; overrides may differ.

    Raises
    ------
    QueryError
        Names what differs.
    """
    found = {"options": "lesions" if first.settings.is_detection else "classes"}
    settings = differences(_settings(first, found), _settings(this, found))
    other = [*other_sources(first.sources, this.sources), *settings]
    if replace(first, settings=this.settings) != this or settings:
        raise QueryError(
            f"the folder {folder} holds a run with {', '.join(other) or 'another slide'}; "
            "give the same again, or choose another folder"
        )


def check_encoder(encoder: Encoder, model: ModelInfo) -> None:
    """Refuse answers of a vision encoder that does not compute as that of a run's other tiles.

    The one that was chosen is part of the identity; which one runs depends on the machine too.

    Raises
    ------
    QueryError
        Names both, and what to do.
    """
    if model.encoder != encoder:
        why = f" ({model.notes[0]})" if model.notes else ""
        raise QueryError(
            f"the other tiles of this run were read by the {encoder} encoder, and here the "
            f"{model.encoder} one runs{why}; go on where it is the same, or choose another folder "
            "and the exact encoder"
        )


def _settings(identity: Identity, words: Mapping[str, str]) -> dict[str, object]:
    names = (field.name for field in fields(RunSettings) if field.name != "overrides")
    return {words.get(name, name): getattr(identity.settings, name) for name in names}


def check_classes(query: Query, model: ModelInfo) -> None:
    """Refuse a question over every tile whose answers are no classes.

    Raises
    ------
    QueryError
        If it has no choices, and the model was trained to see none behind it.
    """
    if query.task != "detection" and not tasks.as_trained(query, model.metadata).options:
        raise QueryError(
            "the answers to this question are no classes; give the choices, such as yes, no"
        )


def used_model(
    model_id: str,
    device: str = "auto",
    encoder: Encoder = "exact",
    precision: Precision = "auto",
    named: bool = False,
) -> exports.UsedModel:
    """Name and hash of a model, told apart by what it holds and not by where that lies.

    Of a model on a server the hash is that of its address and name, which stand in it themselves
    only where they are asked for, and of what was fitted and learnt of it here.

    Parameters
    ----------
    model_id : str
        ``embedded``, a folder, a hub id or the address of a server.
    device : str
        As it was chosen.
    encoder : Encoder
        As it was chosen.
    named : bool
        Whether a server and its model are named.
    precision : Precision
        As it was chosen.

    Raises
    ------
    ModelError
        If there is no such model.
    """
    if models.is_address(model_id):
        address = models.resolve_address(model_id)
        name, place = (address.model, str(address)) if named else ("a model on a server", "")
        return exports.UsedModel(name, place, "server", models.served_sha256(address))
    folder, name = models.find_checkpoint(model_id)
    is_id = model_id in (name, "embedded") and not Path(model_id).is_dir()
    sha256 = models.checkpoint_sha256(folder, name)
    return exports.UsedModel(name, model_id if is_id else "", device, sha256, encoder, precision)
