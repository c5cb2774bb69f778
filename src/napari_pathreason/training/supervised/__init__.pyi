from ._batch import IGNORE as IGNORE, Batch as Batch, Question as Question, collate as collate
from ._count_code import WAVES as WAVES, write_count_code as write_count_code
from ._drill import drilled as drilled
from ._lessons import (
    SeeAndWrite as SeeAndWrite,
    WriteOnly as WriteOnly,
    choose_lesson as choose_lesson,
    shares as shares,
)
from ._looking import looks as looks, watch as watch
from ._losses import (
    box_loss as box_loss,
    count_loss as count_loss,
    dense_loss as dense_loss,
    look_loss as look_loss,
    place_loss as place_loss,
    sft_loss as sft_loss,
    total_loss as total_loss,
    turn_loss as turn_loss,
)
from ._number_loss import (
    COUNT_SPREAD as COUNT_SPREAD,
    FAR as FAR,
    NUMBERS as NUMBERS,
    WIDER as WIDER,
    counts_to_write as counts_to_write,
    expected_error as expected_error,
    number_loss as number_loss,
)
from ._place_code import write_place_code as write_place_code
from ._reading import (
    CORNERS as CORNERS,
    corners_due as corners_due,
    read_off as read_off,
    readers as readers,
)
from ._trainee import Trainee as Trainee, Writer as Writer
