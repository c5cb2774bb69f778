"""A miniature of the folders that the embedded model learns from, made in code, and its samples.

Fixtures; `tests/conftest.py` offers them to all tests.
"""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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
    from demonstrator.sets import composition

    numbers = {"train": (12, 6, 6), "val": (6, 3, 2), "test": (6, 3, 0)}
    counts = {
        split: replace(
            composition.COUNTS[split], fields=fields, stitched=stitched, nuclei_fields=nuclei
        )
        for split, (fields, stitched, nuclei) in numbers.items()
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(composition, "COUNTS", counts)
        yield


@pytest.fixture(scope="session")
def converted(labelled, few, tmp_path_factory):
    """JSONL of the miniature."""
    from demonstrator.convert import convert

    out = tmp_path_factory.mktemp("converted")
    convert([labelled], out)
    return out
