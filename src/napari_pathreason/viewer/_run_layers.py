"""The layers of a slide run, kept up as it goes on: heat or class map, allocation map, lesions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from napari_pathreason.geometry import Box
from napari_pathreason.slide_run import RunFinished, RunPlan, TileBudget

from ._allocation import budget_layer, fill_layer
from ._class_map import ClassMap, class_layer, colour_classes
from ._frame import laid_over, on_click
from ._layers import PREVIEW_KEY
from ._lesions import AllLesions, BoxLayer, all_lesions_layer, box_layer_attributes
from ._slide_run import SHARE, RunSoFar, Throttle
from ._tile_map import TileMap

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image, Labels, Layer

Changes = Mapping[int, TileBudget | None]
Kind = Literal["heat", "classes", "map", "boxes", "all"]
OF_LESIONS: tuple[Kind, ...] = ("heat", "boxes", "all")
OF_CLASSES: tuple[Kind, ...] = ("classes",)
HEAT = ((1.0, 0.85, 0.0, 0.0), (1.0, 0.55, 0.0, 0.4), (0.85, 0.0, 0.0, 0.5))
"""Colours of confidence 0, one half and 1."""


@dataclass(frozen=True, slots=True)
class _Content:
    """What a picture shows, compared by value: the picture is behind where this differs.

    Parameters
    ----------
    run : int
        `RunSoFar.number`.
    version : int
        How often what it shows of that run has changed.
    changes : mapping of int to budget or None
        Budgets that are still to be run, not changed afterwards; of the allocation map alone.
    """

    run: int
    version: int
    changes: Changes = field(default_factory=dict)


@dataclass(slots=True)
class _Picture:
    """A layer of a run in the viewer.

    Parameters
    ----------
    layer : weak reference to napari.layers.Layer
    throttle : Throttle
        How often its pixels are changed.
    content : _Content or None
        What its pixels show; None until they were filled for the first time.
    table : _Content or None
        Of what its feature table is, where that comes later than the pixels.
    """

    layer: ref[Layer]
    throttle: Throttle
    content: _Content | None = None
    table: _Content | None = None


@dataclass(frozen=True, slots=True)
class _Run:
    """A run that has something to show: its plan is made, its slide is open."""

    viewer: Viewer
    image: Image
    so_far: RunSoFar
    plan: RunPlan
    allocations: TileMap
    changes: Changes

    def contents(self) -> dict[Kind, _Content]:
        """What each picture should show."""
        so_far = self.so_far
        return {
            ("heat" if so_far.classes is None else "classes"): _Content(
                so_far.number, so_far.changes
            ),
            "map": _Content(so_far.number, so_far.changes, self.changes),
            "all": _Content(so_far.number, so_far.everything_changes),
        }


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

    A run over which tiles have classes has two: these and the allocation map.

    Each call of `step` does one thing that is due, so that none of them holds the viewer up for
    long: making a layer, adding it, or changing one in place. A layer that the user closes stays
    closed until the next run; the next run takes the same layers.

    Parameters
    ----------
    image : napari.layers.Image
        Held weakly.
    share : float
        Share of the time that may go into changing one of the pictures.
    """

    def __init__(self, image: Image, share: float = SHARE) -> None:
        self._image = ref(image)
        self._share = share
        self._pictures: dict[Kind, _Picture] = {}
        """Layers that were added, the one that was changed longest ago first."""
        self._made: tuple[Kind, Layer] | None = None
        """A layer that the next step adds."""
        self._boxes: BoxLayer | None = None
        self._so_far: RunSoFar | None = None
        self._map_wanted = False

    def begin(self, viewer: Viewer) -> None:
        """Get ready for another run; what the user closed, or changed, is made anew."""
        self._made = None
        if self._boxes is not None and self._boxes.changed:
            self._pictures.pop("boxes", None)
        for kind in list(self._pictures):
            if self._layer(viewer, kind) is None:
                del self._pictures[kind]

    def step(self, viewer: Viewer, so_far: RunSoFar, changes: Changes) -> bool:
        """Do the next thing that is due.

        Returns
        -------
        bool
            Whether there was any, or will be; False once all is shown.
        """
        image, plan, allocations = self._image(), so_far.plan, so_far.allocations
        if image is None or image not in viewer.layers or plan is None or allocations is None:
            return False
        if self._so_far is not so_far:
            self._hide_others(viewer, so_far)
        self._so_far = so_far
        run = _Run(viewer, image, so_far, plan, allocations, changes)
        if self._made is not None:
            (kind, layer), self._made = self._made, None
            self._add(run, kind, layer)
            return True
        self._made = self._make(run)
        if self._made is not None:
            return True
        wanted = run.contents()
        behind = [
            kind
            for kind, picture in self._pictures.items()
            if kind in wanted
            and picture.content != wanted[kind]
            and self._layer(viewer, kind) is not None
        ]
        return (
            any(self._update(run, kind, wanted[kind]) for kind in behind)
            or self._draw_boxes(run)
            or self._set_table(run, wanted["all"])
            or bool(behind)
        )

    def show_map(self, viewer: Viewer, wanted: bool) -> None:
        """Show the allocation map in place of the heat map, or the other way round."""
        self._map_wanted = wanted
        tiles = self.map(viewer)
        classified = self._so_far is not None and self._so_far.classes is not None
        front = self._layer(viewer, "classes" if classified else "heat")
        if front is not None:
            front.visible = not wanted
        if tiles is not None:
            tiles.visible = wanted
        if wanted and tiles is not None:
            viewer.layers.selection.active = tiles  # napari shows the features of this one

    def _hide_others(self, viewer: Viewer, so_far: RunSoFar) -> None:
        """Of a run of the other kind before this one, nothing lies over the slide."""
        own, others = OF_LESIONS, OF_CLASSES
        if so_far.classes is not None:
            own, others = others, own
        for kind in (*own, *others):
            layer = self._layer(viewer, kind)
            if layer is not None:
                hidden = kind in ("heat", "classes") and self._map_wanted
                layer.visible = kind in own and not hidden

    def map(self, viewer: Viewer) -> Labels | None:
        """The allocation map, where it is open."""
        return self._layer(viewer, "map")

    def _layer(self, viewer: Viewer, kind: Kind) -> Any:
        """A layer of these, where it is open."""
        picture = self._pictures.get(kind)
        layer = None if picture is None else picture.layer()
        return layer if layer is not None and layer in viewer.layers else None

    # one step each

    def _make(self, run: _Run) -> tuple[Kind, Layer] | None:
        """The first layer that is missing."""
        from napari.layers import Layer, Shapes

        image, so_far = run.image, run.so_far
        if so_far.classes is not None:
            if "classes" not in self._pictures:
                return "classes", class_layer(image, so_far.classes)
        elif "heat" not in self._pictures:
            return "heat", Layer.create(*heat_layer_data(image, run.plan, so_far.heat()))
        if "map" not in self._pictures:
            tiles = run.allocations
            values, features = tiles.labels(run.changes), tiles.features(run.changes)
            return "map", budget_layer(image, tiles.box, values, features, "allocation map")
        if so_far.classes is not None:
            return None
        if "boxes" not in self._pictures:
            shapes = Shapes(None, **box_layer_attributes(image))
            self._boxes = BoxLayer(shapes)
            return "boxes", shapes
        if "all" not in self._pictures and so_far.everything is not None:
            layer = all_lesions_layer(image, so_far.everything)
            layer.visible = False  # added unseen and shown later: two short pieces of napari's work
            return "all", layer
        return None

    def _add(self, run: _Run, kind: Kind, layer: Layer) -> None:
        viewer = run.viewer
        if kind in ("heat", "classes", "map"):
            layer.visible = (kind == "map") == self._map_wanted
        if kind == "all":
            viewer_of = ref(viewer)
            on_click(layer, lambda x, y: self._pick(viewer_of(), x, y))
        selected = set(viewer.layers.selection)
        boxes = self._layer(viewer, "boxes")
        self._pictures[kind] = _Picture(ref(layer), Throttle(self._share))
        if kind == "all" and boxes is not None:
            viewer.layers.insert(viewer.layers.index(boxes), layer)  # those can be clicked
        else:
            viewer.add_layer(layer)
        if kind == "map" and self._map_wanted:
            viewer.layers.selection.active = layer
        else:
            viewer.layers.selection = selected  # the user's layer stays active

    def _update(self, run: _Run, kind: Kind, wanted: _Content) -> bool:
        """Change the pixels of a layer; False where that is put off."""
        picture, layer = self._pictures[kind], self._layer(run.viewer, kind)
        former, so_far = picture.content, run.so_far
        # what the user has just changed is not put off
        urgent = kind == "map" and (former is None or former.changes != wanted.changes)
        if not (urgent or picture.throttle.due()):
            return False
        with picture.throttle.spend():
            if kind == "heat":
                fill_layer(layer, run.image, _whole(run.plan), so_far.heat())
            elif kind == "classes" and so_far.classes is not None:
                _fill_classes(layer, run.image, so_far.classes, former, wanted)
            elif kind == "map":
                fill_layer(
                    layer, run.image, run.allocations.box, run.allocations.labels(run.changes)
                )
                layer.features = run.allocations.features(run.changes)
            else:
                everything = so_far.everything or AllLesions.of((), run.plan)
                layer.data = everything.picture.levels
                layer.visible = layer.visible or former is None
        picture.content = wanted
        self._pictures[kind] = self._pictures.pop(kind)  # the others come first
        return True

    def _draw_boxes(self, run: _Run) -> bool:
        """Bring the shapes in line with the most confident lesions."""
        if self._layer(run.viewer, "boxes") is None or self._boxes is None:
            return False
        if self._boxes.step(run.so_far.most_confident, run.plan):
            return True
        if isinstance(run.so_far.ending, RunFinished):
            self._boxes.finish(run.so_far.ending.outcome.result)
        return False

    def _set_table(self, run: _Run, wanted: _Content) -> bool:
        """Give the picture of all lesions its features at the end: those of 100,000 take 0.1 s."""
        layer: Labels | None = self._layer(run.viewer, "all")
        if layer is None or run.so_far.ending is None or self._pictures["all"].table == wanted:
            return False
        layer.features = {} if run.so_far.everything is None else run.so_far.everything.features
        self._pictures["all"].table = wanted
        return True

    def _pick(self, viewer: Viewer | None, x: float, y: float) -> None:
        """Make the lesion at a place, level-0 pixels, a shape and select it."""
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


def _fill_classes(
    layer: Labels, source: Image, shown: ClassMap, former: _Content | None, wanted: _Content
) -> None:
    """Change a class map in place; another run has colours of its own."""
    if former is None or former.run != wanted.run:
        colour_classes(layer, shown)
    fill_layer(layer, source, shown.box, shown.labels())
    layer.features = shown.features()


def _whole(plan: RunPlan) -> Box:
    return Box(0, 0, plan.slide.width, plan.slide.height)
