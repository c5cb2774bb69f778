"""Keyboard shortcuts of the docks; napari ignores those of a manifest.

None is napari's own. They belong to their widget: Qt does not hear them once it is hidden or its
dock is closed.
"""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QWidget

ASK = ("Ctrl+Return", "Ctrl+Enter")
"""The main key and that of the number pad; in any field of the dock."""
CANCEL = ("Esc",)
LOWER, HIGHER = ("Alt+Left",), ("Alt+Right",)
PREVIEW, GRID = ("Ctrl+Shift+V",), ("Ctrl+Shift+G",)
DRAW = ("Ctrl+Shift+D",)
BEFORE, NEXT = ("Ctrl+Shift+B",), ("Ctrl+Shift+F",)
"""Of the annotations."""
ACCEPT, REJECT = ("Ctrl+Shift+Y",), ("Ctrl+Shift+X",)
PAUSE, PICK = ("Ctrl+Shift+Space",), ("Ctrl+Shift+K",)
ALL = (
    *(*ASK, *CANCEL, *LOWER, *HIGHER, *PREVIEW, *GRID, *PAUSE, *PICK),
    *(*DRAW, *BEFORE, *NEXT, *ACCEPT, *REJECT),
)


def bind(
    keys: tuple[str, ...], do: Callable[[], object], owner: QWidget, *, anywhere: bool = False
) -> list[QShortcut]:
    """Call a function at any of these keys, while the owner is seen.

    Parameters
    ----------
    keys : tuple of str
        Key sequences.
    do : callable
    owner : QWidget
    anywhere : bool
        In all of its window; else where it or a part of it has the keyboard.
    """
    made = []
    for key in keys:
        shortcut = QShortcut(QKeySequence(key), owner)
        shortcut.setContext(Qt.WindowShortcut if anywhere else Qt.WidgetWithChildrenShortcut)
        shortcut.setAutoRepeat(False)
        shortcut.activated.connect(do)
        made.append(shortcut)
    return made


def name_in_tip(widget: QWidget, *bound: tuple[str, ...]) -> None:
    """Write the first of each keys behind the tip of a widget, as this system writes them."""
    names = [QKeySequence(keys[0]).toString(QKeySequence.NativeText) for keys in bound]
    widget.setToolTip(f"{widget.toolTip()} ({', '.join(names)})")
