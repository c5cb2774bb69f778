"""What both trainers share: settings out of the recipe, our optimiser and log, and the way home."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from napari_pathreason import models
from napari_pathreason.errors import QueryError
from napari_pathreason.training import run
from napari_pathreason.training.model import save_checkpoint
from napari_pathreason.training.recipe import PolicyRecipe, Recipe, SFTRecipe
from napari_pathreason.types import BoxSpace, Metadata

from ._start import Start

STATES = "trl"
"""Folder of a stage that holds TRL's own states."""
NAMES = {
    "learning_rate": "lr",
    "grad_norm": "norm",
    "frac_reward_zero_std": "zero_variance_share",
    "completions/mean_length": "length",
    "completions/clipped_ratio": "cut_off",
    "step_time": "seconds",
}
"""What the own log calls figures of TRL's."""
LEFT_OUT = ("epoch", "runtime", "samples_per_second", "steps_per_second")
"""Figures of a trainer that say nothing of a step."""


def check_installed() -> None:
    """Refuse to go on without TRL, with the line that installs it.

    Raises
    ------
    QueryError
    """
    if importlib.util.find_spec("trl") is None:
        raise QueryError(
            "--engine trl needs TRL; install it with pip install 'napari-pathreason[trl]'"
        )


def divide(batch: int, budgets: Mapping[int, float], pictures: int, tokens: int) -> int:
    """Prompts that are learnt from at once: the most that divide a batch and fit its tokens.

    Parameters
    ----------
    batch : int
        Prompts of a batch.
    budgets : mapping
        Weights of budgets; the largest that is drawn must fit.
    pictures : int
        Most pictures of a prompt.
    tokens : int
        Visual tokens that may be learnt from at once.
    """
    largest = max(budget for budget, weight in budgets.items() if weight > 0) * pictures
    return max(
        n for n in range(1, batch + 1) if batch % n == 0 and (n == 1 or n * largest <= tokens)
    )


def arguments(kind: Any, own: Mapping[str, Any], more: Mapping[str, Any], stage: str) -> Any:
    """A config of TRL's, out of the recipe and of what it hands on.

    Parameters
    ----------
    kind : class
        ``SFTConfig`` or ``GRPOConfig``.
    own : mapping
        What follows from the recipe.
    more : mapping
        ``trl.sft`` or ``trl.grpo`` of the recipe.
    stage : {"sft", "grpo"}

    Raises
    ------
    QueryError
        If the latter names a field twice, or one that there is not.
    """
    known = {field.name for field in fields(kind)}
    if twice := sorted(own.keys() & more.keys()):
        raise QueryError(
            f"trl.{stage}.{twice[0]} follows from other keys of the recipe; change them in place"
        )
    if unknown := sorted(more.keys() - known):
        raise QueryError(
            f"trl.{stage}.{unknown[0]}: there is no such field in {kind.__name__} of this TRL"
        )
    try:
        return kind(**own, **more)
    except (TypeError, ValueError, ImportError) as error:
        words = " ".join(str(error).split())
        raise QueryError(f"TRL refuses trl.{stage} of the recipe: {words[:200]}") from error


def common(
    kind: Any, recipe: Recipe, settings: SFTRecipe | PolicyRecipe, out: Path
) -> dict[str, Any]:
    """Settings that both trainers have from a recipe; ``kind`` is as in `arguments`."""
    checkpointing = recipe.lora is not None and recipe.lora.checkpointing
    named = "activation_checkpointing"  # as transformers 5.24 has it, which warns of the old name
    if named not in {field.name for field in fields(kind)}:
        named = "gradient_checkpointing"
    return {
        "output_dir": str(out / STATES),
        "seed": recipe.seed,
        "learning_rate": settings.lr,
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm,
        "bf16": settings.precision == "bf16",
        "use_cpu": models.resolve_device("auto").type == "cpu",
        named: checkpointing,
        "logging_steps": 1,
        "save_strategy": "steps",
        "save_steps": settings.checkpoint_every,
        "save_total_limit": 1,
        "eval_strategy": "steps",
        "eval_steps": settings.validate_every,
        "report_to": [recipe.log_with] if recipe.log_with else [],
        "run_name": run.model_name(recipe),
        "disable_tqdm": False,
        "remove_unused_columns": False,
        "push_to_hub": False,
    }


class OwnRate:
    """Stands before a trainer: AdamW and the schedule of the own loops."""

    settings: SFTRecipe | PolicyRecipe
    model: Any
    optimizer: Any
    lr_scheduler: Any

    def create_optimizer(self, model: Any = None) -> Any:
        """See `run.optimizer_of`; rates are the recipe's."""
        if self.optimizer is None:
            made = run.optimizer_of(self.model if model is None else model, self.settings)
            made.param_groups[:] = [group for group in made.param_groups if group["params"]]
            for group in made.param_groups:
                group["lr"] = self.settings.lr * group["share"]
            self.optimizer = made
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """See `run.schedule`; all steps on the same completions are of one rate."""
        if self.lr_scheduler is None:
            settings = self.settings
            again = settings.num_iterations if isinstance(settings, PolicyRecipe) else 1
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                self.optimizer if optimizer is None else optimizer,
                lambda at: run.schedule(at // again, settings.warmup, settings.steps),
            )
        return self.lr_scheduler


class Journal(TrainerCallback):
    """Writes the log as the own loops do, tells states whose they are, and ends a run early.

    Parameters
    ----------
    log : RunLog
    panels : mapping
        Of the learning curve.
    names : mapping
        What the log calls further figures of the trainer.
    of : mapping
        To which run the states belong.
    last : int or None
        Step of the optimiser that the run ends behind, before its schedule does.
    """

    def __init__(
        self,
        log: run.RunLog,
        panels: Mapping[str, str],
        names: Mapping[str, str],
        of: Mapping[str, Any],
        last: int | None,
    ) -> None:
        self._log, self._panels, self._of, self._last = log, panels, of, last
        self._names = {**NAMES, **names}

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
        """A record of what was learnt, or of held-out questions."""
        if not state.is_world_process_zero or "train_runtime" in logs:
            return
        numbers = {
            self._name(key): round(value, 6)
            for key, value in logs.items()
            if isinstance(value, int | float) and key.removeprefix("eval_") not in LEFT_OUT
        }
        self._log.write({"step": state.global_step, **numbers})

    def _name(self, key: str) -> str:
        held = key.startswith("eval_")
        plain = key.removeprefix("eval_")
        return ("val_" if held else "") + self._names.get(plain, plain)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The curve is drawn anew; then the state, which is whole, is told whose it is."""
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            self._log.draw(self._panels)  # first: behind the last state nothing goes on
            run.write_step(folder, state.global_step, self._of, alone=args.world_size == 1)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Evaluates, saves and ends at the last step."""
        if state.global_step >= (self._last or state.max_steps):
            control.should_training_stop = control.should_save = control.should_evaluate = True


def last_state(out: Path) -> Path | None:
    """The last whole state that TRL wrote in a stage's folder; None where there is none."""
    states = {
        int(file.parent.name.rpartition("-")[2]): file.parent
        for file in (out / STATES).glob(f"checkpoint-*/{run.STEP}")
    }
    return states[max(states)] if states else None


def identify(
    recipe: Recipe, stage: str, settings: Any, begin: str, processes: int, out: Path
) -> tuple[dict[str, Any], Path | None]:
    """Which run this is, and the last state of it in its folder; None where there is none.

    Raises
    ------
    QueryError
        If the state is of another run, or the processes are not those that were asked for.
    """
    run.check_processes(processes)
    of = run.identity_of(recipe, stage, settings, begin, processes)
    of |= {"engine": "trl", f"trl.{stage}": getattr(recipe.trl, stage)}
    state = last_state(out)
    run.check_same_run(state, of, out)
    if state is not None:
        run.check_files(state, out)
    return of, state


def check_read(
    recipe: Recipe,
    stage: str,
    begin: str,
    processes: int,
    of: Mapping[str, Any],
    data: Mapping[str, str],
) -> None:
    """Refuse to learn from what was replaced while it was read; once all of it is.

    Parameters
    ----------
    recipe : Recipe
    stage, begin, processes
        As in `identify`.
    of : mapping
        What that gave.
    data : mapping
        `run.data_identity` before the samples were read.

    Raises
    ------
    QueryError
        Says what has changed.
    """
    settings = getattr(recipe, stage)
    now = run.identity_of(recipe, stage, settings, begin, processes)
    run.check_unchanged({**of, **data}, {**of, **now})


def learn(
    trainer: Any, recipe: Recipe, out: Path, of: Mapping[str, Any], state: Path | None
) -> None:
    """Train, from a state on if there is one; what the run is stands beside it from the start."""
    if trainer.accelerator.is_main_process:
        done = 0 if state is None else int(state.name.rpartition("-")[2])
        run.start_log(None, out, recipe, done, ("trl",), of)
    trainer.train(resume_from_checkpoint=None if state is None else str(state))


def check_own_state(out: Path) -> None:
    """Refuse a folder in which the own loop has begun the same stage.

    Raises
    ------
    QueryError
    """
    if run.last_checkpoint(out) is not None:
        raise QueryError(
            f"the folder {out.name} holds a run of the own engine; go on without --engine trl, "
            "choose another output, or delete that folder to begin anew"
        )


def bring_home(
    trainer: Any,
    start: Start,
    folder: Path,
    begin: str,
    recipe: Recipe,
    metadata: Metadata,
    box_space: BoxSpace,
) -> None:
    """Write what a trainer has learnt as a model of ours; to be called in every process.

    Parameters
    ----------
    trainer : transformers Trainer
    start : Start
    folder : Path
        Where the model goes.
    begin : str
        What training began with.
    recipe : Recipe
    metadata : Metadata
    box_space : BoxSpace
        How it writes boxes.
    """
    accelerator = trainer.accelerator
    state = accelerator.get_state_dict(trainer.model_wrapped)  # of sharded weights all give theirs
    if accelerator.is_main_process:
        name = run.model_name(recipe)
        tokenizer = models.load_tokenizer(start.about, start.info)  # as it was: padded nowhere
        if recipe.lora is not None:
            own = {key.removeprefix("base_model.model."): value for key, value in state.items()}
            run.save_adapter(folder, own, start.plain, tokenizer, begin, name, metadata, box_space)
        else:
            save_checkpoint(
                folder, start.plain, tokenizer, name, metadata, start.about, state, box_space
            )
    accelerator.wait_for_everyone()
