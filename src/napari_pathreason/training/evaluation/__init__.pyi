from ._baselines import (
    baseline_items as baseline_items,
    boxes_around as boxes_around,
    check_installed as check_installed,
    constant_items as constant_items,
    features as features,
    grid_items as grid_items,
    grid_of as grid_of,
    tile_labels as tile_labels,
)
from ._classes import (
    Confusion as Confusion,
    balanced_accuracy as balanced_accuracy,
    class_figures as class_figures,
    confusion as confusion,
    f1_of_classes as f1_of_classes,
    grade_of as grade_of,
    kappa as kappa,
    macro_f1 as macro_f1,
    recalls as recalls,
)
from ._draws import group_figures as group_figures, with_bounds as with_bounds
from ._evaluation import EvaluationPlan as EvaluationPlan, Report as Report, evaluate as evaluate
from ._evaluator import (
    Evaluator as Evaluator,
    pick as pick,
    relative as relative,
    uncalibrated as uncalibrated,
)
from ._goals import Goal as Goal, outcomes as outcomes, read_goals as read_goals
from ._honesty import (
    chosen_thresholds as chosen_thresholds,
    made_by as made_by,
    provenance_line as provenance_line,
    read_thresholds as read_thresholds,
    refuse_on_test as refuse_on_test,
)
from ._measures import (
    best_guess as best_guess,
    calibration_error as calibration_error,
    expected_calibration_error as expected_calibration_error,
    interval as interval,
    near as near,
    phrasing_gap as phrasing_gap,
    ratio as ratio,
    topic_measures as topic_measures,
)
from ._page import (
    FIGURES as FIGURES,
    RELIABILITY as RELIABILITY,
    around as around,
    fill as fill,
    markdown as markdown,
    marks as marks,
    write_whole as write_whole,
)
from ._policies import (
    Choice as Choice,
    allocations as allocations,
    at_random as at_random,
    cascade as cascade,
    check_policies as check_policies,
    draw_pareto as draw_pareto,
    oracle as oracle,
    policy_rows as policy_rows,
    score_allocation as score_allocation,
)
from ._predictions import (
    SMALLEST as SMALLEST,
    Prediction as Prediction,
    Scorer as Scorer,
    from_line as from_line,
    matches as matches,
    others as others,
    to_line as to_line,
)
from ._ranking import (
    RankedBoxes as RankedBoxes,
    auc as auc,
    average_precision as average_precision,
    best_threshold as best_threshold,
    best_thresholds as best_thresholds,
    box_figures as box_figures,
    class_ranking as class_ranking,
    froc as froc,
    positive_of as positive_of,
    ranked_boxes as ranked_boxes,
    two_choice_figures as two_choice_figures,
)
from ._reliability import (
    Assessed as Assessed,
    ReliabilityPlan as ReliabilityPlan,
    answerable as answerable,
    as_json as as_json,
    curve as curve,
    draw_curve as draw_curve,
    measure as measure,
    page as page,
    provenance_of as provenance_of,
    read_questions as read_questions,
    shares as shares,
    unanswerable as unanswerable,
)
from ._several import (
    ViewsAnswer as ViewsAnswer,
    ask_views as ask_views,
    prompt_flops as prompt_flops,
    prompt_of as prompt_of,
)
from ._table import (
    ALL as ALL,
    Row as Row,
    Run as Run,
    band as band,
    group_table as group_table,
    own_budgets as own_budgets,
    size_table as size_table,
    table as table,
)
