from ._asking import generate_together as generate_together
from ._calibration import (
    calibration_of as calibration_of,
    calibration_values as calibration_values,
)
from ._checks import (
    check_boxes as check_boxes,
    check_query as check_query,
    most_of_picture as most_of_picture,
)
from ._combine import combine_readings as combine_readings
from ._confidence import (
    ANSWERED as ANSWERED,
    Answered as Answered,
    confidence as confidence,
    log_odds as log_odds,
    read_probabilities as read_probabilities,
    region_confidence as region_confidence,
    scale_of as scale_of,
    scaled as scaled,
    token_probability as token_probability,
)
from ._follow_up import follow_up as follow_up, said_before as said_before
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
    ViewRead as ViewRead,
    as_user_error as as_user_error,
    sentence as sentence,
)
from ._masking import (
    outline_at as outline_at,
    read_masked as read_masked,
)
from ._order import FLIPS as FLIPS, other_order as other_order
from ._plan import (
    Cost as Cost,
    budget_flops as budget_flops,
    cost_of as cost_of,
    one_view as one_view,
    view_of as view_of,
    window_budgets as window_budgets,
)
from ._policies import (
    LEARNED as LEARNED,
    OVERLAP as OVERLAP,
    Choice as Choice,
    Pick as Pick,
    Policy as Policy,
    State as State,
    is_positive as is_positive,
    policy_named as policy_named,
)
from ._protocols import (
    Allocator as Allocator,
    BatchPerformer as BatchPerformer,
    Models as Models,
    Performer as Performer,
    WindowsAllocator as WindowsAllocator,
)
from ._reading import (
    answer_views as answer_views,
    to_boxes as to_boxes,
    to_detections as to_detections,
)
from ._regions import (
    parse_outlines as parse_outlines,
    parse_regions as parse_regions,
    read_outlines as read_outlines,
    read_regions as read_regions,
)
from ._reliability import (
    UNLIKE as UNLIKE,
    Doubt as Doubt,
    assess as assess,
    foreseen as foreseen,
    in_part as in_part,
    join_reliability as join_reliability,
    picture_doubts as picture_doubts,
)
from ._repeat import RepeatedViews as RepeatedViews, repeated_views as repeated_views
from ._report import (
    confidence_line as confidence_line,
    order_line as order_line,
    result_to_dict as result_to_dict,
    sum_tokens as sum_tokens,
    token_line as token_line,
)
from ._run import ask as ask, result_of as result_of, run_job as run_job
from ._scene import (
    Grid as Grid,
    Scene as Scene,
    Tiling as Tiling,
    covered_shares as covered_shares,
    is_large as is_large,
    lay_grid as lay_grid,
    overview_size as overview_size,
    window_side as window_side,
)
from ._several import (
    TOGETHER as TOGETHER,
    check_together as check_together,
    regions_together as regions_together,
)
from ._together import (
    ParkedJob as ParkedJob,
    answer_parked as answer_parked,
    ask_together as ask_together,
)
from ._windows import (
    ROUNDS as ROUNDS,
    asks_windows as asks_windows,
    learned_windows as learned_windows,
    look_at as look_at,
    plan_windows as plan_windows,
)
from ._zoom import (
    CLOSE as CLOSE,
    VIEW_TOKENS as VIEW_TOKENS,
    answer_of as answer_of,
    refine as refine,
    zoom_windows as zoom_windows,
)
