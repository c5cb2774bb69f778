from ._allocation import (
    KINDS as KINDS,
    AllocationMap as AllocationMap,
    allocation_layer as allocation_layer,
    kind_colours as kind_colours,
)
from ._allocation_pick import (
    picked_tiles as picked_tiles,
    picks_of as picks_of,
    start_picking as start_picking,
    tile_under as tile_under,
)
from ._allocation_why import budget_text as budget_text
from ._answers import (
    draw_entry as draw_entry,
    prepare_overlay as prepare_overlay,
    show_entry as show_entry,
)
from ._box_picture import (
    COLOURS as COLOURS,
    KEPT as KEPT,
    LARGE as LARGE,
    LINE as LINE,
    THIN as THIN,
    BoxPicture as BoxPicture,
)
from ._budget_grid import BudgetCost as BudgetCost, budget_costs as budget_costs
from ._camera import go_to as go_to
from ._compare import (
    BUDGET_COLORS as BUDGET_COLORS,
    budget_layer_data as budget_layer_data,
    budget_title as budget_title,
    draw_budget as draw_budget,
)
from ._dock_state import (
    AskState as AskState,
    BudgetState as BudgetState,
    DockMemory as DockMemory,
    DockState as DockState,
    state_file as state_file,
)
from ._estimate import (
    allocation_notes as allocation_notes,
    estimate_costs as estimate_costs,
    native_of as native_of,
    read_preview as read_preview,
)
from ._evidence import cited_by_shape as cited_by_shape, show_cited as show_cited
from ._frame import (
    LayerFrame as LayerFrame,
    box_to_data as box_to_data,
    data_to_slide as data_to_slide,
    slide_to_data as slide_to_data,
)
from ._layers import (
    SLIDE_KEY as SLIDE_KEY,
    known_mpp as known_mpp,
    layer_mpp as layer_mpp,
    layer_size as layer_size,
    open_slide_layer as open_slide_layer,
    slide_opener as slide_opener,
)
from ._marks import marks_of_shapes as marks_of_shapes
from ._objects import (
    features_of_shapes as features_of_shapes,
    objects_layer_data as objects_layer_data,
)
from ._offers import largest_offered as largest_offered, why_not_offered as why_not_offered
from ._outlook import Outlook as Outlook, foresee as foresee, outlook as outlook
from ._overlay import (
    append_to_overlay as append_to_overlay,
    is_overlay as is_overlay,
    overlay_layer_data as overlay_layer_data,
    placement as placement,
    shapes_of_result as shapes_of_result,
)
from ._preferences import (
    Compute as Compute,
    Preferences as Preferences,
    checked as checked,
    config_folder as config_folder,
    preferences as preferences,
)
from ._preview import (
    PREVIEW_KEY as PREVIEW_KEY,
    grid_layer_data as grid_layer_data,
    preview_layer_data as preview_layer_data,
)
from ._question import (
    ModelLoading as ModelLoading,
    Question as Question,
    answer_question as answer_question,
)
from ._regions import (
    RegionSource as RegionSource,
    marked_region as marked_region,
    region_in_view as region_in_view,
    region_of as region_of,
    start_drawing as start_drawing,
)
from ._reliability import (
    LEVEL_WORDS as LEVEL_WORDS,
    LEVELS as LEVELS,
    answer_words as answer_words,
    reliability_words as reliability_words,
    short_answer as short_answer,
    shown_detections as shown_detections,
)
from ._save import (
    entries_like as entries_like,
    files_of as files_of,
    write_answers as write_answers,
)
from ._session import (
    Entry as Entry,
    ModelsFactory as ModelsFactory,
    Session as Session,
    session_of as session_of,
    unwrapped as unwrapped,
)
from ._slide_run import (
    SlideRequest as SlideRequest,
    run_folder as run_folder,
    run_opener as run_opener,
    run_request as run_request,
)
from ._slide_run_all import AllLesions as AllLesions, all_lesions_layer as all_lesions_layer
from ._slide_run_boxes import (
    LEAST as LEAST,
    MOST_BOXES as MOST_BOXES,
    BoxLayer as BoxLayer,
    box_layer_attributes as box_layer_attributes,
    most_confident as most_confident,
)
from ._slide_run_layers import RunLayers as RunLayers, heat_layer_data as heat_layer_data
from ._slide_run_state import Ending as Ending, RunSoFar as RunSoFar
from ._throttle import Throttle as Throttle
from ._totals import planned_line as planned_line, totals_line as totals_line
from ._undo import REDO as REDO, UNDO as UNDO, undoable as undoable, was_changed as was_changed
