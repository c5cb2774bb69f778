from ._archives import Store as Store
from ._bccd import (
    CELL_NAMES as CELL_NAMES,
    SMEAR_SIZE as SMEAR_SIZE,
    about_cells as about_cells,
    cell_questions as cell_questions,
    read_voc as read_voc,
    smear_questions as smear_questions,
)
from ._entry import Entry as Entry, Found as Found, Kind as Kind, Options as Options
from ._labels import (
    alike as alike,
    read_table as read_table,
    refuse_alike_choices as refuse_alike_choices,
)
from ._lc25000 import lung_questions as lung_questions
from ._left_out import (
    LeftOut as LeftOut,
    count_unused as count_unused,
    refuse_damaged as refuse_damaged,
    shown as shown,
)
from ._messages import choices_in as choices_in, chosen as chosen
from ._nuinsseg import (
    SMALLEST_NUCLEUS as SMALLEST_NUCLEUS,
    Point as Point,
    centres_inside as centres_inside,
    crowded_quadrant as crowded_quadrant,
    nuclei_questions as nuclei_questions,
    nuclei_views as nuclei_views,
    read_nuclei as read_nuclei,
)
from ._patchcamelyon import (
    TILE_SIDE as TILE_SIDE,
    TUMOUR_LABELS as TUMOUR_LABELS,
    lymph_node_questions as lymph_node_questions,
)
from ._phrasings import (
    PHRASINGS as PHRASINGS,
    TUMOUR_PRESENT as TUMOUR_PRESENT,
    Phrasings as Phrasings,
)
from ._pictures import BROKEN as BROKEN, Size as Size, sizes_of as sizes_of
from ._questions import CANNOT_TELL as CANNOT_TELL, LUNG_KINDS as LUNG_KINDS, Questions as Questions
from ._sets import FALLBACKS as FALLBACKS, KINDS as KINDS, SETS as SETS, kind_of as kind_of
from ._split_names import NAMED_SO as NAMED_SO, split_of as split_of
from ._splits import (
    Dealt as Dealt,
    deal as deal,
    draw as draw,
    hold_out_strip as hold_out_strip,
    regroup as regroup,
)
