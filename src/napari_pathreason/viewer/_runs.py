"""What the model of a viewer is doing: every run with its state, in one place.

::

    idle / failed --> loading --> running <--> pausing --> paused --> running
    loading, running, pausing, paused --> cancelling --> idle
    loading, running, pausing, paused, cancelling --> idle (done) or failed

States change in the main thread alone.
"""

from __future__ import annotations

from enum import StrEnum
from weakref import WeakSet

from psygnal import Signal


class RunState(StrEnum):
    """Of a question, a comparison or a slide run."""

    IDLE = "idle"
    LOADING = "loading"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    FAILED = "failed"


_AT_REST = frozenset({RunState.IDLE, RunState.FAILED})
_BEGUN = frozenset(RunState) - _AT_REST
NEXT: dict[RunState, frozenset[RunState]] = {
    RunState.IDLE: frozenset({RunState.LOADING}),
    RunState.FAILED: frozenset({RunState.LOADING, RunState.IDLE}),
    RunState.LOADING: frozenset({RunState.RUNNING, RunState.PAUSING, RunState.CANCELLING})
    | _AT_REST,
    RunState.RUNNING: frozenset({RunState.PAUSING, RunState.CANCELLING}) | _AT_REST,
    RunState.PAUSING: frozenset({RunState.PAUSED, RunState.RUNNING, RunState.CANCELLING})
    | _AT_REST,
    RunState.PAUSED: frozenset({RunState.RUNNING, RunState.CANCELLING}) | _AT_REST,
    RunState.CANCELLING: _AT_REST,
}
"""Where each state may go."""


class Run:
    """State of one runner.

    Attributes
    ----------
    changed : psygnal signal
        Emitted with each new `RunState`.
    """

    changed = Signal(RunState)

    def __init__(self) -> None:
        self._state, self._holds_model = RunState.IDLE, False

    @property
    def state(self) -> RunState:
        """Where it stands."""
        return self._state

    @property
    def running(self) -> bool:
        """Whether it has begun and not ended; a paused run is running."""
        return self._state in _BEGUN

    @property
    def holds_model(self) -> bool:
        """Whether no other run may use the model meanwhile: one that is paused lets it go."""
        return self._holds_model

    def move(self, state: RunState) -> None:
        """Go to another state; to the same one changes nothing.

        Raises
        ------
        ValueError
            If it cannot be reached from here.
        """
        if state is self._state:
            return
        if state not in NEXT[self._state]:
            raise ValueError(f"a run that is {self._state} cannot become {state}")
        self._state = state
        if state is not RunState.CANCELLING:
            self._holds_model = state in (RunState.LOADING, RunState.RUNNING)
        self.changed.emit(state)

    def rest(self) -> None:
        """Be idle, wherever it stands."""
        self.move(RunState.IDLE)


class Runs:
    """All runs of one viewer, which share a model.

    Attributes
    ----------
    changed : psygnal signal
        Emitted whenever one of them has changed its state.
    """

    changed = Signal()

    def __init__(self) -> None:
        self._runs: WeakSet[Run] = WeakSet()

    def add(self) -> Run:
        """Another run, idle; forgotten with its runner."""
        run = Run()
        self._runs.add(run)
        run.changed.connect(self._tell)
        return run

    @property
    def busy(self) -> bool:
        """Whether one of them holds the model."""
        return any(run.holds_model for run in self._runs)

    def _tell(self) -> None:
        self.changed.emit()
