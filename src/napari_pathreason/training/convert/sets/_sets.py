"""All layouts, in the order in which a folder is held against them."""

from __future__ import annotations

from pathlib import Path

from napari_pathreason.errors import QueryError

from ._bccd import KIND as BCCD
from ._coco import KIND as COCO
from ._esca import KIND as ESCA
from ._folders import KIND as FOLDERS
from ._glas import KIND as GLAS
from ._layout import Kind
from ._lc25000 import KIND as LC25000
from ._masks import KIND as MASKS
from ._messages import KIND as MESSAGES
from ._nuinsseg import KIND as NUINSSEG
from ._patchcamelyon import KIND as PATCHCAMELYON
from ._pathmmu import KIND as PATHMMU
from ._pathvqa import KIND as PATHVQA
from ._pictures import SUFFIXES, is_picture
from ._quiltvqa import KIND as QUILTVQA
from ._qupath import KIND as QUPATH
from ._table import BY_COLUMNS as NAMED_TABLE, KIND as TABLE
from ._unitopatho import KIND as UNITOPATHO
from ._voc import KIND as VOC
from ._yolo import KIND as YOLO

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

FALLBACKS: tuple[tuple[Kind, ...], ...] = (
    (TABLE,),
    (COCO, VOC, YOLO, MASKS),
    (NAMED_TABLE,),
    (FOLDERS,),
)
"""What a folder is taken for when it looks like none of them: the first of these groups that has a
layout like it."""
ALL = (*SETS, *(kind for group in FALLBACKS for kind in group))

PACKED = {".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"}

KINDS = {kind.name: kind.layout for kind in ALL}
"""Names for ``--kind``, and what lies in such a folder."""


def kind_of(source: Path, name: str = "") -> Kind:
    """The kind of a source: the named one, else what it looks like.

    Parameters
    ----------
    source : Path
        Folder or file.
    name : str
        A key of `KINDS`; empty to find out.

    Raises
    ------
    QueryError
        If the source is not there, the name is unknown, or the source looks like no kind, or like
        several, or not like the one that is named.
    """
    if not source.exists():
        raise QueryError(f"{source.name} is not there; check the name and the folder")
    if not name:
        return _find_kind(source)
    if name not in KINDS:
        raise QueryError(f"there is no kind {name}; take one of {', '.join(KINDS)}")
    kind = next(one for one in ALL if one.name == name)
    if source.is_file() and not kind.matches(source):
        raise QueryError(f"{source.name} is not what {name} reads: {kind.layout}")
    return kind


def _find_kind(source: Path) -> Kind:
    fits: list[Kind] = []
    for group in (SETS, *FALLBACKS):
        fits = fits or [kind for kind in group if kind.matches(source)]
    if len(fits) > 1:
        names = " or ".join(kind.name for kind in fits)
        raise QueryError(f"{source.name} could be {names}; say which with --kind")
    if not fits and source.suffix.lower() in PACKED:
        raise QueryError(f"{source.name} is packed; unpack it and name the folder")
    if not fits and source.is_dir() and not any(is_picture(path) for path in source.rglob("*")):
        raise QueryError(
            f"{source.name} holds no picture ({', '.join(sorted(SUFFIXES))}); check the name, or "
            "see what a folder may hold: `pathreason data list`"
        )
    if not fits:
        raise QueryError(
            f"{source.name} has no layout that is known ({', '.join(KINDS)}); run `pathreason data "
            "list`, or name pictures in a labels.csv (columns image, label)"
        )
    return fits[0]
