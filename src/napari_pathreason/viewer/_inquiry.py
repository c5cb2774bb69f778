"""What is asked, as one evented model: docks set it and follow it, and none keeps a copy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import ReferenceType, ref

from psygnal import Signal, SignalGroupDescriptor

from napari_pathreason.budgets import BUDGET_GRID
from napari_pathreason.sample_data import sample_questions, samples
from napari_pathreason.types import Budget, Query, TaskName

from ._layers import drawn_on, is_slide
from ._settings import EMBEDDED, AskState, RegionSource

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Image

    from ._session import Entry

BUDGETS: tuple[Budget, ...] = ("auto", *BUDGET_GRID, 2048, 4096, 8192, 16_384, "native")
"""Of a region that may be large: beyond one picture's they are spread over its windows."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What is asked at one moment, as far as it is filled in.

    Parameters
    ----------
    image : napari.layers.Image or None
        Layer that is asked about; None where there is none.
    source : {"shape", "together", "annotations", "view", "layers", "layer"}
        Where its region comes from.
    query : Query
    budget : int or {"auto", "native"}
    model_id : str
        ``embedded``, a folder, a hub id or the address of a server.
    check_order : bool
        Whether a question with choices is asked again with these reversed.
    """

    image: Image | None
    source: RegionSource
    query: Query
    budget: Budget
    model_id: str
    check_order: bool = False


@dataclass(eq=False)
class Inquiry:
    """What is asked in a viewer, and which answer is shown; `resolve` gives it frozen.

    ``events`` has a signal for each field (psygnal), which is emitted where it gets another value,
    ``closed`` is emitted with an image layer that was closed;
    how a region is read is in `Steering`.

    Parameters
    ----------
    image : napari.layers.Image or None
        Layer that is asked about.
    source : {"shape", "together", "annotations", "view", "layers", "layer"}
        Where its region comes from.
    task : str
    question, options : str
        As they are written; `options` are names with commas between them.
    budget : int or {"auto", "native"}
    model : str
        ``embedded``, a folder or a hub id.
    preferred : str
        Model of the preferences.
    check_order : bool
        Whether a question with choices is asked again with these reversed.
    shown : Entry or None
        The answer that is shown; what Save and Copy write.
    """

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()
    closed: ClassVar[Signal] = Signal(object)

    image: Any = None
    source: RegionSource = "view"
    task: TaskName = "vqa"
    question: str = ""
    options: str = ""
    budget: Budget = "auto"
    model: str = EMBEDDED
    preferred: str = EMBEDDED
    check_order: bool = False
    shown: Any = None
    _sample_query: Query = field(default=Query("vqa"), init=False, repr=False)
    _left: _LeftWords = field(default_factory=lambda: _LeftWords(), init=False, repr=False)
    _viewer_ref: ReferenceType[Viewer] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self._left.task = self.task
        self.events.image.connect(self._offer_question)
        self.events.task.connect(self._change_task)
        self.events.question.connect(self._drop_choices)
        self.events.options.connect(self._drop_wording)

    def resolve(self) -> Draft:
        """What it says now, frozen."""
        query = Query(self.task, " ".join(self.question.split()), names_in(self.options))
        model = self.model.strip() or EMBEDDED
        return Draft(self.image, self.source, query, self.budget, model, self.check_order)

    def fill(self, query: Query) -> None:
        """Set task, question and choices to those of a query."""
        self.task = query.task
        self.question = query.question
        self.options = ", ".join(query.options)
        self._sample_query = query  # its choices go with it

    def _change_task(self) -> None:
        """Each task has words of its own, which come back with it: choices are no lesions."""
        self.question, self.options = self._left.change(self.task, self.question, self.options)
        self._show_question()

    def _drop_wording(self) -> None:
        """A sample's wording names its lesions: where others are looked for, it goes."""
        query = self._sample_query
        if self.task == query.task == "detection" and self.question == query.question:
            if names_in(self.options) != query.options:
                self.question = ""

    def pin(self, budget: Budget) -> None:
        """Set the budget; one that is not offered changes nothing."""
        if budget in BUDGETS:
            self.budget = budget

    def step_budget(self, up: int) -> None:
        """Set the next budget, up (1) or down (-1); below the lowest lies Auto."""
        place = BUDGETS.index(self.budget) + up
        self.budget = BUDGETS[min(max(place, 0), len(BUDGETS) - 1)]

    def prefer(self, model_id: str) -> None:
        """Take the model of the preferences where no other one was chosen."""
        former, self.preferred = self.preferred, model_id
        if self.model.strip() in ("", former):
            self.model = model_id

    def show(self, entry: Entry) -> None:
        """Show an answer; its image becomes the one that is asked about, while it is open."""
        self.shown = entry
        image = entry.image()
        if image is not None and image in self.slides:
            self.image = image

    def state(self) -> AskState:
        """What is set, but for the image and the answer."""
        model = self.model.strip()
        own = "" if model == self.preferred else model
        return AskState(
            self.task,
            self.question,
            self.options,
            self.source,
            self.budget,
            own,
            self.check_order,
        )

    def restore(self, state: AskState) -> None:
        """Set what `state` gave."""
        self.task = state.task
        self.question = state.question
        self.options = state.options
        self.source = state.region
        self.pin(state.budget)
        self.check_order = state.check_order
        if state.model:
            self.model = state.model
        self._offer_question()

    # layers

    def follow(self, viewer: Viewer) -> None:
        """Ask about the slide that is active in a viewer, from now on."""
        if self._viewer() is viewer:
            return
        self._viewer_ref = ref(viewer)
        viewer.layers.events.inserted.connect(self._look)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.layers.selection.events.active.connect(self._on_active)
        self._on_active()

    def _viewer(self) -> Viewer | None:
        return None if self._viewer_ref is None else self._viewer_ref()

    @property
    def slides(self) -> list[Image]:
        """The image layers that can be asked about."""
        viewer = self._viewer()
        return [] if viewer is None else [layer for layer in viewer.layers if is_slide(layer)]

    def _look(self, _: Any = None) -> None:
        slides = self.slides
        if self.image not in slides:
            self.image = slides[0] if slides else None

    def _on_removed(self, event: Any) -> None:
        self._look()
        if is_slide(event.value):
            self.closed.emit(event.value)

    def _on_active(self, _: Any = None) -> None:
        viewer = self._viewer()
        active = None if viewer is None else viewer.layers.selection.active
        if is_slide(active):
            self.image = active
        elif viewer is not None and active is not None and (image := drawn_on(viewer, active)):
            self.image = image
        else:
            self._look()

    # samples

    def _offer_question(self) -> None:
        """Where a sample is shown, go to a task that it has a question of, and ask that."""
        tasks = [query.task for query in self._sample_queries()]
        if tasks:
            self.task = self.task if self.task in tasks else tasks[0]
            self._show_question()

    def _show_question(self) -> None:
        """Write the sample's first question of the task, or nothing where it has none."""
        queries = self._sample_queries()
        if queries:
            mine = (query for query in queries if query.task == self.task)
            first = next(mine, Query(self.task))
            self.question = first.question
            self.options = ", ".join(first.options)
            self._sample_query = first

    def _drop_choices(self) -> None:
        """Take the choices of a sample's question away once the user asks something else."""
        options = ", ".join(self._sample_query.options)
        if self.task == "vqa" and options and self.options == options:
            self.options = ""

    def _sample_queries(self) -> tuple[Query, ...]:
        """Questions of the sample that is shown; none once the user has written words."""
        of_samples = {
            (one.query.question, ", ".join(one.query.options))
            for sample in samples()
            for one in sample.questions
        }
        words = self.question, self.options
        if self.image is None or not (words == ("", "") or words in of_samples):
            return ()
        return sample_questions(self.image.metadata)


@dataclass(slots=True)
class _LeftWords:
    """Question and options of each task, as they were left; no field of what is asked."""

    task: TaskName = "vqa"
    words: dict[TaskName, tuple[str, str]] = field(default_factory=dict)

    def change(self, task: TaskName, question: str, options: str) -> tuple[str, str]:
        """Leave the words of a task, and take those of another."""
        self.words[self.task] = question, options
        self.task = task
        return self.words.get(task, ("", ""))


def names_in(text: str) -> tuple[str, ...]:
    """Names that commas separate, each once, without blanks around them; none is empty."""
    names = (part.strip() for part in text.split(","))
    return tuple(dict.fromkeys(name for name in names if name))
