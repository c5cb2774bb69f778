from ._head import figures as figures, train_allocator as train_allocator
from ._head_data import (
    Overviews as Overviews,
    Returns as Returns,
    read_overviews as read_overviews,
    returns as returns,
)
from ._held_out import (
    doubts_of_choice as doubts_of_choice,
    uniform_figures as uniform_figures,
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
    gather_shares as gather_shares,
    native_flops as native_flops,
    tabulate as tabulate,
    tabulate_share as tabulate_share,
    train_val_tables as train_val_tables,
)
from ._text import train_text_allocator as train_text_allocator
from ._text_windows import (
    ScoredWindows as ScoredWindows,
    ViewAnswers as ViewAnswers,
    WindowTexts as WindowTexts,
    train_text_windows as train_text_windows,
)
from ._window_data import (
    Batch as Batch,
    Tabled as Tabled,
    WindowNet as WindowNet,
    tabled as tabled,
)
from ._window_sets import (
    SampledSets as SampledSets,
    Stakes as Stakes,
    draw_sets as draw_sets,
    log_probability as log_probability,
    mean_centred as mean_centred,
)
from ._window_table import (
    WindowQuestion as WindowQuestion,
    tabulate_windows as tabulate_windows,
)
from ._windows import (
    greedy_figures as greedy_figures,
    greedy_sets as greedy_sets,
    policy_loss as policy_loss,
    random_set as random_set,
    train_windows_allocator as train_windows_allocator,
    warm_loss as warm_loss,
)
from ._writing import in_turn as in_turn
