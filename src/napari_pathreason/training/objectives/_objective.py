"""The seam of supervised fine-tuning: what a run teaches, beside the loop that teaches it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from accelerate import Accelerator
from pydantic import BaseModel, ValidationError

from napari_pathreason.errors import QueryError
from napari_pathreason.training.recipe import SFTRecipe, load_object
from napari_pathreason.training.samples import Sample, View

from ._batch import Batch
from ._language_model import LanguageModelObjective

B = TypeVar("B", bound=Batch)
Options = TypeVar("Options", bound=BaseModel)


class Objective(Protocol[B]):
    """What the loop of supervised fine-tuning teaches a model; named by ``sft.objective``.

    The loop draws pictures and questions, reads them, steps the optimiser, validates and saves.
    All else is the objective's: what is written, what else is learnt from a picture, and how much
    each part of it weighs. It is made out of the settings alone (``Class(recipe.sft)``), before
    anything is read, and should refuse wrong ``objective_options`` there (`read_options`).
    `LanguageModelObjective` is the default, and a base for objectives that differ in a method.

    Attributes
    ----------
    weights : mapping of str to float
        Of each loss, by its name, in the order of `losses`. Known once `attach` was called.
    panels : mapping of str to str
        Panels of the learning curve: name of a loss -> title.
    module : torch.nn.Module
        What learns. Its attribute ``model`` is the transformers model that is saved; whatever else
        it holds serves training alone. Known once `attach` was called.
    sparse : bool
        Whether some step leaves some parameters without a gradient; several processes must know.
    """

    weights: Mapping[str, float]
    panels: Mapping[str, str]
    module: torch.nn.Module
    sparse: bool

    def attach(self, model: Any, tokenizer: Any) -> None:
        """Take the model that the run begins with, and build ``module`` around it.

        Called at every start of a run, resumed ones too; what the tokenizer must learn of a prompt
        is written into it here.

        Raises
        ------
        QueryError
            If this model cannot be taught so; names the remedy.
        """
        ...

    def begin(self, batches: Iterable[B]) -> None:
        """Write into the weights what the first step should find there; not called on a resume.

        Parameters
        ----------
        batches : iterable
            Pictures of the training data, without end, the same in every process.
        """
        ...

    def extend(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """Questions about one picture, and those that training asks of it besides."""
        ...

    def collate(self, pictures: Sequence[Sequence[tuple[Sample, View]]]) -> B:
        """Batch of pictures with all their questions, and all that the losses are told of them.

        Called in another thread than `losses`.
        """
        ...

    def losses(self, model: Any, batch: B, step: int) -> torch.Tensor:
        """Losses of a batch, float (losses,); each a mean over what `counts` tells.

        Parameters
        ----------
        model : torch.nn.Module
            ``module``, wrapped as the processes need it.
        batch : Batch
            On the model's device.
        step : int
            Steps done so far.
        """
        ...

    def counts(self, batch: B) -> torch.Tensor:
        """What each loss is the mean over, float (losses,)."""
        ...

    def rate(self, step: int) -> float:
        """What the learning rate of a step is multiplied by, beside the schedule's own factor."""
        ...


def load_objective(
    reference: str | None, beside: Sequence[Path] = ()
) -> Callable[[SFTRecipe], Objective[Any]]:
    """The class that a recipe names.

    Parameters
    ----------
    reference : str, optional
        ``module:Class``, looked for as `load_object` says; None for `LanguageModelObjective`.
    beside : sequence of Path
        Folders of the recipe.

    Raises
    ------
    QueryError
        If there is no such class, or it lacks a part of `Objective`.
    """
    if reference is None:
        return LanguageModelObjective
    found = load_object(reference, beside)
    methods = ("attach", "begin", "extend", "collate", "losses", "counts", "rate")
    lacking = [name for name in methods if not callable(getattr(found, name, None))]
    if not isinstance(found, type) or lacking:
        what = f"lacks {', '.join(lacking)}" if isinstance(found, type) else "is no class"
        raise QueryError(
            f"{reference} {what}; sft.objective names a class with all parts of Objective, as one "
            "derived from LanguageModelObjective has them (docs/training.md)"
        )
    return found


def read_options(form: type[Options], settings: SFTRecipe) -> Options:
    """``sft.objective_options`` as an objective's own form of them.

    Parameters
    ----------
    form : type of pydantic.BaseModel
        With ``extra="forbid"``, so that a mistyped name is refused.
    settings : SFTRecipe

    Raises
    ------
    QueryError
        Names the first option that is unknown or wrong, in one line.
    """
    try:
        return form.model_validate(settings.objective_options)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["sft.objective_options", *map(str, first["loc"])])
        if first["type"] == "extra_forbidden":
            known = ", ".join(form.model_fields) or "nothing"
            raise QueryError(f"{where} is no option of this objective; it knows {known}") from None
        raise QueryError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None


def part_weights(accelerator: Accelerator, counts: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """How much the means of each part of a step weigh among all, each float (losses,).

    A step may be learnt in parts, one behind the other (gradient accumulation) and on several
    processes. Gradients of parts are added and those of processes averaged: weighed so, what comes
    out is the gradient of one process that has all of the step, however unevenly targets fall. All
    weights are 1 where there is one part of one process.

    Parameters
    ----------
    accelerator : Accelerator
    counts : sequence of float tensor (losses,)
        `Objective.counts` of the parts of this process.
    """
    each = [own.to(accelerator.device) for own in counts]
    whole = torch.stack(each).sum(0)
    # a mean of less than one stands where some processes have nothing, and divides all the same
    among = accelerator.reduce(whole.clone(), reduction="mean").clamp(min=1e-9)
    return [own / among for own in each]
