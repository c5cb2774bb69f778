from ._beside_teacher import Beside as Beside, regions as regions, row as row, table as table
from ._nucleus_teacher import SIDE as SIDE, nuclei_of as nuclei_of, teach as teach
