"""A miniature of the labelled folders, made in code."""

import csv
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from napari_pathreason.models import BUDGETS, byte_tokenizer, tiny_config
from napari_pathreason.training import read_samples, write_samples
from napari_pathreason.training.allocation import Scored
from napari_pathreason.training.convert import convert
from napari_pathreason.training.model import save_checkpoint
from napari_pathreason.training.recipe import Recipe
from napari_pathreason.training.run import RunLog
from napari_pathreason.training.samples import View

SPLITS = ("train", "train", "train", "val", "test")


def _save(path: Path, array) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return str(path.relative_to(path.parents[1]))


def _table(path: Path, rows) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def _tile(rng, side, colour):
    noise = rng.integers(-20, 20, (side, side, 3))
    return np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)


def _lymph(root, rng):
    rows = []
    for i, split in enumerate(SPLITS * 2):
        label = "tumour" if i % 2 else "no_tumour"
        name = f"images/{i}.png"
        _save(root / name, _tile(rng, 96, (200, 80, 160) if i % 2 else (230, 220, 225)))
        rows.append({"image": name, "label": label, "split": split})
    _table(root / "labels.csv", rows)


def _lung(root, rng):
    labels = ("adenocarcinoma", "squamous_cell_carcinoma", "normal")
    rows = []
    for i, split in enumerate(SPLITS * 3):
        name = f"images/{i}.png"
        _save(root / name, _tile(rng, 224, (150 + 30 * (i % 3), 100, 150)))
        rows.append({"image": name, "label": labels[i % 3], "source_tile": str(i), "split": split})
    _table(root / "labels.csv", rows)


def _blood(root, rng):
    rows = []
    for i, split in enumerate(SPLITS):
        name, boxes = f"images/{i}.png", f"boxes/{i}.xml"
        _save(root / name, _tile(rng, 640, (220, 180, 180))[:480])
        objects = "".join(
            f"<object><name>{kind}</name><bndbox><xmin>{x}</xmin><ymin>{y}</ymin>"
            f"<xmax>{x + w}</xmax><ymax>{y + w}</ymax></bndbox></object>"
            for kind, x, y, w in (
                ("WBC", 200, 100, 120),
                ("Platelets", 500, 300, 40),
                ("RBC", 20, 20, 90),
            )
        )
        (root / "boxes").mkdir(exist_ok=True)
        (root / boxes).write_text(f"<annotation>{objects}</annotation>")
        rows.append({"image": name, "boxes": boxes, "split": split})
    _table(root / "index.csv", rows)


def _nuclei(root, rng, column, split):
    rows = []
    for i, name in enumerate(SPLITS):
        picture, mask = _tile(rng, 256, (220, 200, 220)), np.zeros((256, 256), np.uint8)
        for k in range(30):
            y, x = rng.integers(0, 120, 2) if k < 24 else rng.integers(130, 240, 2)
            mask[y : y + 12, x : x + 12] = k + 1 if column == "instances" else 255
        picture[mask > 0] = (90, 60, 140)
        _save(root / f"images/{i}.png", picture)
        _save(root / f"{column}/{i}.png", mask)
        row = {"image": f"images/{i}.png", column: f"{column}/{i}.png", "organ": "x"}
        rows.append(row | ({"split": name} if split else {"n_nuclei": "30"}))
    _table(root / "index.csv", rows)


@pytest.fixture(scope="session")
def labelled(tmp_path_factory):
    """The known sets in miniature, and a plain folder beside them."""
    root = tmp_path_factory.mktemp("labelled")
    rng = np.random.default_rng(0)
    _lymph(root / "lymph_node", rng)
    _lung(root / "lung", rng)
    _blood(root / "blood", rng)
    _nuclei(root / "nuclei", rng, "mask", True)
    _nuclei(root / "nuclei_instances", rng, "instances", False)
    return root


@pytest.fixture(scope="session")
def few():
    """Few composed pictures, wherever the known sets are converted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "napari_pathreason.training.convert._mini.FIELDS", {"train": 12, "val": 6, "test": 6}
        )
        patch.setattr(
            "napari_pathreason.training.convert._mini.STITCHED", {"train": 6, "val": 3, "test": 3}
        )
        patch.setattr(
            "napari_pathreason.training.convert._mini.NUCLEI_FIELDS",
            {"train": 6, "val": 2, "test": 0},
        )
        yield


@pytest.fixture(scope="session")
def converted(labelled, few, tmp_path_factory):
    """JSONL of the miniature."""
    out = tmp_path_factory.mktemp("converted")
    convert(labelled, out)
    return out


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
