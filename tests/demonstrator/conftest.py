"""Few pictures of each kind that the demonstrator learns from, made in code."""

from random import Random

import numpy as np
import pytest
from PIL import Image

from napari_pathreason.training import Area, Facts, Sample, write_samples

TILE, SIDE = 64, 192
LUNG = ("adenocarcinoma", "squamous cell carcinoma", "normal lung")
BLOOD = ("white cell", "platelet", "red cell")


def _pixels(rng, colour):
    noise = np.random.default_rng(rng.randrange(1000)).integers(-20, 20, (SIDE, SIDE, 3))
    return np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)


def _lymph_field(folder, name, rng):
    """Three by three tiles, a corner of two of them with tumour."""
    tiles = [(0, 0), (TILE, 0)] if rng.random() < 0.7 else []
    areas = tuple(Area(label="tumour", corners=(x, y, x + TILE, y + TILE)) for x, y in tiles)
    boxes = (Area(label="tumour", corners=(0, 0, 2 * TILE, TILE)),) if tiles else ()
    Image.fromarray(_pixels(rng, (200, 80, 160))).save(folder / name)
    facts = Facts(known=("tumour",), areas=areas, boxes=boxes)
    common = {"image": name, "source": "lymph_field", "facts": facts}
    answer = "yes" if tiles else "no"
    return [
        Sample(
            task="vqa", question="Is there tumour?", choices=("yes", "no"), answer=answer, **common
        ),
        Sample(
            task="detection",
            question="Find the tumour.",
            choices=("tumour",),
            boxes=boxes,
            **common,
        ),
    ]


def _lung(folder, name, rng):
    label = rng.choice(LUNG)
    Image.fromarray(_pixels(rng, (150, 100, 150))).save(folder / name)
    area = Area(label=label, corners=(0, 0, SIDE, SIDE))
    facts = Facts(known=LUNG, areas=(area,))
    return [
        Sample(
            image=name,
            task="subtyping",
            question="Which tissue is this?",
            choices=LUNG,
            answer=label,
            source="lung",
            facts=facts,
        )
    ]


def _blood(folder, name, rng):
    cells = [Area(label="white cell", corners=(10, 20, 70, 80))]
    cells += [
        Area(label=label, corners=(x, y, x + side, y + side))
        for label, side, count in (("platelet", 12, 2), ("red cell", 30, 3))
        for _ in range(count)
        for x, y in [(rng.randrange(SIDE - side), rng.randrange(SIDE - side))]
    ]
    Image.fromarray(_pixels(rng, (220, 180, 180))).save(folder / name)
    facts = Facts(known=BLOOD, areas=tuple(cells))
    common = {"image": name, "source": "blood", "facts": facts}
    return [
        Sample(task="vqa", question="How many red cells are there?", answer="3", **common),
        Sample(
            task="detection",
            question="Find every white cell.",
            choices=("white cell",),
            boxes=(cells[0],),
            **common,
        ),
    ]


def _nuclei(folder, name, rng):
    mask = np.zeros((SIDE, SIDE), np.uint8)
    centres = [(rng.randrange(8, SIDE - 8), rng.randrange(8, SIDE // 2)) for _ in range(20)]
    for x, y in centres:
        mask[y - 6 : y + 6, x - 6 : x + 6] = 255
    picture = _pixels(rng, (220, 200, 220))
    picture[mask > 0] = (90, 60, 140)
    Image.fromarray(picture).save(folder / name)
    Image.fromarray(mask).save(folder / f"mask-{name}")
    facts = Facts(known=("nucleus",), nuclei=f"mask-{name}", centres=tuple(centres))
    return [
        Sample(
            image=name,
            task="vqa",
            question="How many nuclei are there?",
            answer=str(len(centres)),
            source="nuclei",
            facts=facts,
        )
    ]


@pytest.fixture(scope="session")
def specimens(tmp_path_factory):
    """Folder with ``train.jsonl`` and ``val.jsonl``."""
    folder = tmp_path_factory.mktemp("specimens")
    rng = Random(0)
    for split, count in (("train", 5), ("val", 2)):
        samples = [
            sample
            for make in (_lymph_field, _lung, _blood, _nuclei)
            for number in range(count)
            for sample in make(folder, f"{split}{make.__name__}{number}.png", rng)
        ]
        write_samples(folder / f"{split}.jsonl", samples)
    return folder
