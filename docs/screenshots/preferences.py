"""The plugin's page of napari's Preferences."""

from __future__ import annotations

from ._stage import Stage, settle


def play(stage: Stage) -> None:
    """Open the dialog at our page."""
    from napari._qt.dialogs.preferences_dialog import PreferencesDialog

    dialog = PreferencesDialog(stage.ask.window())
    titles = [dialog._list.item(i).text() for i in range(dialog._list.count())]
    dialog._list.setCurrentRow(titles.index("PathReason"))
    dialog.show()
    stage.front = dialog
    settle(1.0)
