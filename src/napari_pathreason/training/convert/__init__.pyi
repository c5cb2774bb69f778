from ._convert import (
    Conversion as Conversion,
    convert as convert,
    write_conversion as write_conversion,
)
from ._export import (
    Exported as Exported,
    ExportPlan as ExportPlan,
    export_samples as export_samples,
)
from ._plan import ConversionPlan as ConversionPlan
from ._sheet import draw_sheet as draw_sheet
from ._summary import Summary as Summary, read_splits as read_splits, summarise as summarise
from .sets import (
    BROKEN as BROKEN,
    CANNOT_TELL as CANNOT_TELL,
    KINDS as KINDS,
    LUNG_KINDS as LUNG_KINDS,
    PHRASINGS as PHRASINGS,
    SMALLEST_NUCLEUS as SMALLEST_NUCLEUS,
    SMEAR_SIZE as SMEAR_SIZE,
    TILE_SIDE as TILE_SIDE,
    TUMOUR_LABELS as TUMOUR_LABELS,
    TUMOUR_PRESENT as TUMOUR_PRESENT,
    LeftOut as LeftOut,
    Options as Options,
    Phrasings as Phrasings,
    Point as Point,
    Questions as Questions,
    about_cells as about_cells,
    cell_questions as cell_questions,
    centres_inside as centres_inside,
    count_unused as count_unused,
    lung_questions as lung_questions,
    lymph_node_questions as lymph_node_questions,
    nuclei_questions as nuclei_questions,
    nuclei_views as nuclei_views,
    open_all as open_all,
    read_nuclei as read_nuclei,
    read_table as read_table,
    read_voc as read_voc,
    refuse_alike_choices as refuse_alike_choices,
    shown as shown,
    smear_questions as smear_questions,
    split_of as split_of,
)
