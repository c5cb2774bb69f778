"""All layouts, in the order in which a folder is held against them."""

from ._bccd import KIND as BCCD
from ._entry import Kind
from ._esca import KIND as ESCA
from ._folders import KIND as FOLDERS
from ._glas import KIND as GLAS
from ._lc25000 import KIND as LC25000
from ._messages import KIND as MESSAGES
from ._nuinsseg import KIND as NUINSSEG
from ._patchcamelyon import KIND as PATCHCAMELYON
from ._pathmmu import KIND as PATHMMU
from ._pathvqa import KIND as PATHVQA
from ._quiltvqa import KIND as QUILTVQA
from ._qupath import KIND as QUPATH
from ._table import KIND as TABLE
from ._unitopatho import KIND as UNITOPATHO

SETS: tuple[Kind, ...] = (
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

FALLBACKS: tuple[Kind, ...] = (TABLE, FOLDERS)
"""What a folder is taken for when it looks like none of them, in this order."""
