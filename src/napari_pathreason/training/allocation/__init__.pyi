from ._allocator_rewards import (
    entropy as entropy,
    expected_gain as expected_gain,
    gated as gated,
    paper as paper,
    paper_step as paper_step,
    ranking_loss as ranking_loss,
)
from ._allocator_state import (
    identity as identity,
    make_room as make_room,
    resume as resume,
    save as save,
    text_identity as text_identity,
)
from ._budget_scores import Scored as Scored, costing_one as costing_one, tabulate as tabulate
from ._overviews import (
    Overviews as Overviews,
    Returns as Returns,
    read_overviews as read_overviews,
    returns as returns,
)
from ._tabulated import (
    Tabulated as Tabulated,
    performer_folder as performer_folder,
    taught_and_held as taught_and_held,
)
from ._text_rewards import (
    ScoredAllocation as ScoredAllocation,
    score_allocation as score_allocation,
    text_figures as text_figures,
    text_rewards as text_rewards,
)
