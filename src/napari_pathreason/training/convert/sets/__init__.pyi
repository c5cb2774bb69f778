from ._by_area import hold_out_strip as hold_out_strip
from ._chat_text import choices_in as choices_in, chosen as chosen
from ._choices import alike as alike, refuse_alike_choices as refuse_alike_choices
from ._entry import Entry as Entry, Found as Found, Kind as Kind, Options as Options
from ._left_out import LeftOut as LeftOut, count_unused as count_unused, shown as shown
from ._opening import (
    BROKEN as BROKEN,
    Size as Size,
    refuse_damaged as refuse_damaged,
    sizes_of as sizes_of,
)
from ._sets import FALLBACKS as FALLBACKS, SETS as SETS
from ._split_names import NAMED_SO as NAMED_SO, split_of as split_of
from ._splits import Dealt as Dealt, deal as deal, draw as draw, regroup as regroup
from ._store import Store as Store
