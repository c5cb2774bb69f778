"""How long a slide run will take, said before it starts: from how fast the model has answered here.

The pace of a model, in FLOPs a second, is that of its earlier answers on this machine. It is kept
with the docks' state, so that the first run of another day has an estimate too.
"""

from __future__ import annotations

from collections.abc import Iterable

from napari_pathreason.budgets import native_tokens
from napari_pathreason.engine import budget_flops
from napari_pathreason.geometry import Region
from napari_pathreason.slide_run import RunSettings, TileRecord
from napari_pathreason.types import ModelInfo

from ._session import Session
from ._views import pace

WORTH_KEEPING = 0.1
"""By what share a pace must differ from the one that is kept, to take its place."""


def known_pace(session: Session, model_id: str, info: ModelInfo | None) -> float | None:
    """FLOPs a second of a model on this machine; None where it has not answered here yet."""
    own = None if info is None else pace(session.entries, info)
    return session.memory.state.paces.get(model_id) if own is None else own


def keep_pace(session: Session, model_id: str, records: Iterable[TileRecord]) -> None:
    """Keep the pace of a run for the next one."""
    flops = seconds = 0.0
    for record in records:
        if record.tokens is not None:
            flops += record.tokens.flops
            seconds += sum(record.seconds.values())
    if not flops or not seconds:
        return
    paces = session.memory.state.paces
    now = flops / seconds
    if abs(now - paces.get(model_id, 0.0)) > WORTH_KEEPING * now:
        session.memory.keep(paces={**paces, model_id: now})


def run_seconds(settings: RunSettings, tiles: int, info: ModelInfo, pace: float) -> float:
    """Seconds that a run takes at most.

    Tiles without tissue are not asked, and an allocator may spend less than a tile can have.

    Parameters
    ----------
    settings : RunSettings
    tiles : int
        All tiles of the slide.
    info : ModelInfo
    pace : float
        FLOPs a second.
    """
    tile = Region(0, 0, settings.tile, settings.tile)
    tokens = native_tokens(tile, info.dims.token_px)
    if info.max_visual_tokens is not None:
        tokens = min(tokens, info.max_visual_tokens)
    if isinstance(settings.budget, int):
        tokens = min(tokens, settings.budget)
    (flops,) = budget_flops((tokens,), info)
    return tiles * flops / pace


def time_words(seconds: float) -> str:
    """A time in words, such as ``40 s``, ``3 min`` or ``2 h 10 min``."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    if not hours:
        return f"{minutes} min"
    return f"{hours:,} h {rest} min" if rest and hours < 24 else f"{round(minutes / 60):,} h"
