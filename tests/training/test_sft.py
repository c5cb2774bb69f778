"""The loop: it learns, it survives a kill with the same result, its model answers."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from napari_pathreason.engine import Job, ask
from napari_pathreason.files import former_folder
from napari_pathreason.models import load_models
from napari_pathreason.slides import slide_from_arrays
from napari_pathreason.training import read_samples
from napari_pathreason.training.run import RunLog
from napari_pathreason.training.samples import Pictures
from napari_pathreason.training.sft import train_sft
from napari_pathreason.types import Request

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def _weights(folder):
    return load_file(folder / "model" / "model.safetensors")


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.slow
def test_a_run_cut_short_and_resumed_equals_an_undisturbed_one(recipe, tmp_path, parts):
    own = recipe.sft.model_copy(update={"gradient_accumulation": parts})
    recipe = recipe.model_copy(update={"sft": own})
    train_sft(recipe)
    cut = recipe.model_copy(update={"output": str(tmp_path / "cut")})
    train_sft(cut.model_copy(update={"sft": recipe.sft.model_copy(update={"stop_after": 3})}))
    assert json.loads((tmp_path / "cut/checkpoint/step.json").read_text())["step"] == 3
    train_sft(cut)
    a, b = _weights(tmp_path / "run"), _weights(tmp_path / "cut")
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    steps = [
        json.loads(line)["step"] for line in (tmp_path / "cut/log.jsonl").read_text().splitlines()
    ]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_a_run_that_dies_around_its_last_state_has_a_curve(recipe, monkeypatch):
    sft = recipe.sft.model_copy(update={"steps": 1, "checkpoint_every": 1, "validate_every": 1})
    short = recipe.model_copy(update={"sft": sft})

    def dies(log, panels):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunLog, "draw", dies)
        with pytest.raises(KeyboardInterrupt):
            train_sft(short)
    train_sft(short)
    assert (Path(short.output) / "curve.png").is_file()


def test_a_run_that_died_once_its_last_state_was_there_leaves_no_former_one(recipe):
    """Nor takes it away before: it may be all that a killed process has left."""
    short = recipe.model_copy(update={"sft": recipe.sft.model_copy(update={"steps": 2})})
    train_sft(short)
    last = Path(recipe.output) / "checkpoint"
    former = former_folder(last)
    shutil.copytree(last, former)
    train_sft(short)
    assert last.is_dir()
    assert not former.exists()
    last.rename(former)
    train_sft(short)  # goes on from it, with nothing left to learn
    assert former.is_dir()


def test_every_parameter_moves_and_the_model_answers(recipe, converted, tmp_path):
    one = recipe.model_copy(update={"sft": recipe.sft.model_copy(update={"steps": 1, "lr": 0.0})})
    before = _weights(train_sft(one).parent)
    shutil.rmtree(tmp_path / "run")
    folder = train_sft(recipe)
    after = _weights(folder.parent)
    still = [name for name in after if torch.equal(before[name], after[name])]
    assert not still
    sample = read_samples(converted / "test.jsonl")[0]
    pictures = Pictures(converted)
    models = load_models(str(folder), "cpu")
    with slide_from_arrays([pictures.picture(sample)], "sample") as slide:
        job = Job(slide, Request(pictures.region(sample), sample.query, 16))
        result = ask(job, models.performer, models.allocator)
    assert result.tokens.realised <= 16
    assert result.model.name == "run"


def test_what_the_run_was_made_of_names_no_folder(recipe, converted):
    folder = train_sft(
        recipe.model_copy(update={"sft": recipe.sft.model_copy(update={"steps": 1})})
    )
    text = (folder.parent / "run.json").read_text()
    record = json.loads(text)
    assert len(record["data_sha256"]) == 64
    assert record["recipe"]["sft"]["steps"] == 1
    assert str(converted.parent) not in text
