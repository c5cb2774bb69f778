import json
import shutil

import pytest

from napari_pathreason.errors import ModelError
from napari_pathreason.models import CALIBRATION, ModelProcess, load_performer, read_info
from napari_pathreason.types import Calibration, Scale, TopicScale


@pytest.fixture
def copy(checkpoints, tmp_path):
    return shutil.copytree(checkpoints["qwen3_vl"], tmp_path / "copy")


def test_a_checkpoint_without_the_file_is_not_calibrated(copy):
    assert load_performer(copy, "cpu").info.calibration is None


def _write(folder, **changes):
    plain = {"temperature": 1.0, "offset": 0.0, "rationale": False}
    forms = dict.fromkeys(("choice", "open", "box"), plain) | changes
    (folder / CALIBRATION).write_text(json.dumps({**forms, "questions": 7}))


def test_scales_come_from_the_file_beside_the_weights(copy):
    _write(copy, choice={"temperature": 2, "offset": 0.5, "rationale": True})
    expected = Calibration(choice=Scale(2.0, 0.5, True))
    assert load_performer(copy, "cpu").info.calibration == expected


@pytest.mark.parametrize(
    "scale",
    [
        {"temperature": 0, "offset": 0, "rationale": False},
        {"temperature": "hot", "offset": 0, "rationale": False},
        {"temperature": 1, "offset": float("nan"), "rationale": False},
        {"temperature": 1},
        [1],
    ],
)
def test_a_scale_that_is_none_is_refused(copy, scale):
    _write(copy, open=scale)
    with pytest.raises(ModelError, match="pathreason calibrate"):
        read_info(copy, "copy")


def test_kinds_of_question_come_from_the_file_too(copy):
    scale = {"temperature": 3, "offset": -1, "rationale": False}
    _write(copy, topics=[{"form": "count", "topics": ["number of cells"], **scale}])
    own = TopicScale("count", ("number of cells",), Scale(3.0, -1.0))
    assert load_performer(copy, "cpu").info.calibration == Calibration(topics=(own,))


@pytest.mark.parametrize("form", ["counting", None, ["count"]])
@pytest.mark.parametrize("topics", ["cells", None, 3])
def test_a_kind_of_question_that_is_none_is_refused(copy, form, topics):
    scale = {"temperature": 3, "offset": -1, "rationale": False}
    for wrong in ({"form": form, "topics": ["cells"]}, {"form": "count", "topics": topics}):
        _write(copy, topics=[wrong | scale])
        with pytest.raises(ModelError, match="pathreason calibrate"):
            read_info(copy, "copy")


@pytest.mark.slow
def test_a_model_process_says_it_too(copy):
    _write(copy)
    with ModelProcess(copy, "cpu") as process:
        assert process.performer.info.calibration == Calibration()
