from ._answer import most_tokens as most_tokens
from ._cluster import AnswersOnCluster as AnswersOnCluster, LoadModels as LoadModels
from ._events import (
    Progress as Progress,
    RunCancelled as RunCancelled,
    RunEvent as RunEvent,
    RunFailed as RunFailed,
    RunFinished as RunFinished,
    RunStarted as RunStarted,
    TileDone as TileDone,
)
from ._folder import holds_run as holds_run, locked as locked
from ._heat import HeatMap as HeatMap
from ._merge import Lesion as Lesion, merge as merge
from ._outcome import Outcome as Outcome
from ._overrides import (
    Override as Override,
    TileBudget as TileBudget,
    overrides_of as overrides_of,
    raised as raised,
    read_overrides as read_overrides,
)
from ._plan import FORMAT as FORMAT, Identity as Identity, RunPlan as RunPlan
from ._record import TileRecord as TileRecord
from ._run import Answers as Answers, AnswersHere as AnswersHere, run_slide as run_slide
from ._settings import DetectSettings as DetectSettings
from ._tally import Tally as Tally, reliability_of as reliability_of, tally_of as tally_of
from ._tiles import Tile as Tile, lay_tiles as lay_tiles, starts as starts, tile_side as tile_side
from ._used import used_model as used_model
