from ._calibrate import CalibrationPlan as CalibrationPlan, calibrate as calibrate
from ._confidence import (
    AnswerOutcome as AnswerOutcome,
    KnownAnswer as KnownAnswer,
    answer_outcomes as answer_outcomes,
    apply as apply,
    apply_calibration as apply_calibration,
    calibration_errors as calibration_errors,
    fit_confidence as fit_confidence,
    fit_scale as fit_scale,
    held_out as held_out,
    least_confidence as least_confidence,
)
from ._detector import (
    ImageFeatures as ImageFeatures,
    domain_of as domain_of,
    fit_detector as fit_detector,
    own as own,
)
from ._largest import Held as Held, largest as largest, readable_by_size as readable_by_size
from ._regions import (
    KnownRegion as KnownRegion,
    ask_regions as ask_regions,
    fit_regions as fit_regions,
    region_errors as region_errors,
)
