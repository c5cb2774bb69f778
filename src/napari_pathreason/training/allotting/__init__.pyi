from ._allocator_data import (
    Earnings as Earnings,
    Looks as Looks,
    earnings as earnings,
    looks as looks,
)
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
from ._ladder_scores import Scored as Scored, costing_one as costing_one, tabulate as tabulate
from ._tabulated import (
    Tabulated as Tabulated,
    performer_folder as performer_folder,
    taught_and_held as taught_and_held,
)
from ._text_earnings import (
    Allotted as Allotted,
    allotted as allotted,
    earned as earned,
    text_figures as text_figures,
)
