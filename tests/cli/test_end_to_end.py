"""The shell from command to answer on the bundled slide, with real though untaught weights."""

import json
import os
import subprocess
import sys
from importlib.resources import files

import pytest

import napari_pathreason
from tests.support import make_tiny_checkpoint

SLIDE = str(files("napari_pathreason") / "sample_data" / "CMU-1-Small-Region.svs")
OFFLINE = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
REGION = ("--region", "100", "200", "512", "384", "--budget", "16", "--device", "cpu")


@pytest.fixture(scope="module")
def checkpoint(request, tmp_path_factory):
    return make_tiny_checkpoint(tmp_path_factory.mktemp("tiny"), request.param)


def pathreason(*words):
    return subprocess.run(
        [sys.executable, "-m", "napari_pathreason.cli", *words],
        capture_output=True,
        text=True,
        env=OFFLINE,
        check=False,
    )


@pytest.mark.parametrize(
    "checkpoint",
    ["qwen3_vl", pytest.param("qwen2_5_vl", marks=pytest.mark.slow)],
    indirect=True,
)
def test_one_question_through_the_shell(checkpoint, tmp_path):
    figure = tmp_path / "answer.png"
    done = pathreason(
        "ask",
        SLIDE,
        *REGION,
        *("--model", str(checkpoint), "--question", "How many nuclei?"),
        *("--json", "-", "--figure", str(figure)),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no library writes between our lines
    told = json.loads(done.stdout)
    assert told["region"] == [100, 200, 512, 384]
    assert 0 < told["tokens"]["realised"] <= 16
    assert told["tokens"]["native_picture"] in (16 * 12, 18 * 14)
    assert told["slide"]["mpp_source"] == "file"
    assert told["slide"]["mpp"] == pytest.approx([0.499, 0.499])
    assert told["pixels_decoded"] > 0
    assert str(tmp_path) not in done.stdout
    assert "sample_data" not in done.stdout
    assert figure.stat().st_size > 10_000


@pytest.mark.parametrize("checkpoint", ["qwen3_vl"], indirect=True)
def test_python_gives_the_same_answer_as_the_shell(checkpoint):
    words = ("--task", "detection", "--choices", "gland", "--model", str(checkpoint))
    told = json.loads(pathreason("ask", SLIDE, *REGION, *words, "--json", "-").stdout)
    result = napari_pathreason.ask(
        SLIDE,
        region=(100, 200, 512, 384),
        task="detection",
        choices=["gland"],
        budget=16,
        model=checkpoint,
        device="cpu",
    )
    again = json.loads(json.dumps(napari_pathreason.result_to_dict(result)))
    for run in (told, again):
        del run["seconds"]  # all else is the same
    assert again == told


@pytest.mark.parametrize("checkpoint", ["qwen3_vl"], indirect=True)
def test_a_half_downloaded_model_is_one_line(checkpoint, tmp_path):
    (tmp_path / "config.json").write_bytes((checkpoint / "config.json").read_bytes())
    done = pathreason("ask", SLIDE, "--question", "?", "--model", str(tmp_path))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "fetch the whole model" in done.stderr
