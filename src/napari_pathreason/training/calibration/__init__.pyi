from ._calibrate import CalibrationPlan as CalibrationPlan, calibrate as calibrate
from ._detector_fit import Seen as Seen, fit_detector as fit_detector
from ._features import domain_of as domain_of, own as own
from ._known_answers import answer_outcomes as answer_outcomes
from ._largest import Held as Held, largest as largest, readable_by_size as readable_by_size
from ._scale_fit import (
    CONFIDENT as CONFIDENT,
    DOUBTED as DOUBTED,
    Outcome as Outcome,
    answer_confidence as answer_confidence,
    apply as apply,
    fit_scale as fit_scale,
    held_out as held_out,
    least_confidence as least_confidence,
)
