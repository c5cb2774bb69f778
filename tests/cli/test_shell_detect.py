import json

import numpy as np
import pytest
from PIL import Image

from napari_pathreason.errors import ModelError, WorkerError
from napari_pathreason.exports import read_geojson
from napari_pathreason.files import locked

RUN = ("--lesions", "spot", "--slide-mpp", 0.5, "--mpp", 0.5, "--tile", 256, "--overlap", 0.3)

FOUND = "0 of 12 tiles reliable, 12 uncertain; 1 spot"
NOT_SAID = "nobody has measured how reliable this model is; `pathreason calibrate` does"
COUNTS = {"all": 12, "unreadable": 0, "unknown": 0, "reliable": 0, "none": 0}


@pytest.fixture
def stained(tmp_path):
    """Like ``picture``, on pink: white is no tissue."""
    pixels = np.full((480, 640, 3), (230, 160, 200), np.uint8)
    pixels[128:224, 256:320] = 0
    file = tmp_path / "stained.png"
    Image.fromarray(pixels).save(file)
    return file


def one_line(text):
    return text.count("\n") == 1 and text.startswith("pathreason: ") and "Traceback" not in text


def test_a_slide_becomes_a_folder(shell, loads, stained, tmp_path):
    done = shell("detect", stained, "-o", tmp_path / "out", *RUN)
    assert (done.code, done.err) == (0, "")
    first, *others = done.out.splitlines()
    assert first.startswith(f"stained.png: {FOUND}; 12 of 12 tiles with tissue; ")
    assert others[0] == f"  Doubt: {NOT_SAID}"
    folder = tmp_path / "out" / "stained.png"
    names = {path.name for path in folder.iterdir()}
    assert names >= {"findings.geojson", "findings.csv", "tiles.csv", "heatmap.ome.tif"}
    assert names >= {"manifest.json", "plan.json", "tiles.jsonl"}
    assert loads == [("embedded", "auto", "exact")]


def test_runs_of_two_encoders_are_two(shell, loads, stained, tmp_path):
    out = tmp_path / "out"
    assert shell("detect", stained, "-o", out, *RUN, "--encoder", "fast").code == 0
    folder = out / "stained.png"
    assert json.loads((folder / "manifest.json").read_text())["model"]["encoder"] == "fast"
    done = shell("detect", stained, "-o", out, *RUN)
    assert done.code == 2
    assert "holds a run with encoder fast (now exact)" in done.err
    done = shell("detect", stained, "-o", out, *RUN, "--encoder", "fast")
    assert "finished before, nothing to do" in done.out
    assert loads == [("embedded", "auto", "fast")]


def test_an_encoder_that_cannot_be_fast_is_said_before_the_tiles(
    shell, old_processor, stained, tmp_path
):
    done = shell("detect", stained, "-o", tmp_path / "out", *RUN, "--encoder", "fast")
    assert done.code == 0
    assert done.err == "pathreason: stained.png: the vision encoder runs exact: an old processor\n"
    manifest = json.loads((tmp_path / "out" / "stained.png" / "manifest.json").read_text())
    assert manifest["model"]["encoder"] == "exact"


def test_the_second_run_says_that_there_is_nothing_to_do(shell, loads, stained, tmp_path):
    shell("detect", stained, "-o", tmp_path / "out", *RUN)
    done = shell("detect", stained, "-o", tmp_path / "out", *RUN)
    assert done.code == 0
    assert done.out == f"stained.png: finished before, nothing to do; {FOUND}\n"
    assert len(loads) == 1


def test_json_on_stdout_and_nothing_else(shell, loads, stained, tmp_path):
    done = shell("detect", stained, "-o", tmp_path / "out", *RUN, "--budget", 16, "--json", "-")
    assert done.err == ""
    (told,) = json.loads(done.out)
    assert told["state"] == "finished"
    assert told["tiles"] == {**COUNTS, "read": 12, "uncertain": 12}
    assert told["tokens"]["realised"] == 12 * 16
    (found,) = told["detections"]
    assert found["label"] == "spot"
    assert str(tmp_path) not in done.out


def test_the_model_is_loaded_once_for_all_slides(shell, loads, stained, tmp_path):
    other = tmp_path / "other.png"
    other.write_bytes(stained.read_bytes())
    done = shell("detect", stained, other, "-o", tmp_path / "out", *RUN)
    assert done.code == 0
    assert done.out.count("1 spot") == 2
    assert len(loads) == 1


def test_an_error_ends_the_run(shell, loads, stained, tmp_path):
    broken = tmp_path / "broken.svs"
    broken.write_bytes(b"no slide")
    done = shell("detect", broken, stained, "-o", tmp_path / "out", *RUN)
    assert (done.code, done.out) == (2, "")
    assert one_line(done.err)
    assert not (tmp_path / "out" / "stained.png").exists()


def test_skip_errors_goes_on_and_sums_up(shell, loads, stained, tmp_path):
    broken = tmp_path / "broken.svs"
    broken.write_bytes(b"no slide")
    told = tmp_path / "told.json"
    words = ("-o", tmp_path / "out", *RUN, "--skip-errors", "--json", told)
    done = shell("detect", broken, stained, *words)
    assert done.code == 2
    assert "1 spot" in done.out
    why, summary = done.err.splitlines()
    assert why.startswith("pathreason: broken.svs: ")
    assert summary == "pathreason: 1 of 2 slides failed: broken.svs"
    assert [one["state"] for one in json.loads(told.read_text())] == ["failed", "finished"]


@pytest.mark.parametrize(
    ("error", "others"), [(WorkerError("died"), True), (ModelError("x"), False)]
)
def test_skip_errors_goes_on_where_another_slide_may_fare_better(
    shell, loads, stained, tmp_path, monkeypatch, error, others
):
    from napari_pathreason.slide_run import AnswersHere

    other = tmp_path / "other.png"
    other.write_bytes(stained.read_bytes())
    answer = AnswersHere.run

    def fails(self, plan, *arguments):
        if plan.slide.name == "stained.png":
            raise error
        return answer(self, plan, *arguments)

    monkeypatch.setattr(AnswersHere, "run", fails)
    done = shell("detect", stained, other, "-o", tmp_path / "out", *RUN, "--skip-errors")
    assert done.code == 2
    assert str(error) in done.err
    assert (tmp_path / "out" / "other.png" / "manifest.json").exists() == others


def test_other_settings_are_one_error(shell, loads, stained, tmp_path):
    shell("detect", stained, "-o", tmp_path / "out", *RUN)
    done = shell("detect", stained, "-o", tmp_path / "out", *RUN, "--tile", 128)
    assert done.code == 2
    assert one_line(done.err)
    assert "tile 256 (now 128)" in done.err


def test_a_folder_at_work_is_refused(shell, loads, stained, tmp_path):
    with locked(tmp_path / "out"):
        done = shell("detect", stained, "-o", tmp_path / "out", *RUN)
    assert done.code == 2
    assert one_line(done.err)
    assert "another process" in done.err
    assert loads == []


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (("--overlap", 0), "overlap"),
        (("--budget", "some"), "budget"),
        (("--lesions", ","), "lesion"),
        (("--json", "no/folder/x.json"), "no folder"),
        (("--model", "no/such/folder"), "no model 'folder'"),
    ],
)
def test_wrong_words_are_one_line(shell, stained, tmp_path, more, word):
    done = shell("detect", stained, "-o", tmp_path / "out", *RUN, *more)
    assert (done.code, done.out) == (2, "")
    assert one_line(done.err)
    assert word in done.err


def test_slides_of_one_name_and_slides_without_resolution(shell, loads, stained, tmp_path):
    done = shell("detect", stained, stained, "-o", tmp_path / "out", *RUN)
    assert "folders of their own" in done.err
    done = shell("detect", stained, "-o", tmp_path / "out", "--lesions", "spot")
    assert one_line(done.err)
    assert "--slide-mpp" in done.err


def test_ctrl_c_says_how_to_go_on(shell, loads, stained, tmp_path, monkeypatch):
    from napari_pathreason.slide_run import AnswersHere

    def interrupted(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(AnswersHere, "run", interrupted)
        done = shell("detect", stained, "-o", tmp_path / "out", *RUN)
    assert done.code == 130
    assert one_line(done.err)
    assert "the same command goes on" in done.err
    assert "1 spot" in shell("detect", stained, "-o", tmp_path / "out", *RUN).out


def test_budgets_of_single_tiles(shell, loads, stained, tmp_path):
    words = ("detect", stained, "-o", tmp_path / "out", *RUN, "--budget", 16)
    shell(*words)
    table = tmp_path / "again.csv"
    table.write_text("tile,budget\n0,0\n1,64\n")
    done = shell(*words, "--tiles", table, "--json", "-")
    assert (done.code, done.err) == (0, "")
    (told,) = json.loads(done.out)
    assert told["tiles"] == {**COUNTS, "read": 11, "uncertain": 11}
    assert told["tokens"]["realised"] == 10 * 16 + 64
    again = shell(*words).out
    assert again.startswith("stained.png: finished before, nothing to do; 0 of 11 tiles reliable")
    table.write_text("tile,budget\n99,0\n")
    refused = shell(*words, "--tiles", table)
    assert one_line(refused.err)
    assert "there is no tile 99" in refused.err


def test_budgets_of_tiles_are_of_one_slide(shell, loads, stained, tmp_path):
    other = tmp_path / "other.png"
    other.write_bytes(stained.read_bytes())
    (tmp_path / "again.csv").write_text("tile,budget\n0,0\n")
    words = ("-o", tmp_path / "out", *RUN, "--tiles", tmp_path / "again.csv")
    done = shell("detect", stained, other, *words)
    assert one_line(done.err)
    assert "give one slide" in done.err


@pytest.mark.parametrize("more", [(), ("--skip-errors",)])
def test_what_the_model_cannot_look_for_is_refused(shell, trained, stained, tmp_path, more):
    words = ("detect", stained, "-o", tmp_path / "out", *RUN, *more)
    done = shell(*words, "--lesions", "spot,mitosis")
    assert (done.code, done.out) == (2, "")
    assert "cannot look for mitosis; it can look for: spot\n" in done.err
    assert not (tmp_path / "out" / "stained.png" / "plan.json").exists()
    assert shell(*words).code == 0
    again = shell(*words, "--lesions", "mitosis")  # the folder holds a run now
    assert again.code == 2
    assert "cannot look for mitosis; it can look for: spot\n" in again.err


def test_a_question_that_was_not_trained_on_is_told_before_the_tiles(
    shell, trained, stained, tmp_path
):
    words = ("detect", stained, "-o", tmp_path / "out", *RUN)
    done = shell(*words, "--question", "Find necrosis.")
    assert done.code == 0
    assert done.err.startswith("pathreason: stained.png: not trained on: necrosis; whatever it ")
    assert "\n  --task detection --choices spot\n" in done.err
    found = "0 of 12 tiles reliable, 12 no reliable answer (12 not trained on: necrosis)"
    guess = "No reliable answer (guess: 1 spot)"
    assert done.out.startswith(f"stained.png: {found}; {guess}; ")
    again = shell(*words, "--question", "Find necrosis.")
    assert again.err == ""
    assert again.out == f"stained.png: finished before, nothing to do; {found}; {guess}\n"


def test_lesions_without_a_reliable_answer_get_a_class_of_their_own(
    shell, trained, stained, tmp_path
):
    words = ("detect", stained, "-o", tmp_path / "out", *RUN, "--question", "Find necrosis.")
    path = tmp_path / "out" / "stained.png" / "findings.geojson"
    shell(*words)
    assert [one.label for one in read_geojson(path)] == ["", "spot"]
    assert shell(*words, "--unreliable-class").code == 0
    assert [one.label for one in read_geojson(path)] == ["Unreliable", "Unreliable: spot"]
    assert len(trained) == 1


@pytest.mark.parametrize("file", ["stained.png", "budgets.csv", "out/stained.png/plan.json"])
def test_no_summary_is_written_over_what_is_read(shell, loads, stained, tmp_path, file):
    (tmp_path / "budgets.csv").write_text("tile,budget\n0,16\n")
    words = ("detect", stained, "-o", tmp_path / "out", *RUN)
    assert shell(*words).code == 0
    before = (tmp_path / file).read_bytes()
    done = shell(*words, "--tiles", tmp_path / "budgets.csv", "--json", tmp_path / file)
    assert done.code == 2
    assert one_line(done.err)
    assert "is read by this command, which would write over it" in done.err
    assert (tmp_path / file).read_bytes() == before


def test_a_name_cannot_make_a_line_of_its_own(shell, loads, stained, tmp_path):
    odd = tmp_path / "a\npathreason: b\t.png"
    stained.rename(odd)
    bad = tmp_path / "c\nd.png"
    bad.write_bytes(b"no picture")
    done = shell("detect", odd, bad, "-o", tmp_path / "out", *RUN, "--skip-errors")
    assert done.code == 2
    assert done.out.startswith("a\ufffdpathreason: b\ufffd.png: ")
    assert all(line.startswith(("a\ufffd", "  ")) for line in done.out.splitlines())
    assert all(line.startswith("pathreason: ") for line in done.err.splitlines())
    assert "1 of 2 slides failed: c\ufffdd.png" in done.err
    assert (tmp_path / "out" / odd.name / "findings.csv").is_file()
