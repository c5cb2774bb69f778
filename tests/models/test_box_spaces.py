"""How a local model writes boxes, where its user says so: remembered, and told with the boxes."""

import json

import pytest

from napari_pathreason.errors import ModelError, QueryError
from napari_pathreason.models import load_models, prepare_model, read_model_info, set_boxes


@pytest.fixture(autouse=True)
def _own_home(monkeypatch, tmp_path):
    monkeypatch.setenv("PATHREASON_HOME", str(tmp_path / "home"))


def test_what_a_user_says_goes_before_the_family(copy):
    assert read_model_info(copy).box_space == "relative"
    prepare_model(str(copy), None, "resized")
    info = read_model_info(copy)
    assert info.box_space == "resized"
    assert info.boxes_by == "pixels of the picture, as you said"
    assert load_models(copy, "cpu").performer.info.box_space == "resized"
    set_boxes(copy, "")
    assert read_model_info(copy).box_space == "relative"
    assert read_model_info(copy).boxes_by == ""


def test_it_is_said_of_one_folder_alone(copy, checkpoints):
    set_boxes(copy, "relative_yx")
    assert read_model_info(copy).box_space == "relative_yx"
    assert read_model_info(checkpoints["qwen3_vl"]).box_space == "relative"


def test_a_checkpoint_that_says_so_itself_needs_no_word(copy):
    (copy / "pathreason.json").write_text(json.dumps({"box_space": "resized"}))
    with pytest.raises(QueryError, match="says itself"):
        set_boxes(copy, "relative")
    assert read_model_info(copy).box_space == "resized"


def test_what_makes_no_sense_is_refused(copy, tmp_path):
    with pytest.raises(QueryError, match="choose one of them"):
        set_boxes(copy, "percent")
    with pytest.raises(ModelError, match="there is no model"):
        set_boxes(tmp_path / "nothing", "relative")
    with pytest.raises(QueryError, match="about a model on a server"):
        prepare_model(str(copy), "lab-server", None)
    prepare_model(str(copy))


def test_a_damaged_file_says_nothing(copy, tmp_path):
    set_boxes(copy, "resized")
    (tmp_path / "home" / "boxes.json").write_text("{")
    assert read_model_info(copy).box_space == "relative"
