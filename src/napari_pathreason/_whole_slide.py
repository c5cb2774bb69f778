"""A whole slide from Python in one call: its lesions, or a class for each tile."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

from ._ask import KNOWN_BY_WEIGHTS, opened
from .errors import QueryError
from .slide_run import RunSettings
from .types import Budget, Effort, Encoder, GenerationSettings, Precision

if TYPE_CHECKING:
    from .engine import Models
    from .slide_run import Outcome, RunEvent, TileBudget
    from .slides import Slide

_DEFAULTS = RunSettings()


def detect(
    slide: str | Path | Slide,
    labels: str | Sequence[str] = _DEFAULTS.options,
    *,
    folder: str | Path | None = None,
    question: str = _DEFAULTS.question,
    budget: Budget = _DEFAULTS.budget,
    effort: Effort = _DEFAULTS.effort,
    model: str | Path | Models = "embedded",
    device: str = "auto",
    encoder: Encoder = "exact",
    precision: Precision = "auto",
    mpp: float = _DEFAULTS.mpp,
    tile: int = _DEFAULTS.tile,
    overlap: float = _DEFAULTS.overlap,
    min_tissue: float = _DEFAULTS.min_tissue,
    batch: int = _DEFAULTS.batch,
    zoom: bool = _DEFAULTS.generation.zoom,
    tiles: Mapping[int, TileBudget] | None = None,
    slide_mpp: float | tuple[float, float] | None = None,
    watch: Callable[[RunEvent], object] | None = None,
) -> Outcome:
    """Find lesions on a whole slide, tile by tile, as ``pathreason detect`` does.

    Parameters
    ----------
    slide : str, Path or Slide
        A file that is opened and closed again, or an open slide.
    labels : str or sequence of str
        Names of what is looked for.
    folder : str or Path, optional
        Of this run, made if it is missing: GeoJSON, tables, heat map and manifest are written
        there, and a run that was cut goes on from it. Without one nothing is kept but what is
        returned.
    question : str
        Plain words in place of the default wording.
    budget : int, "auto" or "native"
        Most visual tokens of a tile; ``auto`` leaves it to the allocator.
    effort : {"low", "balanced", "high"}
        How readily a learned allocator spends tokens.
    model : str, Path or Models
        ``embedded``, a folder, a hub id, or, without ``folder``, what `load_models` returned.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; not used where ``model`` is loaded.
    encoder : {"exact", "fast", "openvino"}
        See `models.load_models`; not used where ``model`` is loaded.
    precision : Precision
        What its weights are loaded as; not used where ``model`` is loaded.
    mpp : float
        Micrometres per pixel at which a tile is read at most.
    tile : int
        Side of a tile in pixels at that mpp.
    overlap : float
        Share of a side that neighbours have in common, 0.1 to 0.5.
    min_tissue : float
        Tiles with a smaller share of tissue are not read, 0 to 1.
    batch : int
        Tiles that are answered together.
    zoom : bool
        Zoom in on small detections, on top of the budget, where the model knows how.
    tiles : mapping of int to int or "native", optional
        Budgets of single tiles by index, 0 to leave one out. None: those that ``folder`` keeps.
    slide_mpp : float or (float, float), optional
        Micrometres per level-0 pixel, which go before what the file says.
    watch : callable, optional
        Called with each event of the run, such as `slide_run.Progress`.

    Returns
    -------
    Outcome
        Lesions in level-0 pixels, the slide as one result with the account of tokens, and a record
        of each tile.

    Raises
    ------
    PathreasonError
        One line that names the remedy. With a ``folder``, the same call goes on from there.

    Examples
    --------
    >>> outcome = detect("slide.svs", ["tumour"], folder="run")
    >>> outcome.tally.line, [lesion.detection.box for lesion in outcome.lesions]
    """
    from .slide_run import overrides_of

    settings = RunSettings(
        options=(labels,) if isinstance(labels, str) else tuple(labels),
        question=question,
        mpp=mpp,
        tile=tile,
        overlap=overlap,
        budget=budget,
        effort=effort,
        min_tissue=min_tissue,
        batch=batch,
        generation=GenerationSettings(zoom=zoom),
        overrides=None if tiles is None else overrides_of(tiles),
    )
    return _outcome(slide, settings, folder, slide_mpp, watch, (model, device, encoder, precision))


def classify(
    slide: str | Path | Slide,
    question: str = "",
    choices: Sequence[str] = (),
    *,
    task: Literal["vqa", "subtyping"] | None = None,
    folder: str | Path | None = None,
    budget: Budget = _DEFAULTS.budget,
    effort: Effort = _DEFAULTS.effort,
    model: str | Path | Models = "embedded",
    device: str = "auto",
    encoder: Encoder = "exact",
    precision: Precision = "auto",
    mpp: float = _DEFAULTS.mpp,
    tile: int = _DEFAULTS.tile,
    min_tissue: float = _DEFAULTS.min_tissue,
    batch: int = _DEFAULTS.batch,
    tiles: Mapping[int, TileBudget] | None = None,
    slide_mpp: float | tuple[float, float] | None = None,
    watch: Callable[[RunEvent], object] | None = None,
) -> Outcome:
    """Ask one question over every tile of a slide, as ``pathreason classify`` does.

    Parameters
    ----------
    slide : str, Path or Slide
        A file that is opened and closed again, or an open slide.
    question : str
        Plain words; may be empty for subtyping.
    choices : sequence of str
        The classes: answers that a tile may have. A question may go without where the model was
        trained to see choices behind it, such as yes and no.
    task : {"vqa", "subtyping"}, optional
        Subtyping where not given and there is no question.
    folder, budget, effort, model, device, encoder, precision, mpp, tile, min_tissue, batch
        As of `detect`.
    tiles, slide_mpp, watch
        As of `detect`.

    Returns
    -------
    Outcome
        Its ``classes`` say how many tiles and how much of the tissue are of each class, its
        ``records`` have the answer of each tile.

    Raises
    ------
    PathreasonError
        One line that names the remedy. With a ``folder``, the same call goes on from there.

    Examples
    --------
    >>> outcome = classify("slide.svs", "Is there tumour in this field?", ["yes", "no"])
    >>> {one.name: one.share for one in outcome.classes}
    """
    from .slide_run import overrides_of

    settings = RunSettings(
        task=task or ("vqa" if question.strip() else "subtyping"),
        options=tuple(choices),
        question=question,
        mpp=mpp,
        tile=tile,
        overlap=0,
        budget=budget,
        effort=effort,
        min_tissue=min_tissue,
        batch=batch,
        overrides=None if tiles is None else overrides_of(tiles),
    )
    return _outcome(slide, settings, folder, slide_mpp, watch, (model, device, encoder, precision))


def _outcome(
    slide: str | Path | Slide,
    settings: RunSettings,
    folder: str | Path | None,
    slide_mpp: float | tuple[float, float] | None,
    watch: Callable[[RunEvent], object] | None,
    loaded_as: tuple[str | Path | Models, str, Encoder, Precision],
) -> Outcome:
    """Run over a slide with a model that is loaded already, or as it says."""
    from .exports import UsedModel
    from .models import load_models
    from .slide_run import AnswersHere, LoadSame, follow, run_slide, used_model

    model, device, encoder, precision = loaded_as
    settings.check()
    load: Callable[[], Models]
    if not isinstance(model, str | Path):
        if folder is not None:
            raise QueryError(KNOWN_BY_WEIGHTS)
        info, loaded = model.performer.info, model
        used, load = (
            UsedModel(info.name, "", info.device, "", info.encoder, info.precision),
            lambda: loaded,
        )
    else:
        now = partial(used_model, str(model), device, encoder, precision)
        used = now()
        load = LoadSame(used, now, partial(load_models, model, device, encoder, precision))
    with (
        opened(slide, slide_mpp, "slide_mpp") as source,
        TemporaryDirectory() if folder is None else nullcontext(str(folder)) as where,
    ):
        answers = AnswersHere(source, load)
        return follow(run_slide(source, Path(where), settings, used, answers), watch).outcome
