"""The layers of a slide run: heat map, allocation map, boxes, kept up while it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.geometry import Box
from napari_pathreason.slide_run import RunFinished, RunPlan, TileBudget

from ._allocation import AllocationMap, allocation_layer
from ._click import on_click
from ._frame import laid_over
from ._preview import PREVIEW_KEY
from ._slide_run_all import AllLesions, all_lesions_layer
from ._slide_run_boxes import BoxLayer, box_layer_attributes
from ._slide_run_state import RunSoFar
from ._throttle import Throttle

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Labels, Layer, Shapes

Changes = Mapping[int, TileBudget | None]
HEAT = ((1.0, 0.85, 0.0, 0.0), (1.0, 0.55, 0.0, 0.4), (0.85, 0.0, 0.0, 0.5))
"""Nothing, half sure, sure."""


def heat_layer_data(
    source: Image, plan: RunPlan, heat: NDArray[np.float32]
) -> tuple[NDArray[np.float32], dict[str, Any], str]:
    """Image layer of a heat map (rows, columns), exactly over its slide, clear where it is 0."""
    from napari.utils import Colormap

    attributes = {
        **laid_over(source, _whole(plan), (heat.shape[1], heat.shape[0])),
        "name": f"heat map: {source.name}",
        "colormap": Colormap(HEAT, name="pathreason heat"),
        "contrast_limits": (0.0, 1.0),
        "blending": "translucent",
        "metadata": {PREVIEW_KEY: True},  # no slide to be asked about
    }
    return heat, attributes, "image"


class RunLayers:
    """The layers of an image's runs: three, and one more where there are very many lesions.

    Each call of `step` does one thing that is due, so that none of them holds the viewer up for
    long: making a layer, adding it, or changing one in place. A layer that the user closes stays
    closed until the next run; the next run takes the same layers.

    Parameters
    ----------
    image : napari.layers.Image
        Held weakly.
    """

    def __init__(self, image: Image) -> None:
        self._image = ref(image)
        self._layers: dict[str, ref[Layer]] = {}
        self._boxes: BoxLayer | None = None
        self._shown: dict[str, Any] = {}
        self._so_far: RunSoFar | None = None
        self._map_wanted = False
        self._changes: Changes | None = None
        self._told: AllLesions | None = None
        self._made: tuple[str, Layer] | None = None
        self._throttles = {kind: Throttle() for kind in ("heat", "map", "all")}

    def begin(self, viewer: Viewer) -> None:
        """Get ready for another run; what the user closed, or changed, is made anew."""
        self._made = None
        if self._boxes is not None and self._boxes.changed:
            self._layers.pop("boxes", None)
        for kind in list(self._layers):
            if self._layer(viewer, kind) is None:
                del self._layers[kind]

    def step(self, viewer: Viewer, so_far: RunSoFar, changes: Changes) -> bool:
        """Do the next thing that is due.

        Returns
        -------
        bool
            Whether there was any, or will be; False once all is shown.
        """
        image, plan, shown = self._image(), so_far.plan, so_far.allocations
        if image is None or image not in viewer.layers or plan is None or shown is None:
            return False
        self._so_far = so_far
        if self._added(viewer, image, plan, shown, so_far, changes):
            return True
        stands: dict[str, tuple[Any, ...]] = {
            "heat": (so_far, so_far.changes),
            "map": (so_far, so_far.changes, changes),
        }
        if "all" in self._layers:
            stands["all"] = (so_far, so_far.everything)
        behind = [kind for kind in stands if self._shown.get(kind) != stands[kind]]
        # by turns: what was changed longest ago comes first
        for kind in sorted(behind, key=list(self._shown).index):
            layer = self._layer(viewer, kind)
            # what the user has just changed is not put off
            urgent = kind == "map" and self._changes is not changes
            if layer is None or not (urgent or self._throttles[kind].due()):
                continue
            with self._throttles[kind].spend():
                if kind == "heat":
                    _fill(layer, image, _whole(plan), so_far.heat())
                elif kind == "all":
                    everything = so_far.everything or AllLesions.of((), plan)
                    layer.data = everything.picture.levels
                    # added unseen and shown now: two shorter pieces of napari's work
                    layer.visible = layer.visible or self._shown[kind] is None
                else:
                    _fill(layer, image, shown.box, shown.labels(changes))
                    layer.features = shown.features(changes)
                    self._changes = changes
            self._shown.pop(kind)
            self._shown[kind] = stands[kind]
            return True
        drawing = self._draw(viewer, so_far) or self._tell(viewer, so_far)
        return drawing or any(self._layer(viewer, kind) is not None for kind in behind)

    def show_map(self, viewer: Viewer, wanted: bool) -> None:
        """Show the allocation map in place of the heat map, or the other way round."""
        self._map_wanted = wanted
        heat, tiles = self._layer(viewer, "heat"), self.map(viewer)
        if heat is not None:
            heat.visible = not wanted
        if tiles is not None:
            tiles.visible = wanted
        if wanted and tiles is not None:
            viewer.layers.selection.active = tiles  # napari tells of the pixels of this one

    def map(self, viewer: Viewer) -> Labels | None:
        """The allocation map, where it is open."""
        return self._layer(viewer, "map")

    def _layer(self, viewer: Viewer, kind: str) -> Any:
        known = self._layers.get(kind)
        layer = known() if known is not None else None
        return layer if layer is not None and layer in viewer.layers else None

    def _added(
        self,
        viewer: Viewer,
        image: Image,
        plan: RunPlan,
        shown: AllocationMap,
        so_far: RunSoFar,
        changes: Changes,
    ) -> bool:
        """Make a layer that is missing, or add the one that the step before has made."""
        if self._made is None:
            self._made = self._make(image, plan, shown, so_far, changes)
            return self._made is not None
        (kind, layer), self._made = self._made, None
        self._layers[kind] = ref(layer)
        if kind in ("heat", "map"):
            layer.visible = (kind == "map") == self._map_wanted
        selected = set(viewer.layers.selection)
        boxes = self._layer(viewer, "boxes")
        if kind == "all":
            shown_in = ref(viewer)
            on_click(layer, lambda x, y: self._pick(shown_in(), x, y))
        if kind == "all" and boxes is not None:
            viewer.layers.insert(viewer.layers.index(boxes), layer)  # those can be clicked
        else:
            viewer.add_layer(layer)
        if kind == "map" and self._map_wanted:
            viewer.layers.selection.active = layer
        else:
            viewer.layers.selection = selected  # the user's layer stays active
        return True

    def _make(
        self,
        image: Image,
        plan: RunPlan,
        shown: AllocationMap,
        so_far: RunSoFar,
        changes: Changes,
    ) -> tuple[str, Layer] | None:
        from napari.layers import Layer, Shapes

        everything = so_far.everything
        layer: Layer
        if "heat" not in self._layers:
            layer = Layer.create(*heat_layer_data(image, plan, so_far.heat()))
            kind = "heat"
        elif "map" not in self._layers:
            layer = allocation_layer(image, shown, changes)
            kind = "map"
        elif "boxes" not in self._layers:
            layer = shapes = Shapes(None, **box_layer_attributes(image))
            self._boxes = BoxLayer(shapes)
            kind = "boxes"
        elif "all" not in self._layers and everything is not None:
            layer = all_lesions_layer(image, everything)
            layer.visible = False
            kind = "all"
        else:
            return None
        self._shown[kind] = None
        return kind, layer

    def _draw(self, viewer: Viewer, so_far: RunSoFar) -> bool:
        boxes: Shapes | None = self._layer(viewer, "boxes")
        if boxes is None or self._boxes is None or so_far.plan is None:
            return False
        if self._boxes.step(so_far.most_confident, so_far.plan):
            return True
        if isinstance(so_far.ending, RunFinished):
            self._boxes.finish(so_far.ending.outcome.result)
        return False

    def _pick(self, viewer: Viewer | None, x: float, y: float) -> None:
        """Make the lesion at a place a shape, and select it."""
        so_far, boxes = self._so_far, None if viewer is None else self._layer(viewer, "boxes")
        if viewer is None or boxes is None or self._boxes is None or self._boxes.changed:
            return
        if so_far is None or so_far.plan is None or so_far.everything is None:
            return
        which = so_far.everything.picture.box_at(x, y)
        if which is not None:
            index = self._boxes.show(so_far.everything.lesions[which], so_far.plan)
            viewer.layers.selection.active = boxes
            boxes.mode = "select"
            boxes.selected_data = {index}

    def _tell(self, viewer: Viewer, so_far: RunSoFar) -> bool:
        """Let napari tell of all lesions at the end; its table of 100,000 takes 0.1 s."""
        layer: Labels | None = self._layer(viewer, "all")
        everything = so_far.everything
        if layer is None or so_far.ending is None or everything is self._told:
            return False
        layer.features = {} if everything is None else everything.features
        self._told = everything
        return True


def _whole(plan: RunPlan) -> Box:
    return Box(0, 0, plan.slide.width, plan.slide.height)


def _fill(layer: Image | Labels, image: Image, box: Box, values: NDArray[Any]) -> None:
    """Change a picture in place, or, for tiles of another size, the picture of a layer.

    The layer itself is kept: where the CPU paints, drawing the slide has crashed after layers over
    it were removed while a run went on.
    """
    if layer.data.shape == values.shape:
        layer.data[...] = values
        layer.refresh(extent=False)
    else:
        layer.data = values
        layer.affine = laid_over(image, box, (values.shape[1], values.shape[0]))["affine"]
