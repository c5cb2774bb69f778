from ._augment import (
    levels as levels,
    sharpness as sharpness,
    stain as stain,
    turn_array as turn_array,
    turn_corners as turn_corners,
    turn_place as turn_place,
)
from ._evidence import (
    CROWDED as CROWDED,
    CROWDED_SHARE as CROWDED_SHARE,
    MOST_FACTS as MOST_FACTS,
    QUADRANTS as QUADRANTS,
    SPARSE as SPARSE,
    THROUGHOUT as THROUGHOUT,
    confirmed as confirmed,
    coverage as coverage,
    place_of as place_of,
    place_of_box as place_of_box,
)
from ._pictures import FLAT as FLAT, Pictures as Pictures
from ._sample import (
    CROP as CROP,
    SPLITS as SPLITS,
    Area as Area,
    Corners as Corners,
    Facts as Facts,
    Files as Files,
    Phrasing as Phrasing,
    Sample as Sample,
    SampleView as SampleView,
    Split as Split,
    name_crop as name_crop,
    read_samples as read_samples,
    write_samples as write_samples,
)
from ._view import (
    Augmentation as Augmentation,
    TargetPiece as TargetPiece,
    View as View,
    answer_pieces as answer_pieces,
    read_view as read_view,
    read_views as read_views,
    region_target as region_target,
    score_target as score_target,
    shown_regions as shown_regions,
    shown_size as shown_size,
    target_text as target_text,
)
