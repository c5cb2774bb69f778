"""GRPO by TRL's ``GRPOTrainer``, from our samples and rewards to a model of ours.

Left out on purpose: several questions about one picture in a step, and an allocator's policy in
place of the recipe's weights of budgets; both are the own loop's (`training.performer`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_pathreason import models
from napari_pathreason.errors import ModelError, QueryError
from napari_pathreason.training import grpo, run
from napari_pathreason.training.performer import starting_point
from napari_pathreason.training.recipe import Recipe

from ._frame import (
    Journal,
    OwnRate,
    arguments,
    bring_home,
    check_installed,
    check_own_state,
    check_read,
    common,
    divide,
    identify,
    learn,
)
from ._questions import Drawing, Questions
from ._start import load_start

PANELS = {name: title for name, title in grpo.PANELS.items() if name != "zero_variance"} | {
    "zero_variance_share": "share of groups that teach nothing"
}
"""Panels of the learning curve."""
UNTAKEN = ("llava_onevision", "mllama")
"""Families whose processor gives tensors that TRL's GRPO (1.16) does not hand on to the model."""
NEVER = -100.0
"""What vLLM adds to the logit of a token that must not be drawn."""


@run.alone
def train_performer_by_trl(recipe: Recipe) -> Path:
    """Train until ``recipe.grpo.steps``; continues from the last state of ``output``/grpo/trl.

    Parameters
    ----------
    recipe : Recipe

    Returns
    -------
    Path
        Folder of the checkpoint that `load_models` reads.

    Raises
    ------
    QueryError
        If TRL is not installed or refuses what the recipe hands on, there is no model to start
        from, a reward function is not there, the recipe wants what is the own loop's alone, or
        ``output``/grpo holds the state of another run.
    ModelError
        If that model cannot be read, or TRL's GRPO does not take its family.
    """
    check_installed()
    import trl

    settings, out = recipe.grpo, Path(recipe.output) / "grpo"
    if settings.questions > 1:
        raise QueryError(
            "several grpo.questions about a picture are the own engine's; set 1, or train without "
            "--engine trl"
        )
    begin = starting_point(recipe)
    begun, name = models.find_checkpoint(begin)
    about = models.described_in(begun, models.find_base(begun, name))
    info = models.read_info(about, name, begun)
    if info.family in UNTAKEN:
        raise ModelError(
            f"TRL's GRPO does not take models of the family {models.FAMILIES[info.family].name}; "
            "supervised fine-tuning by --engine trl does, and others of the table learn by both"
        )
    refiner = grpo.BoxRefiner(recipe.metadata.zoom_labels, info.dims.token_px)
    space = info.box_space or "relative"
    rewards = grpo.Rewards(settings, recipe.beside, refiner, space)
    run.tracking(recipe, out)
    check_own_state(out)
    read = run.data_identity(Path(recipe.data.folder))
    data = run.read_data(recipe, settings.budgets, info.max_visual_tokens)
    shown = max(len(sample.views) or 1 for sample in data.train)
    piece = divide(settings.batch_size, settings.budgets, shown, settings.tokens)
    batch = settings.batch_size * settings.gradient_accumulation
    own = common(trl.GRPOConfig, recipe, settings, out) | {
        "max_steps": settings.steps * settings.num_iterations,
        "per_device_train_batch_size": piece * settings.num_generations,
        "gradient_accumulation_steps": batch // piece,
        "per_device_eval_batch_size": piece,
        "num_generations": settings.num_generations,
        "num_generations_eval": 1,
        "max_completion_length": settings.max_completion_length,
        "num_iterations": settings.num_iterations,
        "temperature": settings.temperature,
        "beta": settings.beta,
        "epsilon": settings.epsilon,
        "epsilon_high": settings.epsilon_high,
        "loss_type": settings.loss_type,
        "scale_rewards": "group" if settings.scaled else "none",
        "reward_weights": list(settings.reward_weights) if settings.reward_weights else None,
        "use_bias_correction_kl": False,  # the paper's distance is k3 as it stands
        "disable_dropout": True,  # drawing and learning must be of one distribution
        "shuffle_dataset": False,  # the rows are drawn already
        "log_multimodal": False,
    }
    if settings.num_iterations > 1:  # the recipe counts steps, TRL those of the optimiser
        own |= {
            "save_steps": settings.checkpoint_every * settings.num_iterations,
            "eval_steps": settings.validate_every * settings.num_iterations,
        }
    further = dict(recipe.trl.grpo)
    drawing_options = dict(further.pop("generation_kwargs", None) or {})
    args = arguments(trl.GRPOConfig, own, further, "grpo")  # before weights: it may shard them
    processes = args.world_size
    of, state = identify(recipe, "grpo", settings, begin, processes, out)
    start = load_start(begin, recipe.lora, recipe.seed, str(args.device))
    check_read(recipe, "grpo", begin, processes, of, read)
    never = list(start.never)  # drawn, they would be read as pictures that are not there
    args.generation_kwargs = drawing_options | (
        {
            "logit_bias": dict.fromkeys(never, NEVER),
            "stop_token_ids": start.plain.generation_config.eos_token_id,  # it reads its own config
        }
        if args.use_vllm
        else {"suppress_tokens": never}
    )

    def questions(samples: Sequence[Any], drawing: Drawing, change: Any) -> Questions:
        return Questions(
            *(samples, recipe.data, settings.budgets, recipe.seed, drawing, data.pictures, start),
            space,
            change,
        )

    class Trainer(OwnRate, trl.GRPOTrainer):
        pass

    Trainer.settings = settings
    # a trainer draws the completions of a whole step at once, so its rows go to a process together
    drawing = Drawing(settings.batch_size, settings.gradient_accumulation, processes, batch)
    held_out = Drawing(settings.batch_size, 1, processes, piece)
    stop = settings.stop_after and settings.stop_after * settings.num_iterations
    log = run.RunLog(out)
    trainer = Trainer(
        model=start.model,
        args=args,
        reward_funcs=grpo.reward_funcs(rewards, start.processor.tokenizer),
        train_dataset=questions(data.train, drawing, recipe.data.augmentation).rows(
            drawing.rows(settings.steps)
        ),
        eval_dataset=questions(data.val, held_out, None).rows(settings.validate_samples),
        processing_class=start.processor,
        callbacks=[Journal(log, PANELS, {}, of, stop)],
    )
    learn(trainer, recipe, out, of, state)
    bring_home(trainer, start, out / "model", begin, recipe, data.metadata, space)
    return out / "model"
