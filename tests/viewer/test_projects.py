"""A project that is asked about from the docks."""

import threading

import numpy as np
from PIL import Image

from napari_pathreason.exports import Feature, write_geojson
from napari_pathreason.geometry import Box, Region
from napari_pathreason.models import FixedAllocator, LoadedModels
from napari_pathreason.project import AnnotationAnswered, ProjectEnded, read_project
from napari_pathreason.types import Query, Request
from napari_pathreason.viewer import ProjectRequest, Session, project_events
from tests.support.kept_questions import Reader


class Loaded(LoadedModels):
    """Of a session, which closes it."""

    def close(self):
        pass


def test_answers_of_a_model_that_was_written_to_are_not_kept(tmp_path):
    study, model = tmp_path / "study", tmp_path / "model"
    study.mkdir()
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"1")
    Image.fromarray(np.full((300, 400, 3), (230, 160, 200), np.uint8)).save(study / "a.png")
    boxes = [Feature(Box(0, 0, side, side), name=str(side)) for side in (100, 200, 300)]
    write_geojson(study / "a.geojson", boxes)
    session = Session(lambda model_id, compute: Loaded(Reader(), FixedAllocator()))
    request = Request(Region(0, 0, 1, 1), Query("vqa", "How many spots are there?"), "native")
    wanted = ProjectRequest(read_project(study), request, str(model))
    answered = []
    for event in project_events(session, wanted, threading.Event()):
        if isinstance(event, AnnotationAnswered):
            answered.append(event.answer.name)
            (model / "model.safetensors").write_bytes(b"other weights")
    assert isinstance(event, ProjectEnded)
    assert answered == ["100"]
    assert "has changed while it was loaded" in str(event.error)
    assert event.done == 1
