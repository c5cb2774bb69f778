"""A project's question asked of one annotation after the other; what was answered is not again."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event as Flag

from napari_pathreason import engine, exports, slide_run, slides
from napari_pathreason.errors import (
    ExportError,
    PathreasonError,
    QueryError,
    RegionError,
    SlideError,
)
from napari_pathreason.files import locked, refuse_overwriting, remove_drafts
from napari_pathreason.geometry import size_within

from ._annotations import Annotation, annotations_of
from ._folder import ProjectAnswer, ProjectFolder, ProjectQuestion, key_of
from ._slides import Project, ProjectSlide

MASK_SIDE = 1024
"""Pixels of the longer side of the mask that tells tissue from glass."""
OF_ONE = (QueryError, RegionError, SlideError)
"""Errors that concern one annotation; any other ends the run, as the next would fare no better."""

BLOCKS = 64
"""Of 64 KiB, that tell slides of one size and time apart: a project may have hundreds of them."""


@dataclass(frozen=True, slots=True)
class ProjectItem:
    """One annotation of one slide, with its key; see `key_of`."""

    slide: ProjectSlide
    annotation: Annotation
    key: str


@dataclass(frozen=True, slots=True)
class ProjectStarted:
    """What there is to ask: all annotations, and the answers that were kept before, and where."""

    total: int
    before: tuple[ProjectAnswer, ...]
    folder: Path


@dataclass(frozen=True, slots=True)
class AnnotationStarted:
    """An annotation is asked about; ``number`` counts all from 1, kept ones too."""

    item: ProjectItem
    number: int
    total: int


@dataclass(frozen=True, slots=True)
class AnnotationAnswered:
    """An answer, which is on the disk."""

    item: ProjectItem
    answer: ProjectAnswer
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class AnnotationFailed:
    """An annotation, or a whole slide where ``item`` has no annotation, could not be asked."""

    slide: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class ProjectEnded:
    """Ending: how many are answered, of how many, and the files that were written.

    ``error`` is what ended it, None where it came to its end or was cancelled.
    """

    done: int
    total: int
    failed: int
    files: tuple[Path, ...]
    cancelled: bool = False
    error: PathreasonError | None = None


ProjectEvent = (
    ProjectStarted | AnnotationStarted | AnnotationAnswered | AnnotationFailed | ProjectEnded
)


def items_of(project: Project) -> tuple[list[ProjectItem], list[AnnotationFailed]]:
    """All annotations of a project, and the slides whose file of them cannot be read.

    One that stands twice in a file, by name and shape, is one.
    """
    items: dict[str, ProjectItem] = {}
    failed: list[AnnotationFailed] = []
    for slide in project.slides:
        if slide.annotations is None:
            continue
        try:
            annotations = annotations_of(slide.annotations)
        except ExportError as error:
            failed.append(AnnotationFailed(slide.name, "", str(error)))
            continue
        content = _content(slide.path, slides.signature_of(slide.path))
        for one in annotations:
            item = ProjectItem(slide, one, key_of(slide, content, one))
            items.setdefault(item.key, item)
    return list(items.values()), failed


def run_project(
    project: Project,
    question: ProjectQuestion,
    load: Callable[[], engine.Models],
    folder: Path | None = None,
    open_slide: Callable[[Path], slides.Slide] = slides.open_slide,
    cancel: Flag | None = None,
) -> Generator[ProjectEvent, None, None]:
    """Ask a question of every annotation of a project, or go on where an earlier run stopped.

    Nothing is done between two events, so who takes no further one has paused it.

    Parameters
    ----------
    project : Project
    question : ProjectQuestion
    load : callable
        Gives the model; called before each annotation that is left to be asked about, so that it
        is the loaded one again after a pause.
    folder : Path, optional
        Where answers are kept; made if it is missing. That of the project if not given.
    open_slide : callable
        Opens a slide; one is open at a time.
    cancel : threading.Event, optional
        Once set, the run ends; the annotation in hand is asked again the next time.

    Yields
    ------
    ProjectEvent
        The last one is `ProjectEnded`. No exception leaves this iterator.
    """
    cancel = cancel or Flag()
    store = ProjectFolder(folder or project.answers)
    run = _Run(project, question, store, load, open_slide, cancel)
    try:
        refuse_overwriting(store.tables(project.slides), project.files)
        with locked(store.folder):
            remove_drafts(store.folder)
            if not store.check(question):
                store.begin(question)
            try:
                yield from run.events()
            except BaseException:  # whatever ends it, the tables have what is answered
                with suppress(ExportError):
                    run.ending()
                raise
            yield run.ending()
    except Exception as error:  # of the folder, or the model: what is answered is kept
        shown = engine.as_user_error(
            error, "in the project", "what is answered is kept, ask again, and report it"
        )
        yield replace(run.counts(), error=shown)


class _Run:
    """One run: what is left, what became of it, and the slide that is open."""

    def __init__(
        self,
        project: Project,
        question: ProjectQuestion,
        store: ProjectFolder,
        load: Callable[[], engine.Models],
        open_slide: Callable[[Path], slides.Slide],
        cancel: Flag,
    ) -> None:
        self._project, self._question, self._store = project, question, store
        self._load, self._open, self._cancel = load, open_slide, cancel
        self._items: Sequence[ProjectItem] = ()
        self._answers: dict[str, ProjectAnswer] = {}
        self._failed = 0
        self._mask: slides.TissueMask | None = None

    def events(self) -> Iterator[ProjectEvent]:
        items, unread = items_of(self._project)
        self._items = items
        known = self._store.answers()
        self._answers = {  # a list may say by now that slides are of other cases
            item.key: replace(known[item.key], case=item.slide.case)
            for item in items
            if item.key in known
        }
        yield ProjectStarted(len(items), tuple(self._in_order()), self._store.folder)
        self._failed = len(unread)
        yield from unread
        left = [(n, one) for n, one in enumerate(items, 1) if one.key not in self._answers]
        while left and not self._cancel.is_set():
            slide = left[0][1].slide
            own = [pair for pair in left if pair[1].slide is slide]
            left = [pair for pair in left if pair[1].slide is not slide]
            yield from self._of_slide(slide, own)

    def _of_slide(
        self, slide: ProjectSlide, own: Sequence[tuple[int, ProjectItem]]
    ) -> Iterator[ProjectEvent]:
        try:
            opened = self._open(slide.path)
        except SlideError as error:
            self._failed += len(own)
            yield AnnotationFailed(slide.name, "", str(error))
            return
        with opened:
            self._mask = _mask_of(opened)
            same = slide_run.SameSlide(opened)
            content = _content(slide.path, opened.signature)
            for number, item in own:
                if self._cancel.is_set():
                    return
                yield AnnotationStarted(item, number, len(self._items))
                models = self._load()
                try:
                    _check_key(item, opened, content)
                    answer = self._ask(item, opened, models)
                    same.check(surely=False)  # before it is kept as one about this slide
                except OF_ONE as error:
                    self._failed += 1
                    yield AnnotationFailed(slide.name, item.annotation.name, str(error))
                    continue
                if answer is None:
                    return
                self._store.add(answer)
                self._answers[item.key] = answer
                done, total = len(self._answers), len(self._items)
                yield AnnotationAnswered(item, answer, done, total)

    def _ask(
        self, item: ProjectItem, slide: slides.Slide, models: engine.Models
    ) -> ProjectAnswer | None:
        """The answer about an annotation; None where it was cancelled."""
        annotation = item.annotation
        request = replace(
            self._question.request, region=annotation.region, outline=annotation.outline
        )
        job = engine.Job(slide, request)
        for event in engine.run_job(job, models.performer, models.allocator, self._cancel):
            if isinstance(event, engine.Failed):
                raise event.error
            if isinstance(event, engine.Finished):
                region = event.result.region
                tissue = None
                if self._mask is not None:
                    tissue = self._mask.share(region, annotation.outline)
                return ProjectAnswer(
                    item.key,
                    item.slide.name,
                    item.slide.case,
                    annotation.name,
                    event.result,
                    tissue,
                )
        return None

    def _in_order(self) -> list[ProjectAnswer]:
        return [self._answers[one.key] for one in self._items if one.key in self._answers]

    def counts(self) -> ProjectEnded:
        return ProjectEnded(len(self._answers), len(self._items), self._failed, ())

    def ending(self) -> ProjectEnded:
        """The end, once the tables are written."""
        files = tuple(self._store.write_tables(self._in_order()))
        return replace(self.counts(), files=files, cancelled=self._cancel.is_set())


def _content(path: Path, signature: str) -> str:
    """What changes with a slide's content, also where size and time are set back.

    Parameters
    ----------
    path : Path
    signature : str
        See `slides.signature_of`.
    """
    try:
        return f"{signature} {exports.fingerprint(path, BLOCKS)}"
    except ExportError:
        return signature  # why it cannot be read is said where it is opened


def _check_key(item: ProjectItem, slide: slides.Slide, content: str) -> None:
    """Refuse to answer about a slide other than the one that an annotation's key was made of."""
    if slide.path is None or item.key == key_of(item.slide, content, item.annotation):
        return
    raise SlideError(
        f"{item.slide.name} has changed since the project was read; run it again, and it is asked "
        "about as it is now"
    )


def _mask_of(slide: slides.Slide) -> slides.TissueMask | None:
    """Tissue of a slide; None where its coarse level is damaged."""
    try:
        return slides.tissue_mask(slide, size_within(slide.width, slide.height, MASK_SIDE))
    except SlideError:
        return None
