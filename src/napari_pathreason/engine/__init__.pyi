from ._checks import check_query as check_query
from ._confidence import (
    confidence as confidence,
    log_odds as log_odds,
    read_probabilities as read_probabilities,
    scaled as scaled,
    token_probability as token_probability,
)
from ._job import (
    Cancelled as Cancelled,
    Event as Event,
    Failed as Failed,
    Finished as Finished,
    Job as Job,
    Planned as Planned,
    Stage as Stage,
    StageStarted as StageStarted,
    TextDelta as TextDelta,
    as_user_error as as_user_error,
    sentence as sentence,
)
from ._protocols import (
    Allocator as Allocator,
    BatchPerformer as BatchPerformer,
    Models as Models,
    Performer as Performer,
)
from ._regions import parse_regions as parse_regions, read_regions as read_regions
from ._reliability import (
    Doubt as Doubt,
    assess as assess,
    foreseen as foreseen,
    picture_doubts as picture_doubts,
)
from ._report import (
    confidence_line as confidence_line,
    result_to_dict as result_to_dict,
    token_line as token_line,
)
from ._run import ask as ask, run_job as run_job
from ._together import (
    ParkedJob as ParkedJob,
    answer_parked as answer_parked,
    ask_together as ask_together,
)
from ._view import to_detections as to_detections
from ._zoom import (
    CLOSE as CLOSE,
    VIEW_TOKENS as VIEW_TOKENS,
    answer_of as answer_of,
    refine as refine,
    windows as windows,
)
