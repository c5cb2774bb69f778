"""Several jobs at once, so that they share the passes of a model."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import CancelledError
from threading import Event as Flag

from napari_pathreason import types

from ._asking import Need, complete
from ._job import Cancelled, Event, Failed, Finished, Job
from ._protocols import Allocator, Performer
from ._run import job_steps


class ParkedJob:
    """A main job that stands still wherever it needs the model, until it is given completions.

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
        self.settings = job.request.settings
        self._steps = job_steps(job, lambda: info, allocator, cancel or Flag())
        self._need: Need | None = None
        self._reply: list[types.Completion] | Exception | None = None
        self._ending: Event | None = None

    def advance(self) -> bool:
        """Go on until the model is needed; False if the job has ended."""
        try:
            if self._need is None:
                item = next(self._steps)
            elif isinstance(self._reply, list):
                item = self._steps.send(self._reply)
            else:
                item = self._steps.throw(self._reply or RuntimeError("no completion was given"))
            self._need = self._reply = None
            while not isinstance(item, Need):
                self._ending = item
                item = next(self._steps)
        except StopIteration:
            self._need = None
            return False
        self._need = item
        return True

    @property
    def prompts(self) -> tuple[types.Prompt, ...]:
        """What the model is to see, from `advance` to the next."""
        if self._need is None:
            raise RuntimeError("the job does not wait for the model")
        return self._need.prompts

    def give(self, reply: list[types.Completion] | Exception) -> None:
        """What the model answered to `prompts`, or what it raised."""
        self._reply = reply

    def end(self) -> Finished | Cancelled | Failed:
        """The ending; what was not answered fails."""
        while self.advance():
            pass
        if not isinstance(self._ending, Finished | Cancelled | Failed):
            raise RuntimeError("a job ended without an ending")
        return self._ending


def answer_parked(
    jobs: Sequence[ParkedJob],
    performer: Performer,
    cancel: Flag | None = None,
    most: int | None = None,
) -> None:
    """Give each job its completions, in shared passes where the performer can; or what it raised.

    Parameters
    ----------
    jobs : sequence of ParkedJob
        All wait for the model, and have the settings of the first.
    performer : Performer
    cancel : threading.Event, optional
    most : int, optional
        Visual tokens of a pass; those that suit the model's device if left out.
    """
    if not jobs:
        return
    prompts = [prompt for job in jobs for prompt in job.prompts]
    need = Need(tuple(prompts))
    try:
        asking = complete(need, performer, jobs[0].settings, cancel or Flag(), most)
        while True:
            next(asking)
    except StopIteration as end:
        done: list[types.Completion] = end.value
        for job in jobs:
            count = len(job.prompts)
            job.give(done[:count])
            done = done[count:]
    except Exception as error:  # each job turns it into the line that its user sees
        for job in jobs:
            job.give(error)


def ask_together(
    jobs: Sequence[Job],
    performer: Performer,
    allocator: Allocator,
    cancel: Flag | None = None,
    most: int | None = None,
) -> list[types.Result]:
    """Run jobs to their ends, the model's passes shared by all of them.

    Parameters
    ----------
    jobs : sequence of Job
        Of equal settings, and few enough for the model's memory.
    performer, allocator, cancel
        As in `run_job`.
    most : int, optional
        See `answer_parked`.

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
        answer_parked(waiting, performer, cancel, most)
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
