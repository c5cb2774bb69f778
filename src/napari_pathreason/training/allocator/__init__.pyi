from ._head import figures as figures, train_allocator as train_allocator
from ._head_data import (
    Overviews as Overviews,
    Returns as Returns,
    read_overviews as read_overviews,
    returns as returns,
)
from ._rewards import (
    entropy as entropy,
    expected_gain as expected_gain,
    gated as gated,
    paper as paper,
    paper_step as paper_step,
    ranking_loss as ranking_loss,
    score_allocation as score_allocation,
    text_figures as text_figures,
    text_rewards as text_rewards,
)
from ._state import identity as identity, make_room as make_room, text_identity as text_identity
from ._tables import (
    Scored as Scored,
    native_flops as native_flops,
    tabulate as tabulate,
    train_val_tables as train_val_tables,
)
from ._text import in_turn as in_turn, train_text_allocator as train_text_allocator
