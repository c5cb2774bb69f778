from ._baseline import (
    BINS as BINS,
    baseline_items as baseline_items,
    check_installed as check_installed,
    features as features,
)
from ._card import (
    FIGURES as FIGURES,
    RELIABILITY as RELIABILITY,
    around as around,
    fill as fill,
    marks as marks,
    write_whole as write_whole,
)
from ._constant import constant_items as constant_items
from ._evaluate import Evaluator as Evaluator, pick as pick, relative as relative
from ._evaluation import EvaluationPlan as EvaluationPlan, evaluate as evaluate
from ._goals import Goal as Goal, outcomes as outcomes, read_goals as read_goals
from ._grid_baseline import (
    boxes_around as boxes_around,
    grid_items as grid_items,
    grid_of as grid_of,
    tile_labels as tile_labels,
)
from ._markdown import markdown as markdown
from ._measures import (
    best_guess as best_guess,
    calibration_error as calibration_error,
    expected_error as expected_error,
    interval as interval,
    near as near,
    phrasing_gap as phrasing_gap,
    ratio as ratio,
    topic_measures as topic_measures,
)
from ._pareto import draw_pareto as draw_pareto
from ._policies import (
    BUDGETS as BUDGETS,
    CONFIDENT as CONFIDENT,
    FIRST as FIRST,
    POLICIES as POLICIES,
    Look as Look,
    allocations as allocations,
    at_random as at_random,
    cascade as cascade,
    check_policies as check_policies,
    oracle as oracle,
    policy_rows as policy_rows,
    score_allocation as score_allocation,
)
from ._prediction import (
    Prediction as Prediction,
    from_line as from_line,
    matches as matches,
    to_line as to_line,
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
    read_questions as read_questions,
    shares as shares,
    unanswerable as unanswerable,
)
from ._scoring import SMALLEST as SMALLEST, Scorer as Scorer, others as others
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
