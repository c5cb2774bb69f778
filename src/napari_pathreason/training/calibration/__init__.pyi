from ._acquaint import kind_of as kind_of, own as own
from ._calibrate import CalibrationPlan as CalibrationPlan, calibrate as calibrate
from ._familiar_fit import Seen as Seen, fit_familiar as fit_familiar
from ._known_answers import answer_outcomes as answer_outcomes
from ._largest import Held as Held, largest as largest, readable_by_size as readable_by_size
from ._scale_fit import (
    DOUBTED as DOUBTED,
    SURE as SURE,
    Outcome as Outcome,
    answer_confidence as answer_confidence,
    apply as apply,
    fit_scale as fit_scale,
    held_out as held_out,
    least_confidence as least_confidence,
)
