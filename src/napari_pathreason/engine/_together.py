"""Several main jobs at once, so that they share the passes of a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from threading import Event as Flag

from napari_pathreason import types

from ._job import Cancelled, Event, Failed, Finished, Job, Stage, TextDelta
from ._protocols import Allocator, BatchPerformer, Performer
from ._run import run_job


class ParkedJob:
    """A main job that stands still wherever it needs the model, until it is given a completion.

    `advance` and `give` take turns, as often as the job needs the model; then comes `end`.

    Parameters
    ----------
    job : Job
    info : ModelInfo
        Of the performer that will answer.
    allocator : Allocator
    cancel : threading.Event, optional
    """

    def __init__(
        self, job: Job, info: types.ModelInfo, allocator: Allocator, cancel: Flag | None = None
    ) -> None:
        self.info = info
        self.settings = job.request.settings
        self._prompt: types.Prompt | None = None
        self._completion: types.Completion | Exception | None = None
        self._took: list[float] = []
        self._events = run_job(job, self, allocator, cancel)
        self._ending: Event | None = None

    def generate(
        self,
        prompt: types.Prompt,
        settings: types.GenerationSettings,
        cancel: Flag,
    ) -> Iterator[str | types.Completion]:
        """Satisfies `Performer` for the job's own sake."""
        self._prompt, self._completion = prompt, None
        yield ""  # the job reports a piece of text, and waits until it is advanced
        self._prompt = None
        if isinstance(self._completion, Exception):
            raise self._completion
        if self._completion is not None:
            self._took.append(self._completion.seconds)
            yield self._completion

    def advance(self) -> bool:
        """Go on until the model is needed; False if the job ended before."""
        for event in self._events:
            if isinstance(event, TextDelta):
                return True
            self._ending = event
        return False

    @property
    def prompt(self) -> types.Prompt:
        """What the model is to see and answer, from `advance` to the next."""
        if self._prompt is None:
            raise RuntimeError("the job does not wait for the model")
        return self._prompt

    @property
    def answered(self) -> bool:
        """Whether a completion was given, or an error."""
        return self._completion is not None

    def give(self, completion: types.Completion | Exception) -> None:
        """What the model answered, or what it raised."""
        self._completion = completion

    def end(self) -> Finished | Cancelled | Failed:
        """The ending; the seconds of generation are those of the completions alone."""
        while self.advance():  # what was not answered fails
            pass
        if isinstance(self._ending, Finished) and self._took:
            # the stages also hold the wait for the other jobs
            first, *zoom = self._took
            seconds = dict(self._ending.result.seconds) | {Stage.GENERATE.value: first}
            if zoom:
                seconds[Stage.ZOOM.value] = sum(zoom)
            return Finished(replace(self._ending.result, seconds=seconds))
        if not isinstance(self._ending, Finished | Cancelled | Failed):
            raise RuntimeError("a job ended without an ending")
        return self._ending


def answer_parked(
    jobs: Sequence[ParkedJob], performer: Performer, cancel: Flag | None = None
) -> None:
    """Give each job its completion, in one pass where the performer can; or what it raised.

    All jobs must wait for the model, and have the settings of the first.
    """
    flag = cancel or Flag()
    try:
        if isinstance(performer, BatchPerformer) and len(jobs) > 1:
            prompts = [job.prompt for job in jobs]
            answers = performer.generate_batch(prompts, jobs[0].settings, flag)
            for job, answer in zip(jobs, answers, strict=True):
                job.give(answer)
            return
        for job in jobs:
            for piece in performer.generate(job.prompt, job.settings, flag):
                if isinstance(piece, types.Completion):
                    job.give(piece)
    except Exception as error:  # each job turns it into the line that its user sees
        for job in jobs:
            if not job.answered:
                job.give(error)


def ask_together(
    jobs: Sequence[Job],
    performer: Performer,
    allocator: Allocator,
    cancel: Flag | None = None,
) -> list[types.Result]:
    """Run jobs to their ends, the model's passes shared by all of them.

    Parameters
    ----------
    jobs : sequence of Job
        Of equal settings, and few enough for the model's memory.
    performer, allocator, cancel
        As in `run_job`.

    Returns
    -------
    list of Result
        In the order of the jobs.

    Raises
    ------
    PathreasonError
        If a job failed; one line that names the remedy.
    concurrent.futures.CancelledError
        If ``cancel`` was set.
    """
    parked = [ParkedJob(job, performer.info, allocator, cancel) for job in jobs]
    waiting = [job for job in parked if job.advance()]
    while waiting:
        answer_parked(waiting, performer, cancel)
        waiting = [job for job in waiting if job.advance()]
    results = []
    for job in parked:
        ending = job.end()
        if isinstance(ending, Failed):
            raise ending.error
        if isinstance(ending, Cancelled):
            raise CancelledError
        results.append(ending.result)
    return results
