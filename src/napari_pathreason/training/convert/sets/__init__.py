"""Layouts that others publish or a lab has, one file each; nothing is downloaded here."""

from ._bccd import KIND as BCCD
from ._choices import refuse_alike_choices
from ._entry import Entry, Found, Kind, Options
from ._esca import KIND as ESCA
from ._folders import KIND as FOLDERS
from ._glas import KIND as GLAS
from ._lc25000 import KIND as LC25000
from ._left_out import LeftOut, count_unused, shown
from ._messages import KIND as MESSAGES
from ._nuinsseg import KIND as NUINSSEG
from ._opening import BROKEN, Size, refuse_damaged, sizes_of
from ._patchcamelyon import KIND as PATCHCAMELYON
from ._pathmmu import KIND as PATHMMU
from ._pathvqa import KIND as PATHVQA
from ._quiltvqa import KIND as QUILTVQA
from ._qupath import KIND as QUPATH
from ._split_names import NAMED_SO, split_of
from ._splits import Dealt, deal, draw, regroup
from ._store import Store
from ._table import KIND as TABLE
from ._unitopatho import KIND as UNITOPATHO

SETS = (
    PATCHCAMELYON,
    LC25000,
    NUINSSEG,
    BCCD,
    GLAS,
    UNITOPATHO,
    ESCA,
    PATHVQA,
    QUILTVQA,
    PATHMMU,
    QUPATH,
    MESSAGES,
)
"""Layouts that nothing else looks like."""

FALLBACKS = (TABLE, FOLDERS)
"""What a folder is taken for when it looks like none of them, in this order."""

__all__ = [
    "BROKEN",
    "FALLBACKS",
    "NAMED_SO",
    "SETS",
    "Dealt",
    "Entry",
    "Found",
    "Kind",
    "LeftOut",
    "Options",
    "Size",
    "Store",
    "count_unused",
    "deal",
    "draw",
    "refuse_alike_choices",
    "refuse_damaged",
    "regroup",
    "shown",
    "sizes_of",
    "split_of",
]
