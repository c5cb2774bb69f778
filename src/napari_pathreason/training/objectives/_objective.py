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


def process_weights(accelerator: Accelerator, counts: torch.Tensor) -> torch.Tensor:
    """How much the means of this process weigh among all, float (losses,); 1 where it is alone.

    Gradients are averaged over processes. Weighed so, their average is the gradient of one process
    that has all of the batch, however unevenly targets fall.

    Parameters
    ----------
    accelerator : Accelerator
    counts : float tensor (losses,)
        `Objective.counts` of this process.
    """
    counts = counts.to(accelerator.device)
    # a mean of less than one stands where some processes have nothing, and divides all the same
    return counts / accelerator.reduce(counts.clone(), reduction="mean").clamp(min=1e-9)
