import json
import shutil

import pytest

from napari_pathreason._errors import ModelError
from napari_pathreason._types import Calibration
from napari_pathreason.models import ModelProcess, load_performer
from napari_pathreason.models._config import CALIBRATION, read_info


@pytest.fixture
def copy(checkpoints, tmp_path):
    return shutil.copytree(checkpoints["qwen3_vl"], tmp_path / "copy")


def test_a_checkpoint_without_the_file_is_not_calibrated(copy):
    assert load_performer(copy, "cpu").info.calibration is None


def test_temperatures_come_from_the_file_beside_the_weights(copy):
    (copy / CALIBRATION).write_text(json.dumps({"temperature": {"choice": 2, "box": 0.5}}))
    expected = Calibration(choice=2.0, box=0.5)
    assert load_performer(copy, "cpu").info.calibration == expected


@pytest.mark.parametrize(
    "heat", [{"choice": 0}, {"open": -1}, {"box": "hot"}, {"other": 1}, [1], {"open": float("nan")}]
)
def test_a_temperature_that_is_none_is_refused(copy, heat):
    (copy / CALIBRATION).write_text(json.dumps({"temperature": heat}))
    with pytest.raises(ModelError, match="pathreason calibrate"):
        read_info(copy, "copy")


@pytest.mark.slow
def test_a_model_process_says_it_too(copy):
    (copy / CALIBRATION).write_text(json.dumps({"temperature": {"choice": 2}}))
    with ModelProcess(copy, "cpu") as process:
        assert process.performer.info.calibration == Calibration(choice=2.0)
