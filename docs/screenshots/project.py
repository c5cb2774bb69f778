"""One question over two slides of a case, judged by two readers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ._stage import Stage, settle, wait_for
from .views import MPP, composed

AREAS = (
    ("centre", ((500, 300), (1700, 250), (1800, 1000), (900, 1150))),
    ("edge", ((150, 1300), (1100, 1250), (1000, 1950), (250, 1900))),
)
"""Names and corners of annotations, level-0 pixels."""
CASES = {"A-1": ("P1", 4), "A-2": ("P1", 5)}
"""Slide -> its case, and the seed that it is composed by."""
JUDGED = {"MK": "++-+", "ES": "++--"}
"""What each reader says of the answers, one after the other."""


def slides(sample: np.ndarray, folder: Path) -> Path:
    """A list of slides with their annotations."""
    import shapely
    import tifffile

    from napari_pathreason.exports import Feature, write_geojson

    lines = ["slide,case"]
    features = [Feature(shapely.Polygon(corners), name=name) for name, corners in AREAS]
    for name, (case, seed) in CASES.items():
        tifffile.imwrite(
            folder / f"{name}.tif",
            composed(sample, seed),
            photometric="rgb",
            tile=(256, 256),
            resolution=(1e4 / MPP, 1e4 / MPP),
            resolutionunit="CENTIMETER",
        )
        write_geojson(folder / f"{name}.geojson", features)
        lines.append(f"{name}.tif,{case}")
    (folder / "study.csv").write_text("\n".join(lines) + "\n")
    return folder / "study.csv"


def play(stage: Stage) -> None:
    """Ask, judge, and go to one of the regions."""
    from napari_pathreason import Query

    stage.open_window("lymph_node")
    sample = np.asarray(stage.image.data[0] if stage.image.multiscale else stage.image.data)
    stage.viewer.layers.clear()
    study = slides(sample, stage.scratch)
    stage.ask = stage.open_dock("Ask")
    settle(1.0)
    stage.ask.form.model_box.model_id = stage.model
    stage.ask.form.fill(Query("detection", "", ("tumour",)))
    stage.ask.form.budget_box.choose(256)
    answers = stage.open_dock("Answers", tabify=True)
    answers.project.ask(study)
    wait_for(answers.project.runner, "running", minutes=20)
    for reader, signs in JUDGED.items():
        answers.reader_edit.setText(reader)
        answers.reader_edit.editingFinished.emit()
        for entry, sign in zip(answers.session.entries, signs, strict=True):
            answers.session.review(entry, "accepted" if sign == "+" else "rejected")
    settle(0.5)
    answers.table.clicked.emit(answers.table.model().index(0, 0))
    answers.parent().raise_()
    stage.front = answers.parent()
    settle(2.0)
