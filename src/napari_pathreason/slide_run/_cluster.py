"""Tiles handed to a running dask.distributed cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Event as Flag, Lock
from typing import TYPE_CHECKING, Any

from napari_pathreason import engine, models, slides
from napari_pathreason.errors import ModelError, QueryError
from napari_pathreason.types import Encoder, ModelInfo

from ._answer import Group
from ._plan import RunPlan, check_encoder
from ._record import TileRecord
from ._settings import DetectSettings
from ._tiles import Tile

if TYPE_CHECKING:
    from distributed import Client, Future


Mpp = float | tuple[float, float] | None
WAIT = 30
"""Seconds within which a scheduler must answer and have a worker."""
TICK = 0.5
"""Seconds between two checks of the cancel flag."""


@dataclass(frozen=True, slots=True)
class LoadModels:
    """`models.load_models` with its arguments, to be sent to workers; parameters as there."""

    model_id: str = "embedded"
    device: str = "auto"
    encoder: Encoder = "exact"

    def __call__(self) -> engine.Models:
        """Load."""
        return models.load_models(self.model_id, self.device, self.encoder)


class AnswersOnCluster:
    """Answers on the workers of a cluster; each loads the model once.

    Workers must have this package and see the slide under the same path. A worker that dies costs
    the tiles that it had in hand, which others answer again. Satisfies `Answers`.

    Parameters
    ----------
    address : str
        Of the scheduler, such as ``tcp://10.0.0.1:8786``.
    path : Path
        Of the slide.
    mpp : float or (float, float), optional
        Micrometres per level-0 pixel, where the file does not say.
    load : callable
        Gives the model. Sent to the workers; equal ones load once, so it must be hashable.
    """

    def __init__(
        self,
        address: str,
        path: Path,
        mpp: Mpp,
        load: Callable[[], engine.Models],
    ) -> None:
        self._address = address
        self._slide = (path.absolute(), mpp)
        self._load = load

    def model(self) -> tuple[ModelInfo, bool]:
        """See `Answers.model`; a worker is asked."""
        with _connected(self._address) as client:
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
        with _connected(self._address) as client:
            pending: set[Future] = set()
            while True:
                for tiles in _some(todo, 2 * _threads(client) - len(pending)):
                    where = (*self._slide, plan.identity.fingerprint)
                    arguments = (self._load, where, tiles, plan.settings, plan.model.encoder)
                    pending.add(client.submit(_answer, *arguments, pure=False))
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
                    raise CancelledError


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
        raise ModelError(
            "several workers died over the same tiles; look at their logs, give them more memory "
            "or a smaller --batch, and run again"
        ) from error


_ONE_AT_A_TIME = Lock()


@lru_cache(maxsize=1)
def _load_here(load: Callable[[], engine.Models]) -> engine.Models:
    return load()


@lru_cache(maxsize=1)
def _slide_here(path: Path, mpp: Mpp, fingerprint: str) -> slides.Slide:
    """Open a slide; by the fingerprint another file of the same name is another slide."""
    return slides.open_slide(path, mpp)


def _describe(load: Callable[[], engine.Models]) -> tuple[ModelInfo, bool]:
    """On a worker: what its model is."""
    with _ONE_AT_A_TIME:
        performer = _load_here(load).performer
    return performer.info, isinstance(performer, engine.BatchPerformer)


def _answer(
    load: Callable[[], engine.Models],
    where: tuple[Path, Mpp, str],
    tiles: Sequence[Tile],
    settings: DetectSettings,
    encoder: Encoder,
) -> list[TileRecord]:
    """On a worker: answer for a group of tiles.

    Raises
    ------
    QueryError
        If the vision encoder does not compute as that of the other tiles.
    """
    with _ONE_AT_A_TIME:  # threads of a worker share one model and one slide
        loaded, slide = _load_here(load), _slide_here(*where)
    check_encoder(encoder, loaded.performer.info)
    group = Group(slide, tiles, settings, loaded.performer, loaded.allocator, Flag())
    return group.read().answer()
