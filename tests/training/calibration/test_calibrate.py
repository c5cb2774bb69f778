"""The whole of ``pathreason calibrate`` on a model of a few thousand parameters."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_pathreason.cli import main
from napari_pathreason.engine import Job, ask
from napari_pathreason.errors import ExportError, ModelError, QueryError
from napari_pathreason.files import writing_alone
from napari_pathreason.models import CALIBRATION, load_models, load_performer
from napari_pathreason.slides import slide_from_arrays
from napari_pathreason.training import load_recipe
from napari_pathreason.training.calibration import (
    CalibrationPlan,
    answer_outcomes,
    calibrate,
    domain_of,
    own,
)
from napari_pathreason.training.samples import Pictures, read_samples, read_view
from napari_pathreason.types import (
    Calibration,
    Completion,
    GenerationSettings,
    Metadata,
    ModelDims,
    ModelInfo,
    Query,
    Request,
    TokenLogprobs,
)
from tests.support import make_tiny_checkpoint

FILE = "ood.safetensors"
DIMS = ModelDims(16, 2, 1, 8, 8, 1, 8, 8, 1, 1, 8, 9)
TUMOUR = Query("vqa", "Is there any tumour here?", ("yes", "no"))


@pytest.fixture(scope="module", autouse=True)
def short_answers():
    """Random weights never come to an end; nothing here is about how far they go."""
    patch = pytest.MonkeyPatch()
    patch.setattr("napari_pathreason.training.calibration._confidence.MAX_NEW_TOKENS", 12)
    patch.setattr("napari_pathreason.training.calibration._largest.MAX_NEW_TOKENS", 12)
    patch.setattr("napari_pathreason.training.calibration._largest.SIDES", (2,))
    patch.setattr("napari_pathreason.training.calibration._calibrate.REGIONS", 15)
    yield
    patch.undo()


def plan(folder, converted, **changes):
    settings = {"per_topic": 2, "pictures": 40, "device": "cpu"} | changes
    return CalibrationPlan(
        str(folder), converted / "val.jsonl", converted / "train.jsonl", **settings
    )


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    """Green, as no tissue of the miniature is."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("slide") / "green.png"
    pixels = rng.integers(0, 60, (400, 400, 3)) + np.array([0, 150, 0])
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def by_domain(tmp_path_factory):
    """A recipe that names what the sources show."""
    domains = {"lymph_field": "lymph node", "nuclei_instances": "nuclei"}
    domains |= dict.fromkeys(("blood", "blood_stitched"), "blood smear")
    recipe = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    values = {"output": "x", "data": {"folder": "x"}, "metadata": {"domains": domains}}
    recipe.write_text(json.dumps(values))
    return load_recipe(recipe)


@pytest.fixture(scope="module")
def calibrated(short_answers, converted, slide, by_domain, tmp_path_factory):
    folder = make_tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "model")
    said = calibrate(plan(folder, converted, unlike=(slide,), recipe=by_domain))
    return folder, said


def test_both_files_lie_beside_the_weights_and_are_taken_up(calibrated):
    folder, _ = calibrated
    assert (folder / FILE).stat().st_size < 1e6
    assert not list(folder.glob("*.partial"))
    assert load_performer(folder, "cpu").info.calibration is not None


def test_the_error_rates_are_told_for_val_and_for_slides(calibrated):
    _, said = calibrated
    assert "asked about blood smear, lung, lymph node, nuclei" in said
    assert "lymph node of val" in said
    (green,) = (line for line in said.splitlines() if "green.png" in line)
    assert [float(share) for share in green.split(": ")[1].split(", ")] == pytest.approx([1] * 4)


def test_a_training_picture_is_in_distribution_and_a_green_one_is_not(calibrated, converted, slide):
    folder, _ = calibrated
    models = load_models(folder, "cpu")
    sample = next(
        s for s in own(read_samples(converted / "train.jsonl")) if s.source == "lymph_node"
    )
    pictures = Pictures(converted)
    green = np.asarray(Image.open(slide))[:96, :96]
    found = {}
    for name, pixels in (("known", pictures.picture(sample)), ("green", green)):
        with slide_from_arrays([pixels], name) as opened:
            job = Job(
                opened,
                Request(pictures.region(sample), TUMOUR, 16, GenerationSettings(max_new_tokens=3)),
            )
            found[name] = ask(job, models.performer, models.allocator).ood
    assert found["known"].against == found["green"].against == ("lymph node",)
    assert not found["known"].is_ood
    assert found["green"].is_ood
    assert found["green"].reason


@pytest.mark.slow
def test_a_repetition_writes_the_same(calibrated, converted, by_domain):
    folder, said = calibrated
    before = [(folder / name).read_bytes() for name in (CALIBRATION, FILE)]
    again = calibrate(plan(folder, converted, recipe=by_domain))
    assert said.startswith(again)
    assert [(folder / name).read_bytes() for name in (CALIBRATION, FILE)] == before


@pytest.mark.slow
def test_damaged_fits_do_not_keep_the_command_from_mending_them(converted, tmp_path):
    folder = make_tiny_checkpoint(tmp_path / "model")
    (folder / CALIBRATION).write_text("{")
    (folder / FILE).write_bytes(b"damaged")
    with pytest.raises(ModelError, match="damaged"):
        load_performer(folder, "cpu")
    calibrate(plan(folder, converted, per_topic=1, pictures=8))
    assert isinstance(load_performer(folder, "cpu").info.calibration, Calibration)


@pytest.mark.slow
def test_the_command_line_prints_what_came_of_it(converted, tmp_path, capsys):
    folder = make_tiny_checkpoint(tmp_path / "model")
    words = ["calibrate", str(folder), "--data", str(converted / "val.jsonl")]
    words += ["--train", str(converted / "train.jsonl"), "--per-topic", "1", "--pictures", "8"]
    assert main([*words, "--device", "cpu"]) == 0
    assert "called unlike the training images" in capsys.readouterr().out
    assert json.loads((folder / CALIBRATION).read_text())["questions"] > 0


def test_a_model_that_is_no_folder_and_missing_data_are_named(converted, tmp_path):
    with pytest.raises(ModelError, match="no folder"):
        calibrate(plan("Qwen/Qwen3-VL-2B-Instruct", converted))
    folder = make_tiny_checkpoint(tmp_path / "model")
    with pytest.raises(QueryError, match=r"train\.jsonl"):
        calibrate(CalibrationPlan(str(folder), converted / "val.jsonl", tmp_path / "train.jsonl"))


def test_sources_go_by_the_domains_that_a_recipe_names(converted):
    samples = read_samples(converted / "train.jsonl")
    names = {"lymph_field": "lymph node", "blood": "smear", "blood_stitched": "smear"}
    found = {s.source: domain_of(s, names) for s in samples}
    assert found["lymph_field"] == found["lymph_node"] == "lymph node"
    assert found["blood"] == found["blood_stitched"] == "smear"
    assert found["nuclei_instances"] == "nuclei instances"
    unnamed = samples[0].model_copy(update={"source": "user"})
    assert domain_of(unnamed, {}) == "training"


def test_questions_that_do_not_suit_their_picture_are_left_out(converted):
    samples = read_samples(converted / "train.jsonl")
    assert any(s.topic == "cannot tell" for s in samples)
    assert not any(s.topic == "cannot tell" for s in own(samples))


class Told:
    """A performer that tells one box by hand in a large picture, and another in a small one."""

    def __init__(self, label, box, again=None, zoom_labels=()):
        metadata = Metadata(labels=(label,), zoom_labels=zoom_labels)
        self.info = ModelInfo("told", "qwen3_vl", "relative", DIMS, metadata=metadata)
        self._label, self._box, self._again = label, box, again

    def generate(self, prompt, settings, cancel):
        (pixels,) = prompt.pictures
        small = pixels.shape[0] * pixels.shape[1] <= 16 * 32**2
        box = self._again if small and self._again else self._box
        box = json.dumps([{"bbox_2d": box, "label": self._label}])
        parts = "<think></think>", "<answer>", box, "</answer>"
        yield Completion("".join(parts), 10, 4, 4, "stop", 0.0, tuple(map(_certain, parts)))


def _smear(converted, label):
    """A whole smear in which one box is asked for, and its corners from 0 to 1000."""
    sample = next(
        s
        for s in read_samples(converted / "train.jsonl")
        if s.task == "detection" and s.choices == (label,) and s.source == "blood" and s.boxes
    )
    ((_, corners),) = read_view(sample, Pictures(converted), 64, 32).boxes
    return sample, [1000 * c for c in corners]


@pytest.mark.parametrize(("shift", "right"), [(0, True), (1.2, False)])
def test_a_box_is_right_where_it_matches(converted, shift, right):
    """The true box of a blood smear, told by hand; shifted by far it is wrong."""
    sample, (x1, y1, x2, y2) = _smear(converted, "white cell")
    step = shift * (x2 - x1)
    told = Told("white cell", [x1 + step, y1, x2 + step, y2])
    form, outcomes = answer_outcomes(told, sample, Pictures(converted), 64)
    assert form == "box"
    assert [one.right for one in outcomes] == [right]


@pytest.mark.parametrize(("zoom_labels", "right"), [((), False), (("platelet",), True)])
def test_a_box_is_right_where_a_closer_look_makes_it_so(converted, zoom_labels, right):
    sample, (x1, y1, x2, y2) = _smear(converted, "platelet")
    beside = [x1 + x2 - x1, y1, 2 * x2 - x1, y2]
    # of a window of 4 by 4 cells about that box; all lies well inside the smear
    middle = 6.4 * (beside[0] + beside[2]) / 20, 4.8 * (y1 + y2) / 20
    true = [v * s for v, s in zip((x1, y1, x2, y2), (0.64, 0.48) * 2, strict=True)]
    again = [(v - m + 64) / 0.128 for v, m in zip(true, middle * 2, strict=True)]
    told = Told("platelet", beside, again, zoom_labels)
    _, outcomes = answer_outcomes(told, sample, Pictures(converted), 64)
    assert [one.right for one in outcomes] == [right]


def _certain(text):
    return TokenLogprobs(((text, 0.0),))


@pytest.mark.parametrize("words", [["--unlike", "a", "b"], ["--unlike", "a", "--unlike", "b"]])
def test_slides_may_be_named_at_once_or_one_by_one(monkeypatch, words):
    plans = []
    monkeypatch.setattr("napari_pathreason.training.calibration.calibrate", plans.append)
    main(["calibrate", "embedded", "--data", "val.jsonl", "--train", "train.jsonl", *words])
    assert plans[0].unlike == (Path("a"), Path("b"))


def test_two_processes_do_not_fit_one_model(converted, tmp_path):
    folder = make_tiny_checkpoint(tmp_path / "model")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with writing_alone(folder), pytest.raises(ExportError, match="another process is at work"):
        calibrate(plan(folder, converted))
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
