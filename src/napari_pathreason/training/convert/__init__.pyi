from ._alien import CANNOT_TELL as CANNOT_TELL, TOPIC as TOPIC, cannot_tell as cannot_tell
from ._blood import (
    HEIGHT as HEIGHT,
    NAMES as NAMES,
    WIDTH as WIDTH,
    blood as blood,
    read_smears as read_smears,
    read_voc as read_voc,
    smear_questions as smear_questions,
)
from ._convert import Converted as Converted, convert as convert
from ._fields import draw_grid as draw_grid, draw_lesions as draw_lesions
from ._lung import lung_questions as lung_questions
from ._lymph_node import lymph_node as lymph_node, lymph_node_questions as lymph_node_questions
from ._nuclei import (
    TAUGHT as TAUGHT,
    crowded_quadrant as crowded_quadrant,
    nuclei as nuclei,
    nuclei_questions_of as nuclei_questions_of,
)
from ._nuclei_fields import WIDEST as WIDEST, nuclei_fields as nuclei_fields
from ._plan import KINDS as KINDS
from ._stitched import SIDE as SIDE, stitched as stitched
from ._tables import read_rows as read_rows, read_table as read_table
from ._wording import COUNT as COUNT, FIND as FIND, WORDINGS as WORDINGS, draw as draw
from .sets import Options as Options, split_of as split_of
