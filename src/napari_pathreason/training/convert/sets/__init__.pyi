from ._archives import optional as optional
from ._bccd import (
    SMEAR_SIZE as SMEAR_SIZE,
    about_cells as about_cells,
    cell_questions as cell_questions,
    read_voc as read_voc,
    smear_questions as smear_questions,
)
from ._labels import read_table as read_table, refuse_alike_choices as refuse_alike_choices
from ._layout import (
    NAMED as NAMED,
    Draw as Draw,
    Kind as Kind,
    LabelledEntry as LabelledEntry,
    LeftOut as LeftOut,
    MaskKind as MaskKind,
    Options as Options,
    PictureSet as PictureSet,
    Store as Store,
)
from ._lc25000 import lung_questions as lung_questions
from ._messages import LESION as LESION, choices_in as choices_in, chosen as chosen
from ._nuinsseg import (
    SMALLEST_NUCLEUS as SMALLEST_NUCLEUS,
    Point as Point,
    centres_inside as centres_inside,
    nuclei_questions as nuclei_questions,
    nuclei_views as nuclei_views,
    read_nuclei as read_nuclei,
)
from ._patchcamelyon import (
    TILE_SIDE as TILE_SIDE,
    TUMOUR_LABELS as TUMOUR_LABELS,
    lymph_node_questions as lymph_node_questions,
)
from ._pictures import (
    BROKEN as BROKEN,
    SLIDES as SLIDES,
    Opened as Opened,
    Size as Size,
    count_unused as count_unused,
    open_all as open_all,
    shown as shown,
)
from ._questions import (
    CANNOT_TELL as CANNOT_TELL,
    LUNG_KINDS as LUNG_KINDS,
    PHRASINGS as PHRASINGS,
    TUMOUR_PRESENT as TUMOUR_PRESENT,
    Phrasings as Phrasings,
    Questions as Questions,
)
from ._sets import KINDS as KINDS, kind_of as kind_of
from ._splits import (
    NAMED_SO as NAMED_SO,
    deal as deal,
    draw_entries as draw_entries,
    hold_out_strip as hold_out_strip,
    regroup as regroup,
    split_of as split_of,
)
