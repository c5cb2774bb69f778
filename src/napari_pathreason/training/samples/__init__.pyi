from ._augment import (
    STAY as STAY,
    levels as levels,
    sharpness as sharpness,
    stain as stain,
    turn_array as turn_array,
    turn_corners as turn_corners,
    turn_place as turn_place,
)
from ._coverage import (
    ALL_OF_IT as ALL_OF_IT,
    CLASSES as CLASSES,
    COUNTED as COUNTED,
    box_targets as box_targets,
    cell_corners as cell_corners,
    count_targets as count_targets,
    coverage as coverage,
    dense_targets as dense_targets,
    place_targets as place_targets,
)
from ._evidence import (
    CROWDED as CROWDED,
    MOST as MOST,
    SMALL as SMALL,
    SPARSE as SPARSE,
    THROUGHOUT as THROUGHOUT,
    WHOLE as WHOLE,
    confirmed as confirmed,
    evidence as evidence,
)
from ._pictures import FLAT as FLAT, Pictures as Pictures
from ._places import PLACES as PLACES, QUADRANTS as QUADRANTS, place_of as place_of
from ._sample import (
    CROP as CROP,
    SPLITS as SPLITS,
    Area as Area,
    Corners as Corners,
    Facts as Facts,
    Files as Files,
    Phrasing as Phrasing,
    Sample as Sample,
    Split as Split,
    name_crop as name_crop,
    read_samples as read_samples,
    write_samples as write_samples,
)
from ._targets import (
    Piece as Piece,
    Style as Style,
    region_target as region_target,
    score_target as score_target,
    target_pieces as target_pieces,
    target_text as target_text,
)
from ._view import (
    Augmentation as Augmentation,
    View as View,
    read_view as read_view,
    read_views as read_views,
)
