"""Lesions of whole slides: tile by tile, kept on disk as they come, joined across seams."""

from ._answer import most_tokens
from ._cluster import AnswersOnCluster, LoadModels
from ._events import (
    Progress,
    RunCancelled,
    RunEvent,
    RunFailed,
    RunFinished,
    RunStarted,
    TileDone,
)
from ._folder import holds_run, locked
from ._heat import HeatMap
from ._merge import Lesion, merge
from ._outcome import Outcome
from ._overrides import Override, TileBudget, overrides_of, raised, read_overrides
from ._plan import Plan
from ._record import TileRecord
from ._run import Answers, AnswersHere, run_slide
from ._settings import DetectSettings
from ._tally import Tally
from ._tiles import Tile, lay_tiles, starts, tile_side
from ._used import used_model

__all__ = [
    "Answers",
    "AnswersHere",
    "AnswersOnCluster",
    "DetectSettings",
    "HeatMap",
    "Lesion",
    "LoadModels",
    "Outcome",
    "Override",
    "Plan",
    "Progress",
    "RunCancelled",
    "RunEvent",
    "RunFailed",
    "RunFinished",
    "RunStarted",
    "Tally",
    "Tile",
    "TileBudget",
    "TileDone",
    "TileRecord",
    "holds_run",
    "lay_tiles",
    "locked",
    "merge",
    "most_tokens",
    "overrides_of",
    "raised",
    "read_overrides",
    "run_slide",
    "starts",
    "tile_side",
    "used_model",
]
