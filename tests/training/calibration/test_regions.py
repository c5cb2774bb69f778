"""Regions: what their windows are put together to is as sure as it is right."""

import json
import math
import shutil

import numpy as np
import pytest
from PIL import Image

from napari_pathreason.cli import main
from napari_pathreason.engine import region_confidence
from napari_pathreason.errors import QueryError
from napari_pathreason.models import CALIBRATION, EMBEDDED
from napari_pathreason.tasks import words_of_query
from napari_pathreason.training import Sample, write_samples
from napari_pathreason.training.calibration import (
    CalibrationPlan,
    KnownRegion,
    ask_regions,
    calibrate,
    fit_regions,
    region_errors,
)
from napari_pathreason.training.samples import Pictures
from napari_pathreason.types import (
    Calibration,
    Completion,
    Metadata,
    ModelDims,
    ModelInfo,
    Query,
    TokenLogprobs,
    Topic,
)

YES_OR_NO = ("yes", "no")
TUMOUR = Query("vqa", "Is there tumour?", YES_OR_NO)
CELLS = Query("vqa", "Are there white cells?", YES_OR_NO)
TOPICS = Metadata(
    tuple(Topic(q.question, "yes/no", words_of_query(q), q) for q in (TUMOUR, CELLS)),
    (),
    window=256,
)
DIMS = ModelDims(16, 2, 2, 32, 64, 2, 32, 64, 2, 1, 16, 300)


def known(query, n, said, right, first=0):
    """Answers of which a share is right."""
    rng = np.random.default_rng(first)
    return [
        KnownRegion(query, f"{first + i}.png", said, bool(rng.random() < right)) for i in range(n)
    ]


def test_a_kind_that_windows_are_too_sure_of_is_told_from_one_that_they_know():
    answers = known(TUMOUR, 80, 0.95, 0.6) + known(CELLS, 80, 0.95, 1.0, 200)
    heat = Calibration(regions=fit_regions(answers, TOPICS))
    assert region_confidence(0.95, TUMOUR, heat, TOPICS) == pytest.approx(0.6, abs=0.12)
    assert region_confidence(0.95, CELLS, heat, TOPICS) > 0.95
    together = Calibration(regions=fit_regions(answers, None))
    assert region_confidence(0.95, TUMOUR, together, None) == pytest.approx(0.8, abs=0.06)


def test_a_kind_with_few_regions_is_as_all_of_its_form_and_few_in_all_change_nothing():
    answers = known(TUMOUR, 40, 0.95, 0.6) + known(CELLS, 9, 0.95, 1.0, 200)
    assert [one.topics for one in fit_regions(answers, TOPICS)] == [(), (TUMOUR.question,)]
    assert fit_regions(answers[:9], TOPICS) == ()


def test_what_it_brings_is_measured_on_regions_that_no_fit_saw():
    words = region_errors(known(TUMOUR, 200, 0.95, 0.6), TOPICS)
    before, after = (float(one) for one in words.split("ECE ")[1].split(" -> "))
    assert words.startswith("regions: 200 answers")
    assert before == pytest.approx(0.35, abs=0.08)
    assert after < 0.1
    shared = [KnownRegion(TUMOUR, "one.png", 0.95, i % 2 == 0) for i in range(100)]
    before, after = region_errors(shared, TOPICS).split("ECE ")[1].split(" -> ")
    assert before == after  # all of one region: nothing was learnt of others


class Sayer:
    """Says yes with 0.9 of any window."""

    info = ModelInfo("says", "qwen3_vl", "relative", DIMS, metadata=TOPICS)

    def generate(self, prompt, settings, cancel):
        likely = TokenLogprobs((("yes", math.log(0.9)), ("no", math.log(0.1))))
        frame = (TokenLogprobs((("<answer>", 0.0),)), TokenLogprobs((("</answer>", 0.0),)))
        written = (frame[0], likely, frame[1])
        yield Completion("<answer>yes</answer>", 30, 16, 3, "stop", 0.1, written=written)


@pytest.fixture
def regions(tmp_path):
    """A large region with two questions, one of a box, and a small region."""
    pixels = np.full((768, 768, 3), (230, 170, 200), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "large.png")
    Image.fromarray(pixels[:200, :200]).save(tmp_path / "small.png")
    asked = {"task": "vqa", "choices": YES_OR_NO, "question": TUMOUR.question}
    samples = [
        Sample(image="large.png", answer="yes", **asked),
        Sample(image="large.png", answer="no", **asked | {"question": CELLS.question}),
        Sample(image="large.png", task="detection", question="", choices=("tumour",)),
        Sample(image="small.png", answer="yes", **asked),
    ]
    write_samples(tmp_path / "val.jsonl", samples)
    return samples, Pictures(tmp_path)


def test_regions_are_asked_as_users_ask_and_small_ones_and_boxes_are_left_out(regions):
    first, second = ask_regions(Sayer(), *regions)
    assert (first.query, first.right, first.image) == (TUMOUR, True, "large.png")
    assert first.windows == pytest.approx(0.9)
    assert (second.query, second.right) == (CELLS, False)


def test_regions_of_test_are_refused(tmp_path):
    plan = CalibrationPlan("embedded", regions=(tmp_path / "val.jsonl", tmp_path / "test.jsonl"))
    with pytest.raises(QueryError, match="--regions"):
        calibrate(plan)


def test_something_must_be_given(tmp_path):
    with pytest.raises(QueryError, match="give --data, --regions or both"):
        calibrate(CalibrationPlan("embedded"))


def test_scales_of_regions_join_what_was_fitted_before(regions, tmp_path, monkeypatch):
    own = shutil.copytree(EMBEDDED, tmp_path / "model")
    before = json.loads((own / CALIBRATION).read_text())
    answers = known(TUMOUR, 40, 0.95, 0.6)
    seen = []

    def ask(performer, samples, pictures):
        seen.append((performer.info.calibration.regions, len(samples)))
        return answers

    monkeypatch.setattr("napari_pathreason.training.calibration._calibrate.ask_regions", ask)
    words = calibrate(CalibrationPlan(str(own), regions=(tmp_path / "val.jsonl",), device="cpu"))
    assert words.startswith("regions: 40 answers, ECE ")
    after = json.loads((own / CALIBRATION).read_text())
    assert after.pop("region_answers") == 40
    assert {one["form"] for one in after.pop("regions")} == {"yes/no"}
    assert after == {k: v for k, v in before.items() if k not in ("regions", "region_answers")}
    calibrate(CalibrationPlan(str(own), regions=(tmp_path / "val.jsonl",), device="cpu"))
    assert seen == [((), 4), ((), 4)]  # asked as if there were no scales of regions yet
    monkeypatch.setattr(
        "napari_pathreason.training.calibration._calibrate.ask_regions", lambda *_: []
    )
    with pytest.raises(QueryError, match="larger regions"):
        calibrate(CalibrationPlan(str(own), regions=(tmp_path / "val.jsonl",), device="cpu"))
    (own / CALIBRATION).unlink()
    with pytest.raises(QueryError, match="give --data too"):
        calibrate(CalibrationPlan(str(own), regions=(tmp_path / "val.jsonl",), device="cpu"))


def test_the_shell_hands_regions_on(monkeypatch):
    plans = []
    monkeypatch.setattr("napari_pathreason.training.calibration.calibrate", plans.append)
    words = ["--regions", "a/val.jsonl", "b/val.jsonl", "--regions-per-topic", "7"]
    main(["calibrate", "embedded", *words])
    assert [one.as_posix() for one in plans[0].regions] == ["a/val.jsonl", "b/val.jsonl"]
    assert plans[0].regions_per_topic == 7
