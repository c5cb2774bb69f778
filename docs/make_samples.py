"""Make the pictures of the samples: python docs/make_samples.py FOLDER [--output FOLDER].

FOLDER holds `blood`, `lymph_node` and `nuclei` as the embedded model is trained on them. All three
pictures come from the split `test`, by a rule that no answer of a model enters:

- blood: the first smear that holds all three kinds of cell; the file as it is.
- lymph node: the first field of 4 x 4 tiles with one area of tumour that
  `demonstrator.convert` composes at seed 0; without loss, with its 0.97 um per pixel.
- nuclei: the first picture to which all of the converter's kinds of question have an answer (its
  nuclei are dense or sparse, and one quarter leads); the file as it is.

Prints what the labels say, for `samples.json` beside the pictures.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import tifffile
from PIL import Image

from demonstrator.sets.nuclei import nuclei
from demonstrator.sets.smears import blood, read_smears
from demonstrator.sets.tiles import lymph_node
from napari_pathreason.training import Sample

FOLDER = Path(__file__).parents[1] / "src/napari_pathreason/sample_data"
SPLIT = "test"
UM = 0.97
"""Micrometres per pixel of the lymph node tiles, as their publication states it."""
GRID = 4


def make_samples(data: Path, output: Path) -> dict[str, dict[str, str]]:
    """Write the pictures into ``output``.

    Returns
    -------
    dict
        Of each sample, by its key, what the labels answer, by topic.
    """
    smear = next(
        image
        for image, cells in read_smears(data / "blood", SPLIT)
        if len({cell.label for cell in cells}) == 3
    )
    shutil.copyfile(smear, output / "blood-smear.jpg")
    about_smear = [s for s in blood(data / "blood", SPLIT, 0, 1) if s.image == smear]

    about_fields = list(lymph_node(data / "lymph_node", SPLIT, 0, 100))
    field = next(filter(is_field, about_fields))
    tiles = [[np.asarray(Image.open(file).convert("RGB")) for file in row] for row in field.image]
    size = {f"PhysicalSize{axis}": UM for axis in "XY"}
    units = {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"}
    pixels = np.vstack([np.hstack(row) for row in tiles])
    same = uuid5(NAMESPACE_URL, sha256(pixels.tobytes()).hexdigest())  # else of machine and time
    tifffile.imwrite(
        output / "lymph-node.ome.tif",
        pixels,
        photometric="rgb",
        tile=(128, 128),
        compression="zlib",
        compressionargs={"level": 9},
        predictor=True,
        resolution=(10_000 / UM, 10_000 / UM),
        resolutionunit="CENTIMETER",
        ome=True,
        metadata={"axes": "YXS", "UUID": f"urn:uuid:{same}", **size, **units},
    )
    about_field = [s for s in about_fields if s.image == field.image]

    asked: dict[str, list[Sample]] = {}
    for sample in nuclei(data / "nuclei", SPLIT, 0, 1):
        asked.setdefault(str(sample.image), []).append(sample)
    wanted = {"number of nuclei", "dense or sparse nuclei", "where nuclei are crowded"}
    picture = next(name for name, about in asked.items() if wanted <= {s.topic for s in about})
    shutil.copyfile(picture, output / "nuclei.jpg")
    return {
        "blood": told(about_smear),
        "lymph_node": told(about_field),
        "nuclei": told(asked[picture]),
    }


def is_field(sample: Sample) -> bool:
    """Whether it asks for boxes in a field of the wanted size with one area of tumour."""
    grid = sample.image
    return (
        sample.task == "detection"
        and not isinstance(grid, str)
        and {len(grid), *map(len, grid)} == {GRID}
        and len(sample.boxes) == 1
    )


def told(samples: Iterable[Sample]) -> dict[str, str]:
    """Answers by topic; boxes as `pathreason ask` prints them: label, x, y, width, height."""
    answers = {}
    for sample in samples:
        boxes = [
            f"{box.label}: {x1:.0f} {y1:.0f} {x2 - x1:.0f} {y2 - y1:.0f}"
            for box in sample.boxes
            for x1, y1, x2, y2 in [box.corners]
        ]
        answers[sample.topic] = "; ".join(boxes) if sample.task == "detection" else sample.answer
    return answers


def main() -> None:
    """Make them where they belong, or elsewhere."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("data", type=Path, metavar="FOLDER")
    options.add_argument("--output", type=Path, default=FOLDER)
    chosen = options.parse_args()
    for key, answers in make_samples(chosen.data, chosen.output).items():
        for topic, answer in answers.items():
            print(f"{key}: {topic}: {answer}")


if __name__ == "__main__":
    main()
