from ._answer import Answers as Answers, AnswersHere as AnswersHere, most_tokens as most_tokens
from ._classes import (
    NO_CLASS as NO_CLASS,
    NO_CLASS_COLOUR as NO_CLASS_COLOUR,
    ClassShare as ClassShare,
    ClassTally as ClassTally,
    class_colours as class_colours,
    class_shares as class_shares,
    map_shape as map_shape,
    percent as percent,
)
from ._cluster import AnswersOnCluster as AnswersOnCluster, LoadModels as LoadModels
from ._files import (
    HeatMap as HeatMap,
    has_unreliable_class as has_unreliable_class,
    is_finished as is_finished,
)
from ._folder import (
    holds_run as holds_run,
    read_own as read_own,
    read_plan as read_plan,
    write_own as write_own,
)
from ._identity import differences as differences, model_identity as model_identity
from ._merge import Lesion as Lesion, lesions_of as lesions_of, merge as merge
from ._outcome import Outcome as Outcome
from ._plan import (
    FORMAT as FORMAT,
    Identity as Identity,
    RunPlan as RunPlan,
    used_model as used_model,
)
from ._question import check_kept as check_kept, run_kept as run_kept
from ._record import (
    Tally as Tally,
    TileRecord as TileRecord,
    reliability_of as reliability_of,
    tally_of as tally_of,
)
from ._run import (
    Progress as Progress,
    RunCancelled as RunCancelled,
    RunEvent as RunEvent,
    RunFailed as RunFailed,
    RunFinished as RunFinished,
    RunStarted as RunStarted,
    TileDone as TileDone,
    follow as follow,
    run_slide as run_slide,
)
from ._settings import (
    Override as Override,
    RunSettings as RunSettings,
    TileBudget as TileBudget,
    overrides_of as overrides_of,
    raised as raised,
    read_overrides as read_overrides,
)
from ._tiles import (
    Tile as Tile,
    lay_tiles as lay_tiles,
    tile_layout as tile_layout,
    tile_side as tile_side,
)
from ._unchanged import LoadSame as LoadSame, SameSlide as SameSlide
