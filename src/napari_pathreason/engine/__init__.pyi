from ._boxes import to_detections as to_detections
from ._chances import log_odds as log_odds, scaled as scaled, token_chance as token_chance
from ._checks import check_query as check_query
from ._closer import (
    CLOSE as CLOSE,
    LOOK as LOOK,
    again as again,
    answer_of as answer_of,
    windows as windows,
)
from ._confidence import (
    Chances as Chances,
    Confidence as Confidence,
    confidence as confidence,
    read_chances as read_chances,
)
from ._events import (
    Cancelled as Cancelled,
    Event as Event,
    Failed as Failed,
    Finished as Finished,
    Planned as Planned,
    Stage as Stage,
    StageStarted as StageStarted,
    TextDelta as TextDelta,
)
from ._job import Job as Job
from ._json import result_to_dict as result_to_dict
from ._protocols import (
    Allocator as Allocator,
    BatchPerformer as BatchPerformer,
    Performer as Performer,
)
from ._regions import parse_regions as parse_regions, read_regions as read_regions
from ._reliability import (
    Doubt as Doubt,
    foreseen as foreseen,
    judge as judge,
    picture_doubts as picture_doubts,
)
from ._report import confidence_line as confidence_line, token_line as token_line
from ._run import ask as ask, run_job as run_job
from ._together import (
    ParkedJob as ParkedJob,
    answer_parked as answer_parked,
    ask_together as ask_together,
)
