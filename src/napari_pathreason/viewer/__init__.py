"""Between napari and the engine: layers to regions, answers to overlays. No Qt."""

from ._allocation import KINDS, AllocationMap, allocation_layer, kind_colours
from ._allocation_pick import picked_tiles, picks_of, start_picking, tile_under
from ._allocation_why import budget_text
from ._answers import draw_entry, prepare_overlay, show_entry
from ._camera import go_to
from ._compare import RUNG_COLORS, draw_rung, rung_layer_data, rung_title
from ._dock_state import AskState, BudgetState, DockMemory, DockState
from ._evidence import cited_by_shape, show_cited
from ._foretell import foretold, native_of, read_preview
from ._frame import LayerFrame, box_to_data, data_to_slide, slide_to_data
from ._ladder import Rung, ladder_of
from ._layers import SLIDE_KEY, known_mpp, layer_mpp, layer_size, open_slide_layer, slide_opener
from ._marks import marks_of_shapes
from ._objects import features_of_shapes, objects_layer_data
from ._offers import largest_offered, why_not_offered
from ._outlook import Outlook, foresee, outlook
from ._overlay import append_to_overlay, is_overlay, overlay_layer_data, placement, shapes_of_result
from ._preferences import Compute, Preferences, config_folder, preferences
from ._preview import PREVIEW_KEY, grid_layer_data, preview_layer_data
from ._question import ModelLoading, Question, answer_question
from ._regions import RegionSource, marked_region, region_in_view, region_of, start_drawing
from ._reliability import (
    LEVEL_WORDS,
    LEVELS,
    answer_words,
    reliability_words,
    short_answer,
    shown_detections,
)
from ._save import entries_like, files_of, write_answers
from ._session import Entry, LoadedModels, ModelsFactory, Session, session_of, unwrapped
from ._slide_run import SlideRequest, run_folder, run_opener, run_request
from ._slide_run_boxes import MOST_BOXES
from ._slide_run_layers import RunLayers, heat_layer_data
from ._slide_run_state import Ending, RunSoFar
from ._totals import planned_line, totals_line
from ._undo import undoable, was_changed

__all__ = [
    "KINDS",
    "LEVELS",
    "LEVEL_WORDS",
    "MOST_BOXES",
    "PREVIEW_KEY",
    "RUNG_COLORS",
    "SLIDE_KEY",
    "AllocationMap",
    "AskState",
    "BudgetState",
    "Compute",
    "DockMemory",
    "DockState",
    "Ending",
    "Entry",
    "LayerFrame",
    "LoadedModels",
    "ModelLoading",
    "ModelsFactory",
    "Outlook",
    "Preferences",
    "Question",
    "RegionSource",
    "RunLayers",
    "RunSoFar",
    "Rung",
    "Session",
    "SlideRequest",
    "allocation_layer",
    "answer_question",
    "answer_words",
    "append_to_overlay",
    "box_to_data",
    "budget_text",
    "cited_by_shape",
    "config_folder",
    "data_to_slide",
    "draw_entry",
    "draw_rung",
    "entries_like",
    "features_of_shapes",
    "files_of",
    "foresee",
    "foretold",
    "go_to",
    "grid_layer_data",
    "heat_layer_data",
    "is_overlay",
    "kind_colours",
    "known_mpp",
    "ladder_of",
    "largest_offered",
    "layer_mpp",
    "layer_size",
    "marked_region",
    "marks_of_shapes",
    "native_of",
    "objects_layer_data",
    "open_slide_layer",
    "outlook",
    "overlay_layer_data",
    "picked_tiles",
    "picks_of",
    "placement",
    "planned_line",
    "preferences",
    "prepare_overlay",
    "preview_layer_data",
    "read_preview",
    "region_in_view",
    "region_of",
    "reliability_words",
    "run_folder",
    "run_opener",
    "run_request",
    "rung_layer_data",
    "rung_title",
    "session_of",
    "shapes_of_result",
    "short_answer",
    "show_cited",
    "show_entry",
    "shown_detections",
    "slide_opener",
    "slide_to_data",
    "start_drawing",
    "start_picking",
    "tile_under",
    "totals_line",
    "undoable",
    "unwrapped",
    "was_changed",
    "why_not_offered",
    "write_answers",
]
