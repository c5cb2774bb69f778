"""Recipes of a few steps, stand-ins for what is slow, and runs in two processes."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_pathreason.models import BUDGETS
from napari_pathreason.training import read_samples, write_samples
from napari_pathreason.training.allocator import Scored
from napari_pathreason.training.model import save_checkpoint
from napari_pathreason.training.recipe import Recipe
from napari_pathreason.training.run import RunLog
from napari_pathreason.training.samples import View, files_of
from tests.support import byte_tokenizer, tiny_config


@pytest.fixture(scope="session")
def by_length(tmp_path_factory):
    """Names an installed reward function: the longer a completion is, the better."""
    folder = tmp_path_factory.mktemp("rewards")
    (folder / "reward_by_length.py").write_text(
        "def reward(completions, **columns):\n"
        "    return [min(len(text) / 20, 1.0) for text in completions]\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield "reward_by_length:reward"


@pytest.fixture(scope="session")
def one_box():
    """A black picture of one labelled box, read at a grid of tokens."""

    def view_of(box, grid, size, answer=""):
        return View(
            pixels=np.zeros((32 * grid[1], 32 * grid[0], 3), np.uint8),
            grid=grid,
            answer=answer,
            boxes=(box,),
            areas=(box,),
            lesions=(box,),
            centres=(),
            known=(box[0],),
            nuclei=None,
            size=size,
        )

    return view_of


@pytest.fixture(scope="session")
def blank_model(tmp_path_factory):
    """A checkpoint of some thousand parameters that writes any token as likely as another."""
    from transformers import AutoModelForImageTextToText

    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(tiny_config("qwen3_vl", tokenizer))
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    folder = tmp_path_factory.mktemp("blank") / "model"
    save_checkpoint(folder, model, tokenizer, "blank")
    return folder


@pytest.fixture
def own_data(converted, tmp_path):
    """A copy of the converted sets, at the same places seen from them, that a test may change."""
    folder = tmp_path / "own/data"
    shutil.copytree(converted, folder)
    for split in ("train", "val"):
        for sample in read_samples(converted / f"{split}.jsonl"):
            for image in filter(None, (sample.image, sample.facts.nuclei)):
                for name in files_of(image):
                    target = Path(os.path.normpath(folder / name))
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(converted / name, target)
    return folder


@pytest.fixture
def recipe(converted, blank_model, tmp_path):
    """A run of a few steps from that checkpoint."""
    return Recipe.model_validate(
        {
            "output": str(tmp_path / "run"),
            "data": {"folder": str(converted)},
            "model": {"start": str(blank_model)},
            "sft": {
                "budgets": {4: 1, 16: 1},
                "steps": 6,
                "batch": 3,
                "warmup": 2,
                "checkpoint_every": 3,
                "validate_every": 3,
                "validate_samples": 3,
            },
        }
    )


@pytest.fixture
def at_every_budget():
    """In place of asking a performer, as if detail paid: the score is the share of native read."""

    def tabulate(samples, pictures, evaluator, token_px, file, name="s(N)"):
        rows = []
        for sample in samples:
            region = pictures.region(sample)
            native = region.width * region.height / token_px**2
            shares = [min(1.0, (budget or native) / native) for budget in BUDGETS]
            rows.append([Scored(s, round(s * native), s * 1e9, round(native), 1e9) for s in shares])
        return rows

    return tabulate


@pytest.fixture
def dies_at(monkeypatch):
    """Lets a run end at a step as a kill would: ``with dies_at(step)``."""
    write = RunLog.write

    @contextmanager
    def until(step):
        def dies(log, record):
            if record["step"] == step:
                raise KeyboardInterrupt
            write(log, record)

        with monkeypatch.context() as patch:
            patch.setattr(RunLog, "write", dies)
            with pytest.raises(KeyboardInterrupt):
                yield

    return until


@pytest.fixture
def train_in_two_processes(in_two_processes, tmp_path):
    """Runs a stage of training on two processes."""

    def train(stage, recipe):
        path = tmp_path / "recipe.yaml"
        path.write_text(recipe.model_dump_json())
        in_two_processes("-m", "napari_pathreason.cli", "train", stage, "--recipe", path)

    return train


@pytest.fixture
def one_picture(converted, tmp_path):
    """A folder of data with one question about one picture in each split."""
    data = tmp_path / "data"
    data.mkdir()
    for split in ("train", "val"):
        samples = [s for s in read_samples(converted / f"{split}.jsonl") if s.source == "lung"]
        pictures = [s.model_copy(update={"image": str(converted / s.image)}) for s in samples[:1]]
        write_samples(data / f"{split}.jsonl", pictures)
    return data
