"""The windows of a model on a server are learnt, remembered on this machine, and used."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_pathreason import ask
from napari_pathreason.models import (
    WindowAllocator,
    find_windows,
    load_models,
    resolve_address,
    served_sha256,
)
from napari_pathreason.training import Sample, write_samples
from napari_pathreason.training.allocator import train_allocator
from napari_pathreason.training.recipe import Recipe
from tests.support.servers import serving, vllm

pytestmark = pytest.mark.usefixtures("own_folders")


@pytest.fixture
def spots(tmp_path):
    """Two regions of 2,304 x 460 px with a dark spot: nine windows, five of them side by side."""
    folder = tmp_path / "spots"
    folder.mkdir()
    pixels = np.full((460, 2304, 3), (230, 170, 200), np.uint8)
    pixels[100:300, 1000:1200] = 40
    samples = []
    for name, part in (("a", pixels), ("b", pixels[::-1])):
        Image.fromarray(part).save(folder / f"{name}.png")
        samples.append(
            Sample(
                image=f"{name}.png",
                task="vqa",
                question="Is there a dark spot?",
                choices=("yes", "no"),
                answer="yes",
            )
        )
    for split in ("train", "val"):
        write_samples(folder / f"{split}.jsonl", samples)
    return folder


def recipe_of(address, data, out):
    windows = {
        "steps": 2, "warm_steps": 1, "batch_size": 2, "num_generations": 4, "validate_every": 1,
    }  # fmt: skip
    allocator = {"form": "windows", "start": address, "windows": windows}
    return Recipe.model_validate(
        {"output": str(out), "data": {"folder": str(data)}, "allocator": allocator}
    )


def test_windows_of_a_server_are_learnt_remembered_and_used(spots, tmp_path):
    with serving(vllm()) as server:
        address = resolve_address(server.address)
        before = served_sha256(address)
        assert find_windows(server.address) is None
        recipe = recipe_of(server.address, spots, tmp_path / "run")
        folder = train_allocator(recipe)
        (answers,) = (tmp_path / "run/allocator").glob("windows-*.jsonl")
        lines = answers.read_text().splitlines()
        assert len(lines) == len(set(lines)) == 2 * 9 * 3  # each window once at each budget
        log = (tmp_path / "run/allocator/windows/log.jsonl").read_text()
        costs = [one.get("val_cost_balanced") for one in map(json.loads, log.splitlines())][1:]
        assert costs  # in tokens, as nobody knows its FLOPs
        assert np.isfinite(costs).all()

        assert isinstance(find_windows(server.address), WindowAllocator)
        assert served_sha256(address) != before  # a folder of answers tells them apart
        loaded = load_models(server.address)
        assert isinstance(loaded.allocator.windows, WindowAllocator)
        loaded.close()
        asked = len(server.bodies)
        assert train_allocator(recipe) == folder
        assert len(answers.read_text().splitlines()) == len(lines)
        assert len(server.bodies) - asked < 10  # the table is there
        result = ask(
            spots / "a.png",
            question="Is there a dark spot?",
            choices=["yes", "no"],
            model=server.address,
            mpp=0.5,
        )
        assert result.views.policy == "learned"
        assert result.answer.text == "yes"


def test_other_forms_need_weights_on_this_machine(spots, tmp_path):
    recipe = recipe_of("http://127.0.0.1:9/v1#a", spots, tmp_path / "run")
    head = recipe.allocator.model_copy(update={"form": "head"})
    with pytest.raises(Exception, match="no weights on this machine"):
        train_allocator(recipe.model_copy(update={"allocator": head}))
    assert not Path(recipe.output, "allocator/model").exists()
