"""The allocation of a slide run, tile by tile: to look at, to pick from and to change."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_pathreason.budgets import BUDGET_GRID
from napari_pathreason.slide_run import TileBudget, raised
from napari_pathreason.types import Budget
from napari_pathreason.viewer import (
    PICKED_TILES,
    part_under,
    picked_parts,
    picks_of,
    start_picking,
    why_not_offered,
)

from ._fields import BudgetBox, text_line
from ._map_parts import PickedButtons, button, legend
from ._runner import SlideRunner

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image

BUDGETS: list[tuple[str, Budget]] = [
    *((f"{budget:,}", budget) for budget in BUDGET_GRID),
    ("native", "native"),
]


class AllocationView(QWidget):
    """Legend, the tile under the cursor, and buttons that change the budgets of picked tiles.

    Parameters
    ----------
    runner : SlideRunner
        Has the run that is shown.

    Signals
    -------
    pick_wanted
        The user wants to pick tiles.
    changed
        The budgets that are to be run have changed.
    run_wanted
        They are to be run now.
    """

    pick_wanted = Signal()
    changed = Signal()
    run_wanted = Signal()

    def __init__(self, runner: SlideRunner) -> None:
        super().__init__()
        self._runner = runner
        self.budgets: dict[int, TileBudget] = {}
        """Of all tiles for which a user has decided."""
        self.changes: dict[int, TileBudget | None] = {}
        """Those that differ from the run that is shown; None gives a tile back to the run."""
        self.picked: list[int] = []
        self.in_front = False
        """Whether its tab is the one that is seen."""
        self.hover = text_line("Point at a tile to see its budget, who chose it and why.", 3)
        self.note = text_line()
        self.pick_button = button("Pick tiles", "Draw rectangles on the map, or click a tile")
        self.budget_box = BudgetBox("Visual tokens that picked tiles are pinned to", BUDGETS)
        self.budget_box.choose(256)
        own = "the run's own budget"
        self.buttons = PickedButtons("tiles", self.pick_button, self.budget_box, own)
        self.run_button = button("Run again", "Answer the changed tiles, into the same folder")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.addLayout(legend())
        layout.addWidget(self.hover)
        layout.addWidget(self.buttons)
        layout.addWidget(self.note)
        layout.addWidget(self.run_button)
        layout.addStretch(1)
        self.pick_button.clicked.connect(self.pick_wanted)
        self.buttons.pin.clicked.connect(lambda: self._give(lambda _: self.budget_box.value))
        self.buttons.ban.clicked.connect(lambda: self._give(lambda _: 0))
        self.buttons.higher.clicked.connect(lambda: self._give(self._raised))
        self.buttons.release.clicked.connect(lambda: self._give(lambda _: None))
        self.run_button.clicked.connect(self.run_wanted)
        self.refresh(False)

    def take_over(self) -> None:
        """Begin with the budgets of the run that is shown."""
        self.budgets = self._overrides()
        self.recount()

    def recount(self, running: bool = False) -> None:
        """Hold the user's budgets against those of the run that is shown."""
        former = {} if running else self._overrides()
        wanted = {} if running else self.budgets
        self.changes = {
            tile: wanted.get(tile)
            for tile in sorted({*former, *wanted})
            if wanted.get(tile) != former.get(tile)
        }
        self.changed.emit()

    def _overrides(self) -> dict[int, TileBudget]:
        """Budgets that a user had set for the run that is shown."""
        plan = self._runner.so_far.plan
        overrides = () if plan is None else plan.settings.overrides or ()
        return {one.tile: one.budget for one in overrides}

    def pick(self, tiles: list[int]) -> None:
        """Note which tiles are picked."""
        self.picked = tiles

    def refresh(self, running: bool) -> None:
        """Enable what can be done now, and say how many tiles it is about."""
        has_map = self._runner.so_far.plan is not None
        free = has_map and bool(self.picked) and not running
        refused = self.budget_box.offer(*self._most())
        self.pick_button.setEnabled(has_map)
        self.buttons.enable(free)
        self.buttons.pin.setEnabled(free and not refused)
        self.run_button.setEnabled(bool(self.changes) and not running)
        words = [f"{_tiles(len(self.picked))} picked", f"{len(self.changes):,} changed"]
        if not has_map:
            words = ["Start or resume a run: its tiles appear here, coloured by their budget"]
        text = f"{', '.join(words)}."
        if self.note.text() != text:
            self.note.setText(text)

    def _give(self, budget_of: Callable[[int], TileBudget | None]) -> None:
        for tile in self.picked:
            budget = budget_of(tile)
            if budget is None:
                self.budgets.pop(tile, None)
            else:
                self.budgets[tile] = budget
        self.picked = []
        self.recount()

    def _most(self) -> tuple[int | None, int | None]:
        """Visual tokens up to which the model's replies hold, and of a tile at native size."""
        so_far = self._runner.so_far
        if so_far.plan is None or so_far.allocations is None:
            return None, None
        return so_far.plan.model.max_visual_tokens, so_far.allocations.most

    def _raised(self, tile: int) -> TileBudget | None:
        """One budget above what a tile was last given, where the model's replies hold there.

        A tile that waits has nothing to raise.
        """
        higher, (limit, native) = self._higher(tile), self._most()
        if higher is None or not why_not_offered(higher, limit, native):
            return higher
        return self.budgets.get(tile)

    def _higher(self, tile: int) -> TileBudget | None:
        so_far = self._runner.so_far
        if so_far.plan is None or so_far.allocations is None:
            return None
        most = so_far.allocations.most
        if tile in self.budgets:
            return raised(None if (b := self.budgets[tile]) == "native" else b, most)
        plan, record = so_far.plan, so_far.records.get(tile)
        budget: int | None
        if record is not None and record.allocation is not None:
            budget = record.allocation.budget
        elif not plan.tiles[tile].is_read(plan.settings.min_tissue):
            budget = 0
        elif isinstance(plan.settings.budget, int):
            budget = plan.settings.budget
        else:
            return None
        return None if budget is None or budget >= most else raised(budget, most)


class TileSelection(QObject):
    """Tiles that the user points at or picks on the canvas, for an `AllocationView`.

    Parameters
    ----------
    view : AllocationView
    runner : SlideRunner
        Has the map of the run that is shown.
    viewer : callable
        Gives the viewer, or None once it is gone.

    Attributes
    ----------
    image : callable
        Gives the slide of that run, or None once it is gone.
    """

    def __init__(
        self,
        view: AllocationView,
        runner: SlideRunner,
        viewer: Callable[[], Viewer | None],
    ) -> None:
        super().__init__(view)
        self._view, self._runner, self._viewer = view, runner, viewer
        self.image: Callable[[], Image | None] = lambda: None

    def pick(self) -> bool:
        """Let the user draw rectangles on the map; False where there is none."""
        viewer, image, allocations = self._viewer(), self.image(), self._runner.so_far.allocations
        if viewer is None or image is None or image not in viewer.layers or allocations is None:
            return False
        start_picking(viewer, image, allocations, PICKED_TILES)
        return True

    def look(self) -> bool:
        """Note which tiles are picked; False where the user picks none."""
        viewer, image, allocations = self._viewer(), self.image(), self._runner.so_far.allocations
        if (
            viewer is None
            or image is None
            or allocations is None
            or picks_of(viewer, image, PICKED_TILES) is None
        ):
            self._view.pick([])
            return False
        self._view.pick(picked_parts(viewer, image, allocations, PICKED_TILES))
        return True

    def spend(self) -> None:
        """Take the rectangles away: their tiles have got another budget."""
        viewer, image = self._viewer(), self.image()
        name = PICKED_TILES
        picks = None if viewer is None or image is None else picks_of(viewer, image, name)
        if picks is not None and len(picks.data):
            picks.data = []
            picks.mode = "add_rectangle"

    def hover(self, position: tuple[float, ...]) -> None:
        """Say why the tile under the cursor has its budget; the position is in the world."""
        viewer, image, allocations = self._viewer(), self.image(), self._runner.so_far.allocations
        if viewer is None or image is None or allocations is None or not self._view.in_front:
            return
        tile = part_under(viewer, image, allocations, position)
        if tile is not None:
            self._view.hover.setText(allocations.explain(tile))


def _tiles(count: int) -> str:
    return "1 tile" if count == 1 else f"{count:,} tiles"
