import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_pathreason.budgets import flops
from napari_pathreason.engine import Job, ask
from napari_pathreason.errors import ModelError
from napari_pathreason.geometry import Region
from napari_pathreason.models import (
    BUDGETS,
    EFFORTS,
    AllocatorNet,
    PolicyAllocator,
    load_allocator,
    load_models,
    save_allocator,
)
from napari_pathreason.slides import slide_from_arrays
from napari_pathreason.types import Query, Request

QUERY = Query("vqa", "Which tissue is it?", ("lung", "colon"))


@pytest.fixture
def allocator() -> PolicyAllocator:
    torch.manual_seed(0)
    return PolicyAllocator(AllocatorNet().eval())


@pytest.fixture
def overview() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)


def test_each_effort_may_allot_any_rung_even_the_smallest(allocator, overview):
    bias = allocator.net.head[-1].bias
    with torch.no_grad():
        for row, place in enumerate((0, 4, len(BUDGETS) - 1)):
            bias[row * len(BUDGETS) + place] += 50
    given = [allocator.allocate(overview, QUERY, 1000, effort) for effort in EFFORTS]
    assert [one.budget for one in given] == [4, 64, None]
    assert [one.effort for one in given] == ["low", "balanced", "high"]


def test_no_rung_from_native_size_up_is_allotted(allocator, overview):
    given = allocator.allocate(overview, QUERY, 16, "high")
    allowed = [budget is None or budget < 16 for budget in BUDGETS]
    assert all(
        (probability > 0) == may
        for probability, may in zip(given.probabilities, allowed, strict=True)
    )


def test_a_region_larger_than_all_it_learnt_from_gets_what_the_largest_would(overview):
    torch.manual_seed(0)
    allocator = PolicyAllocator(AllocatorNet().eval(), largest=100)
    with torch.no_grad():  # of budgets that were masked in training, anything may be left
        allocator.net.head[-1].bias.view(len(EFFORTS), -1)[:, BUDGETS.index(256) :] += 50
    for effort in EFFORTS:
        beyond = allocator.allocate(overview, QUERY, 4000, effort)
        assert beyond.budget is not None
        assert beyond.budget < 100
        assert beyond == allocator.allocate(overview, QUERY, 101, effort)
        assert allocator.allocate(overview, QUERY, 100, effort).budget is None


def test_picture_words_and_size_all_matter(allocator, overview):
    def probabilities(picture, query, native):
        return allocator.allocate(picture, query, native, "low").probabilities

    first = probabilities(overview, QUERY, 256)
    assert sum(first) == pytest.approx(1)
    assert first != probabilities(255 - overview, QUERY, 256)
    assert first != probabilities(overview, Query("vqa", "How many nuclei are there?"), 256)
    assert first != probabilities(overview, QUERY, 9)


def test_its_look_is_light_and_counted(allocator, checkpoints, tmp_path):
    folder = shutil.copytree(checkpoints["qwen3_vl"], tmp_path / "model")
    save_allocator(folder, allocator)
    models = load_models(folder, "cpu")
    assert isinstance(models.allocator, PolicyAllocator)
    with slide_from_arrays([np.full((256, 256, 3), 200, np.uint8)], "plain") as slide:
        job = Job(slide, Request(Region(0, 0, 256, 256), QUERY, effort="high"))
        result = ask(job, models.performer, models.allocator)
    assert result.allocation.source == "policy"
    assert result.allocation.effort == "high"
    assert result.allocation.flops > 0
    tokens, dims = result.tokens, models.performer.info.dims
    words = tokens.prompt_tokens - tokens.realised
    alone = flops(dims, tokens.realised, words, tokens.new_tokens)
    assert tokens.flops == alone + result.allocation.flops
    assert tokens.allocator == 4
    assert sum(p.numel() for p in allocator.net.parameters()) < 300_000


def test_it_comes_back_as_it_was_saved(allocator, overview, tmp_path):
    allocator = replace(allocator, largest=50)
    save_allocator(tmp_path, allocator)
    again = load_allocator(tmp_path)
    assert again.largest == 50
    for effort in EFFORTS:
        given = again.allocate(overview, QUERY, 64, effort)
        assert given == allocator.allocate(overview, QUERY, 64, effort)
    metadata_json = json.loads((tmp_path / "allocator.json").read_text())
    for spoilt in ("{", json.dumps(metadata_json | {"largest": "x"})):
        (tmp_path / "allocator.json").write_text(spoilt)
        with pytest.raises(ModelError, match="fetch the whole model"):
            load_allocator(tmp_path)
