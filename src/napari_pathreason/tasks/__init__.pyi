from ._aggregate import Aggregate as Aggregate, aggregate as aggregate, is_vote as is_vote
from ._allocation import (
    GLASS as GLASS,
    WrittenAllocation as WrittenAllocation,
    WrittenWindows as WrittenWindows,
    allocation_messages as allocation_messages,
    parse_allocation as parse_allocation,
    parse_windows as parse_windows,
    windows_messages as windows_messages,
)
from ._choices import (
    check_choices as check_choices,
    equal_choices as equal_choices,
    find_option as find_option,
    same_choice as same_choice,
    whole_choice as whole_choice,
)
from ._cited import (
    PLACES as PLACES,
    THROUGHOUT as THROUGHOUT,
    Cited as Cited,
    cited_places as cited_places,
    cited_views as cited_views,
    citing as citing,
)
from ._combine_choices import (
    Combined as Combined,
    any_present as any_present,
    combine_choices as combine_choices,
    finding_of as finding_of,
    is_finding as is_finding,
    most_confident as most_confident,
    states_absence as states_absence,
)
from ._combine_places import (
    asks_most as asks_most,
    asks_place as asks_place,
    combine_places as combine_places,
    place_at as place_at,
)
from ._conversation import conversation as conversation
from ._merge_boxes import MergedBox as MergedBox, merge_boxes as merge_boxes
from ._metrics import (
    count_score as count_score,
    iou_score as iou_score,
    is_right as is_right,
    match_boxes as match_boxes,
    same_label as same_label,
    token_f1 as token_f1,
)
from ._numbers import (
    abstains as abstains,
    asks_count as asks_count,
    asks_number as asks_number,
    read_count as read_count,
)
from ._parsing import parse_boxes as parse_boxes, split_frame as split_frame
from ._sum_counts import CountEstimate as CountEstimate, sum_counts as sum_counts
from ._tasks import (
    DETECTION_FORMAT as DETECTION_FORMAT,
    SCORING as SCORING,
    TASKS as TASKS,
    Target as Target,
    Task as Task,
    summary as summary,
)
from ._topics import (
    as_trained as as_trained,
    content_words as content_words,
    examples as examples,
    form_of as form_of,
    topic_names as topic_names,
    unknown_labels as unknown_labels,
    untrained as untrained,
    words_of_query as words_of_query,
)
