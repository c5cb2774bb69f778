"""Supervised fine-tuning by TRL's ``SFTTrainer``, from our samples to a model of ours.

Left out on purpose: an objective of one's own, new words of the vocabulary, and answers scored on
``val`` meanwhile, all of which are the own loop's (`training.sft`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from napari_pathreason import models
from napari_pathreason.errors import QueryError
from napari_pathreason.training import run
from napari_pathreason.training.model import starting_model
from napari_pathreason.training.objectives import IGNORE
from napari_pathreason.training.recipe import Recipe
from napari_pathreason.training.samples import SILENT, target_text

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
from ._start import Start, load_start

PANELS = {"text": "answer: cross-entropy"}
"""Panels of the learning curve."""


@run.alone
def train_sft_by_trl(recipe: Recipe) -> Path:
    """Train until ``recipe.sft.steps``; continues from the last state of ``output``/trl.

    A step always reads ``sft.batch`` pictures, those of high budgets in smaller parts, each with
    one question.

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
        If TRL is not installed or refuses what the recipe hands on, the recipe wants what is the
        own loop's alone, samples are missing, or ``output`` holds the state of another run.
    ModelError
        If the model to start from is not there or cannot be read.
    """
    check_installed()
    _check_plain(recipe)
    import trl
    from torch.utils.data import SequentialSampler

    settings, out = recipe.sft, Path(recipe.output)
    begin = starting_model(recipe)
    models.find_checkpoint(begin)  # better named now than after the samples are read
    run.tracking(recipe, out)
    check_own_state(out)
    read = run.data_identity(Path(recipe.data.folder))
    data = run.read_data(recipe, settings.budgets)
    shown = max(len(sample.views) or 1 for sample in data.train)
    piece = divide(settings.batch, settings.budgets, shown, settings.tokens)
    own = common(trl.SFTConfig, recipe, settings, out) | {
        "max_steps": settings.steps,
        "per_device_train_batch_size": piece,
        "per_device_eval_batch_size": piece,
        "gradient_accumulation_steps": settings.gradient_accumulation * settings.batch // piece,
        "max_length": None,
        "dataset_kwargs": {"skip_prepare_dataset": True},
    }
    args = arguments(trl.SFTConfig, own, recipe.trl.sft, "sft")  # before weights: it may shard them
    processes = args.world_size
    of, state = identify(recipe, "sft", settings, begin, processes, out)
    start = load_start(begin, recipe.lora, recipe.seed, str(args.device))
    check_read(recipe, "sft", begin, processes, of, read)
    tokenizer = start.processor.tokenizer
    before = _opening(tokenizer)
    drawing = Drawing(settings.batch, settings.gradient_accumulation, processes, piece)

    def questions(samples: Sequence[Any], change: Any) -> Questions:
        return Questions(
            *(samples, recipe.data, settings.budgets, recipe.seed, drawing, data.pictures, start),
            "relative",  # supervised fine-tuning teaches them so
            change,
            lambda sample, view: target_text(sample, view, settings.box_quantum, before),
        )

    class Trainer(OwnRate, trl.SFTTrainer):
        def _get_train_sampler(self, *_: Any) -> Any:
            return SequentialSampler(self.train_dataset)  # the rows are drawn already

    Trainer.settings = settings
    log = run.RunLog(out)
    journal = Journal(log, PANELS, {"loss": "text"}, of, settings.stop_after)
    trainer = Trainer(
        model=start.model,
        args=args,
        data_collator=Collator(start),
        train_dataset=questions(data.train, recipe.data.augmentation).rows(
            drawing.rows(settings.steps)
        ),
        eval_dataset=questions(data.val, None).rows(settings.validate_samples),
        processing_class=start.processor,
        callbacks=[journal],
    )
    learn(trainer, recipe, out, of, state)
    bring_home(trainer, start, out / "model", begin, recipe, data.metadata, "relative")
    return out / "model"


def _check_plain(recipe: Recipe) -> None:
    """Refuse what is the own loop's alone, rather than leave it out in silence."""
    settings = recipe.sft
    own = {
        "sft.objective": settings.objective is not None,
        "model.words": recipe.model.words,
        "sft.score_samples": settings.score_samples > 0,
    }
    if wanted := [key for key, is_set in own.items() if is_set]:
        raise QueryError(
            f"{wanted[0]} is the own engine's; leave it out of the recipe, or train without "
            "--engine trl"
        )


def _opening(tokenizer: Any) -> str:
    """What stands before an answer, as `LanguageModelObjective` has it."""
    opening = tokenizer(f"{SILENT}<answer>", add_special_tokens=False)["input_ids"]
    return SILENT if len(opening) == 1 else ""


class Collator:
    """Rows of `Questions` as a batch: prompts as `pathreason ask` gives them, targets behind.

    Prompts are padded on the left, targets on the right, so that both keep the tokens that they
    have by themselves. A target ends with the token that ends a turn.

    Parameters
    ----------
    start : Start
    """

    def __init__(self, start: Start) -> None:
        self._processor = start.processor
        self._tokenizer = start.processor.tokenizer
        self._end = _end_of_turn(start)

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Tensors of the model's forward pass, ``labels`` int64 (rows, tokens) among them."""
        texts = self._processor.apply_chat_template(
            [row["prompt"] for row in rows], add_generation_prompt=True
        )
        batch = dict(
            self._processor(
                images=[row["images"] for row in rows],
                text=texts,
                padding=True,
                padding_side="left",
                return_tensors="pt",
            )
        )
        shape = tuple(batch["input_ids"].shape)
        targets = [
            [*self._tokenizer(row["target"], add_special_tokens=False)["input_ids"], self._end]
            for row in rows
        ]
        width = max(map(len, targets))
        tokens = torch.full((len(rows), width), self._tokenizer.pad_token_id)
        mask = torch.zeros_like(tokens)
        for place, target in enumerate(targets):
            tokens[place, : len(target)] = torch.tensor(target)
            mask[place, : len(target)] = 1
        behind = {"input_ids": tokens, "attention_mask": mask}
        for name, value in batch.items():
            if tuple(value.shape[:2]) != shape or name == "pixel_values":
                continue
            if name in behind:
                more = behind[name]
            elif value.ndim == 2:  # kinds of tokens: those of targets are words
                more = torch.zeros_like(tokens)
            else:  # what a token may see of the pictures: as much as the prompt's last one
                more = value[:, -1:].expand(-1, width, *value.shape[2:])
            batch[name] = torch.cat([value, more.to(value.dtype)], 1)
        labels = functional.pad(tokens.masked_fill(mask == 0, IGNORE), (shape[1], 0), value=IGNORE)
        return {**batch, "labels": labels}


def _end_of_turn(start: Start) -> int:
    """The token that ends an answer: what the chat template writes there, if the model stops at it.

    Some families end a turn by another token than their tokenizer calls the end.
    """
    tokenizer = start.processor.tokenizer
    stops = models.stop_ids(start.plain, tokenizer)
    marker = "pathreason"
    chat = start.defused([{"role": "user", "content": [{"type": "text", "text": "?"}]}])
    try:
        text = start.processor.apply_chat_template(
            [*chat, {"role": "assistant", "content": [{"type": "text", "text": marker}]}]
        )
    except Exception:  # a template is a program of the checkpoint's author
        text = ""
    after = text.rpartition(marker)[2]
    ids = tokenizer(after, add_special_tokens=False)["input_ids"] if after else []
    return next((one for one in ids if one in stops), tokenizer.eos_token_id)
