"""Tiny performers of both families, and recipes of allocators that write beside them."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState

from napari_pathreason.models import BUDGETS, VISION_TOKENS
from napari_pathreason.training.allocator import Scored
from napari_pathreason.training.model import start_lora
from napari_pathreason.training.recipe import Recipe
from napari_pathreason.training.run import RunLog, save_adapter
from tests.support import byte_tokenizer, make_tiny_checkpoint

FAMILIES = ("qwen3_vl", "qwen2_5_vl")
TEXT = {
    "overview": 4,
    "num_generations": 16,
    "max_completion_length": 2,
    "batch_size": 2,
    "steps": 12,
    "lr": 2e-2,
    "warmup": 1,
    "checkpoint_every": 50,
    "validate_every": 50,
    "validate_samples": 2,
}


@pytest.fixture(scope="session")
def make_recipe():
    """A recipe of a few steps; settings of the text can be given."""

    def make(start, converted, out, **text):
        return Recipe.model_validate(
            {
                "output": str(out),
                "data": {"folder": str(converted)},
                "model": {"start": str(start)},
                "lora": {"rank": 4, "alpha": 16, "weights": "fp32", "checkpointing": False},
                "allocator": {
                    "form": "text",
                    "start": str(start),
                    "questions": 1,
                    "validate_questions": 1,
                    "text": TEXT | text,
                },
            }
        )

    return make


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="session")
def performers(tmp_path_factory, make_recipe):
    """Of each family a base, and beside it a performer that is an adapter with matrices of size."""
    folder = tmp_path_factory.mktemp("performers")
    for family in FAMILIES:
        base = make_tiny_checkpoint(folder / f"{family}-base", family)
        recipe = make_recipe(base, folder, folder)
        model, tokenizer = start_lora(str(base), recipe.lora, 0)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    torch.nn.init.normal_(parameter, std=0.01)
        save_adapter(folder / family, model.state_dict(), model, tokenizer, str(base), "performer")
    return folder


@pytest.fixture
def copy_of(performers):
    """The performer of a family and its base, in a folder that a test may write into."""

    def copy(family, folder):
        for name in (family, f"{family}-base"):
            shutil.copytree(performers / name, folder / name)
        return folder / family

    return copy


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    """One precision in each test; no curves, which take longer than the steps."""
    AcceleratorState._reset_state(reset_partial_state=True)
    monkeypatch.setattr(RunLog, "draw", lambda *args: None)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def writes(monkeypatch):
    """A model that writes nothing but some tokens, as if it had learnt the form."""

    def allow(is_allowed):
        never = [token for token in byte_tokenizer().get_vocab() if not is_allowed(token)]
        for place in ("training.grpo._learner", "models._performer"):
            name = f"napari_pathreason.{place}.VISION_TOKENS"
            monkeypatch.setattr(name, (*VISION_TOKENS, *never))

    return allow


@pytest.fixture
def digits(writes):
    """A model that writes numbers."""
    writes(str.isdecimal)


@pytest.fixture
def one_budget_pays(monkeypatch):
    """s(N) is 1 at 32 tokens and 0 elsewhere, in regions of 400 tokens."""

    def tabulate(samples, pictures, evaluator, token_px, file, name="s(N)"):
        row = [Scored(float(r == 32), r or 400, (r or 400) * 1e9, 400, 4e11) for r in BUDGETS]
        return [row for _ in samples]

    monkeypatch.setattr("napari_pathreason.training.allocator._tables.tabulate", tabulate)


@pytest.fixture
def records_of():
    """The lines of the log of a run's folder."""

    def records(out, form="text"):
        lines = (Path(out) / f"allocator/{form}/log.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    return records
