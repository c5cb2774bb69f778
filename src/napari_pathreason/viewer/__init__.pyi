from ._allocation import (
    FRAMES as FRAMES,
    PICKED as PICKED,
    STYLES as STYLES,
    BudgetMap as BudgetMap,
    drawn_boxes as drawn_boxes,
    kind_colours as kind_colours,
    kind_of as kind_of,
    part_under as part_under,
    picked_parts as picked_parts,
    picks_of as picks_of,
    place_under as place_under,
    start_picking as start_picking,
)
from ._answers import (
    cited_by_shape as cited_by_shape,
    draw_budget as draw_budget,
    draw_entry as draw_entry,
    entries_like as entries_like,
    files_of as files_of,
    go_to_entry as go_to_entry,
    prepare_overlay as prepare_overlay,
    show_cited as show_cited,
    show_entry as show_entry,
    show_windows as show_windows,
    write_answers as write_answers,
    write_training_labels as write_training_labels,
)
from ._archive import AnswerArchive as AnswerArchive, ArchivedAnswer as ArchivedAnswer
from ._box_picture import BoxPicture as BoxPicture
from ._budgets import (
    BudgetCost as BudgetCost,
    budget_costs as budget_costs,
    estimate_costs as estimate_costs,
    grid_layer_data as grid_layer_data,
    preview_layer_data as preview_layer_data,
    read_preview as read_preview,
)
from ._class_map import ClassMap as ClassMap, class_shades as class_shades
from ._frame import (
    LayerFrame as LayerFrame,
    box_to_data as box_to_data,
    data_to_slide as data_to_slide,
    go_to as go_to,
    placement as placement,
    slide_to_data as slide_to_data,
    until_released as until_released,
)
from ._inquiry import BUDGETS as BUDGETS, Draft as Draft, Inquiry as Inquiry, names_in as names_in
from ._layers import (
    SLIDE_KEY as SLIDE_KEY,
    info_of as info_of,
    is_slide as is_slide,
    is_stack as is_stack,
    known_mpp as known_mpp,
    layer_size as layer_size,
    open_slide_layer as open_slide_layer,
    plane_layer as plane_layer,
    set_up_slide as set_up_slide,
    slide_opener as slide_opener,
)
from ._lesions import (
    MOST_BOXES as MOST_BOXES,
    AllLesions as AllLesions,
    BoxLayer as BoxLayer,
    all_lesions_layer as all_lesions_layer,
    box_layer_attributes as box_layer_attributes,
    most_confident as most_confident,
)
from ._outlook import (
    Outlook as Outlook,
    foresee as foresee,
    largest_offered as largest_offered,
    outlook as outlook,
    why_not_offered as why_not_offered,
    why_windows as why_windows,
)
from ._overlay import (
    BUDGET_COLORS as BUDGET_COLORS,
    append_to_overlay as append_to_overlay,
    budget_title as budget_title,
    is_overlay as is_overlay,
    overlay_layer_data as overlay_layer_data,
    shapes_of_result as shapes_of_result,
)
from ._projects import (
    ProjectRequest as ProjectRequest,
    project_events as project_events,
    project_request as project_request,
    take_answers as take_answers,
)
from ._questions import (
    ModelLoading as ModelLoading,
    Question as Question,
    answer_question as answer_question,
    question_of as question_of,
    questions_of as questions_of,
    request_of as request_of,
)
from ._regions import (
    Marked as Marked,
    annotation_layer as annotation_layer,
    layers_of as layers_of,
    marked_region as marked_region,
    next_region as next_region,
    region_in_view as region_in_view,
    region_note as region_note,
    region_of as region_of,
    regions_of as regions_of,
    start_drawing as start_drawing,
)
from ._run_layers import RunLayers as RunLayers
from ._run_time import (
    keep_pace as keep_pace,
    known_pace as known_pace,
    run_seconds as run_seconds,
    time_words as time_words,
)
from ._runs import Run as Run, Runs as Runs, RunState as RunState
from ._session import (
    Entry as Entry,
    Session as Session,
    describe_model as describe_model,
    models_here as models_here,
    session_of as session_of,
    spawn_models as spawn_models,
    unwrapped as unwrapped,
)
from ._settings import (
    EMBEDDED as EMBEDDED,
    AskState as AskState,
    BudgetState as BudgetState,
    Compute as Compute,
    DockMemory as DockMemory,
    DockState as DockState,
    Preferences as Preferences,
    RegionSource as RegionSource,
    checked as checked,
    config_folder as config_folder,
    preferences as preferences,
    state_file as state_file,
)
from ._shapes import (
    features_of_shapes as features_of_shapes,
    marks_of_shapes as marks_of_shapes,
    objects_layer_data as objects_layer_data,
)
from ._slide_file import SlideFile as SlideFile, slide_layer_data as slide_layer_data
from ._slide_run import (
    Ending as Ending,
    FoundRun as FoundRun,
    RunSoFar as RunSoFar,
    SlideRequest as SlideRequest,
    found_run as found_run,
    run_folder as run_folder,
    run_opener as run_opener,
    run_request as run_request,
)
from ._steering import Steering as Steering, choices_line as choices_line
from ._tile_map import PICKED_TILES as PICKED_TILES, TileMap as TileMap
from ._undo import REDO as REDO, UNDO as UNDO, undoable as undoable, was_changed as was_changed
from ._views import (
    More as More,
    cost_line as cost_line,
    follow_up_of as follow_up_of,
    more_of as more_of,
    pace as pace,
    plan_of_windows as plan_of_windows,
    planned_question as planned_question,
    policy_words as policy_words,
    reading_note as reading_note,
    reads_windows as reads_windows,
    realised_line as realised_line,
)
from ._watch import Watch as Watch
from ._window_layer import WindowLayer as WindowLayer
from ._window_map import (
    NEW_WINDOWS as NEW_WINDOWS,
    MapWindow as MapWindow,
    WindowMap as WindowMap,
    has_windows as has_windows,
    regions_by_name as regions_by_name,
)
from ._words import (
    LEVEL_WORDS as LEVEL_WORDS,
    LEVELS as LEVELS,
    answer_words as answer_words,
    confidence_words as confidence_words,
    cost_words as cost_words,
    planned_line as planned_line,
    reliability_words as reliability_words,
    short_answer as short_answer,
    shown_detections as shown_detections,
    totals_line as totals_line,
)
