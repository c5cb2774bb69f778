"""Tiles handed to a running dask.distributed cluster."""

from __future__ import annotations

from asyncio import CancelledError as AsyncCancelledError
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Event as Flag, Lock
from typing import TYPE_CHECKING, Any, Protocol

from napari_pathreason import engine, models, slides
from napari_pathreason.errors import (
    ModelError,
    QueryError,
    SlideError,
    WorkerError,
)
from napari_pathreason.types import Encoder, ModelInfo, Precision

from ._answer import Group
from ._identity import model_identity, slide_fingerprint
from ._plan import RunPlan, check_encoder, used_model
from ._record import TileRecord
from ._settings import RunSettings
from ._tiles import Tile
from ._unchanged import SameSlide

if TYPE_CHECKING:
    from distributed import Client, Future


Mpp = float | tuple[float, float] | None
WAIT = 30
"""Seconds within which a scheduler must answer and have a worker."""
TICK = 0.5
"""Seconds between two checks of the cancel flag."""


class Load(Protocol):
    """Loads a model on a worker, and says by its content which one that is there."""

    def __call__(self) -> engine.Models:
        """Load."""

    def identity(self) -> str:
        """See `model_identity`."""

    def __hash__(self) -> int:
        """Of equal ones the same: they load once."""


@dataclass(frozen=True, slots=True)
class LoadModels:
    """`models.load_models` with its arguments, to be sent to workers; parameters as there."""

    model_id: str = "embedded"
    device: str = "auto"
    encoder: Encoder = "exact"
    precision: Precision = "auto"

    def __call__(self) -> engine.Models:
        """Load."""
        return models.load_models(self.model_id, self.device, self.encoder, self.precision)

    def identity(self) -> str:
        """Of the model of that name where this is called."""
        return model_identity(used_model(self.model_id, self.device, self.encoder, self.precision))


class AnswersOnCluster:
    """Answers on the workers of a cluster; each loads the model once.

    Workers must have this package and see the slide under the same path; each makes sure that slide
    and model are by their content those of the run. A worker that dies costs the tiles that it had
    in hand, which others answer again. Satisfies `Answers`.

    Parameters
    ----------
    address : str
        Of the scheduler, such as ``tcp://10.0.0.1:8786``.
    path : Path
        Of the slide.
    mpp : float or (float, float), optional
        Micrometres per level-0 pixel, where the user gave them.
    load : Load
        Gives the model. Sent to the workers; equal ones load once, so it must be hashable.
    channels : str
    icc : bool
        As the slide was opened here, see `slides.open_slide`.
    """

    def __init__(
        self,
        address: str,
        path: Path,
        mpp: Mpp,
        load: Load,
        channels: str = "",
        icc: bool = False,
    ) -> None:
        self._address = address
        self._slide = (path.absolute(), mpp, channels, icc)
        self._load = load

    def model(self) -> tuple[ModelInfo, bool]:
        """See `Answers.model`; a worker is asked.

        Raises
        ------
        ModelError
            If the scheduler goes away.
        """
        with _scheduler_lives(), _connected(self._address) as client:
            model: tuple[ModelInfo, bool] = _result(
                client.submit(_describe, self._load, pure=False)
            )
            return model

    def run(
        self, plan: RunPlan, groups: Sequence[tuple[Tile, ...]], cancel: Flag
    ) -> Iterator[list[TileRecord]]:
        """See `Answers.run`. A few groups for each thread of the cluster are on their way."""
        from distributed import wait

        todo = iter(groups)
        wanted = (plan.identity.fingerprint, plan.identity.model)
        with _scheduler_lives(), _connected(self._address) as client:
            pending: set[Future] = set()
            while True:
                for tiles in _some(todo, 2 * _threads(client) - len(pending)):
                    what = (tiles, plan.settings, plan.model.encoder)
                    pending.add(
                        client.submit(_answer, self._load, self._slide, wanted, *what, pure=False)
                    )
                if not pending:
                    return
                try:
                    with client.as_current():
                        done, pending = wait(pending, TICK, return_when="FIRST_COMPLETED")
                except TimeoutError:
                    done = set()
                for future in done:
                    yield _result(future)
                if cancel.is_set():
                    raise _Stopped


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    try:
        from distributed import Client
    except ModuleNotFoundError as error:
        raise QueryError(
            "a scheduler needs dask.distributed; pip install 'napari-pathreason[cluster]'"
        ) from error
    try:
        client = Client(address, timeout=WAIT, set_as_default=False)
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        raise QueryError(
            f"no scheduler answers at {address}; start one with dask scheduler, or leave out "
            "--scheduler"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=WAIT)
        except TimeoutError as error:
            raise QueryError(
                f"the scheduler at {address} has no workers; start some with dask worker {address}"
            ) from error
        yield client


def _threads(client: Client) -> int:
    """At least one: all workers may be gone for a moment."""
    counts: dict[str, int] = client.nthreads()
    return max(1, sum(counts.values()))


def _some(groups: Iterator[tuple[Tile, ...]], count: int) -> Iterator[tuple[Tile, ...]]:
    for _ in range(count):
        if (group := next(groups, None)) is None:
            return
        yield group


def _result(future: Future) -> Any:
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        raise WorkerError(
            "several workers died over the same tiles; look at their logs, give them more memory "
            "or a smaller --batch, and run again"
        ) from error
    except Exception as error:
        if future.status == "error":  # of the task, whatever it is
            raise _OfTask(error) from None
        raise


class _OfTask(Exception):
    """What was raised where a group was answered."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class _Stopped(Exception):
    """The run was cancelled here: tasks of a scheduler that is gone are called cancelled too."""


@contextmanager
def _scheduler_lives() -> Iterator[None]:
    """Say when a scheduler is gone: that is no end that anybody wished for.

    Raises
    ------
    ModelError
        Names the remedy.
    concurrent.futures.CancelledError
        If the run was cancelled.
    """
    try:
        yield
    except _Stopped:
        raise CancelledError from None
    except _OfTask as of:
        raise of.error from None
    except (CancelledError, AsyncCancelledError, OSError, RuntimeError) as error:
        raise ModelError(
            "the scheduler went away while tiles were answered; what is done is kept: start it "
            "again and run again, or leave out --scheduler"
        ) from error


_ONE_AT_A_TIME = Lock()


@lru_cache(maxsize=1)
def _load_here(load: Load) -> tuple[engine.Models, str]:
    """Load a model once; with its identity, which is that of what was loaded.

    Raises
    ------
    ModelError
        If it was changed while it was loaded.
    """
    identity = load.identity()
    loaded = load()
    if load.identity() != identity:
        raise ModelError("a worker's model has changed while it was loaded; run again")
    return loaded, identity


@lru_cache(maxsize=1)
def _slide_here(
    path: Path, mpp: Mpp, channels: str, icc: bool, fingerprint: str, signature: str
) -> slides.Slide:
    """Open a slide once; another file of the same name is another slide.

    Raises
    ------
    SlideError
        If it is not the one of the run.
    """
    slide = slides.open_slide(path, mpp, channels=channels, icc=icc)
    if slide_fingerprint(slide) != fingerprint or slide.signature != signature:
        slide.close()
        raise SlideError(
            f"a worker has another slide under the name {slide.info.name}: its content is not that "
            "of the run; let all workers see the same file, and run again"
        )
    return slide


def _describe(load: Load) -> tuple[ModelInfo, bool]:
    """On a worker: what its model is."""
    with _ONE_AT_A_TIME:
        performer = _load_here(load)[0].performer
    return performer.info, isinstance(performer, engine.BatchPerformer)


def _answer(
    load: Load,
    where: tuple[Path, Mpp, str, bool],
    wanted: tuple[str, str],
    tiles: Sequence[Tile],
    settings: RunSettings,
    encoder: Encoder,
) -> list[TileRecord]:
    """On a worker: answer for a group of tiles.

    Parameters
    ----------
    load : Load
    where : (Path, float or (float, float) or None, str, bool)
        The slide, its um per pixel, channels and whether its ICC profile counts.
    wanted : (str, str)
        Fingerprint of the slide and identity of the model of the run.
    tiles, settings
    encoder : Encoder
        That the other tiles were read by.

    Raises
    ------
    SlideError, ModelError
        If slide or model are not those of the run.
    QueryError
        If the vision encoder does not compute as that of the other tiles.
    """
    fingerprint, model = wanted
    with _ONE_AT_A_TIME:  # threads of a worker share one model and one slide
        slide = _slide_here(*where, fingerprint, slides.signature_of(where[0]))
        loaded, identity = _load_here(load)
    if identity != model:
        raise ModelError(
            "a worker has another model under the same name: its files differ from those of the "
            "run; give all workers the same, and run again"
        )
    check_encoder(encoder, loaded.performer.info)
    group = Group(slide, tiles, settings, loaded.performer, loaded.allocator, Flag())
    records = group.read().answer()
    SameSlide(slide).check()
    return records
