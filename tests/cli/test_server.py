"""A model on a server in the shell: the same commands, and what is said of it."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.support.servers import llama_cpp, ollama, serving, transformers_serve, vllm

pytestmark = pytest.mark.usefixtures("own_folders")
YES_NO = ("--question", "Is there tumour?", "--choices", "yes,no")
FIND = ("--task", "detection", "--choices", "spot")


def one_line(text):
    return text.count("\n") == 1 and text.startswith("pathreason: ") and "Traceback" not in text


def test_a_question_needs_no_torch_and_little_time(picture):
    """In a process of its own: what is imported, and the CPU seconds of all of it."""
    code = (
        "import sys, time; from napari_pathreason.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "print(code, time.process_time(), *{n.partition('.')[0] for n in sys.modules},"
        " file=sys.stderr)"
    )
    with serving() as server:
        words = ("ask", picture, *YES_NO, "--model", server.url, "--json", "-")
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PATHREASON_TRACEBACK": "1"},
        )
    exit_code, seconds, *loaded = done.stderr.split()
    assert exit_code == "0"
    assert json.loads(done.stdout)["answer"] == "yes"
    heavy = {"torch", "transformers", "accelerate", "tokenizers", "huggingface_hub", "scipy"}
    assert not heavy & set(loaded)
    assert "httpx2" in loaded
    assert float(seconds) < 3  # 0.6 on a quiet machine


def test_text_for_people(shell, picture):
    with serving(vllm(floor=1024)) as server:
        done = shell("ask", picture, *FIND, "--model", server.url, "--budget", 64)
    assert done.code == 0, done.err
    for part in (
        "Answer       1 spot",
        "Rationale    one dark spot",
        "Model        Qwen/Qwen3-VL-2B-Instruct on server",
        "boxes were read as 0 to 1000 of the picture, as Qwen3-VL models do",
        "(not calibrated)",
    ):
        assert part in " ".join(done.out.split("\n             ")), part
    assert "127.0.0.1" not in done.out


@pytest.mark.parametrize("dialect", [vllm(), transformers_serve(), llama_cpp(), ollama()])
@pytest.mark.parametrize("policy", ["auto", "uniform", "again", "surprise", "table", "one_view"])
def test_every_policy_reads_a_large_region(shell, large, dialect, policy):
    with serving(dialect) as server:
        words = ("--policy", policy, "--budget", 512, "--model", server.address, "--json", "-")
        done = shell("ask", large, *FIND, *words)
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["model"]["device"] == "server"
    if policy == "uniform":
        assert len(told["views"]) > 1
    if policy in ("uniform", "one_view"):
        x, y = told["detections"][0]["box"][:2]
        assert 880 < x < 920
        assert 680 < y < 720


def test_a_plan_is_shown_without_a_question(shell, large):
    with serving() as server:
        shell("ask", large, *YES_NO, "--model", server.url, "--budget", 64)
        asked = len(server.bodies)
        done = shell(
            "ask", large, *YES_NO, "--model", server.url, "--policy", "uniform", "--show-views"
        )
        assert len(server.bodies) == asked
    assert done.code == 0, done.err
    assert "FLOPs not known" in done.out


def test_a_floor_is_said_beside_the_plan(shell, picture):
    with serving() as server:
        words = ("--model", server.url, "--budget", 16, "--json", "-")
        told = json.loads(shell("ask", picture, *YES_NO, *words).out)
    assert told["tokens"]["requested"] == 16
    assert told["tokens"]["realised"] == 70  # 640 x 480 px enlarged to the floor
    (note,) = [one for one in told["warnings"] if "were planned" in one]
    assert note.startswith("the model read 70 visual tokens where 12 were planned")
    assert note.endswith("it takes at least 64 for a picture")


def test_a_foreign_host_must_be_allowed(shell, picture):
    done = shell("ask", picture, *YES_NO, "--model", "http://lab.invalid:8000/v1#m")
    assert done.code == 2
    assert one_line(done.err)
    assert "--allow-host lab.invalid" in done.err
    again = ("ask", picture, *YES_NO, "--model", "http://lab.invalid:8000/v1#m")
    done = shell(*again, "--allow-host", "lab.invalid")
    assert one_line(done.err)
    assert "cannot be reached" in done.err  # it was tried
    done = shell(*again)
    assert "cannot be reached" in done.err  # it is remembered


@pytest.mark.parametrize(
    "words", [("--allow-host", "lab"), ("--boxes", "resized"), ("--allow-host", "http://lab")]
)
def test_options_of_servers_are_about_servers(shell, picture, words):
    done = shell("ask", picture, *YES_NO, *words)
    assert done.code == 2
    assert one_line(done.err)


def test_boxes_are_set_and_remembered(shell, picture):
    def silent(words, pictures):
        if "rectangle" in words:
            return "", "[]"
        box = '[{"bbox_2d": [0, 0, 32, 64], "label": "spot"}]'
        return "", box if "bbox_2d" in words else "yes"

    with serving(vllm(models=("somebody/model",)), answer=silent) as server:
        words = ("ask", picture, *FIND, "--model", server.url, "--budget", 256, "--json", "-")
        done = shell(*words)
        assert done.code == 2
        assert one_line(done.err)
        assert "--boxes" in done.err
        for more in (("--boxes", "resized", "--no-zoom"), ("--no-zoom",)):
            told = json.loads(shell(*words, *more).out)
            (found,) = told["detections"]
            width = told["picture_size"][0]
            assert found["box"] == pytest.approx(
                [0, 0, 32 * 640 / width, 64 * 640 / width], rel=0.1
            )
            assert "boxes were read as pixels of the picture, as you said" in told["warnings"]


def test_a_manifest_names_no_server_unless_asked(shell, picture, tmp_path):
    file = tmp_path / "a.json"
    with serving(vllm(models=("secret-model",))) as server:
        words = ("ask", picture, *YES_NO, "--model", server.url, "--manifest", file)
        assert shell(*words).code == 0
        text = file.read_text()
        for name in ("secret-model", "127.0.0.1", "http"):
            assert name not in text
        done = shell("ask", "--from", file)
        assert one_line(done.err)
        assert "give it with --model" in done.err
        done = shell("ask", "--from", file, "--model", server.url)
        assert done.code == 0, done.err
        assert "differs" not in done.err
        with serving(vllm(models=("other",))) as other:
            done = shell("ask", "--from", file, "--model", other.url)
            assert one_line(done.err)
            assert "not that of the run" in done.err
        assert shell(*words, "--name-server").code == 0
        used = json.loads(file.read_text())["model"]
        assert (used["name"], used["model_id"]) == ("secret-model", server.address)
        assert shell("ask", "--from", file).code == 0


def test_a_key_stands_in_no_file(shell, picture, tmp_path, monkeypatch):
    monkeypatch.setenv("PATHREASON_API_KEY", "very-secret")
    names = {"--manifest": "a.json", "--report": "a.html", "--transcript": "a.jsonl"}
    files = [word for name, file in names.items() for word in (name, tmp_path / file)]
    with serving(key="very-secret") as server:
        done = shell("ask", picture, *YES_NO, "--model", server.url, *files, "--name-server")
    assert done.code == 0, done.err
    texts = [done.out, done.err, *(f.read_text() for f in tmp_path.rglob("a.*"))]
    assert len(texts) == 5
    assert not [text for text in texts if "very-secret" in text]


def test_what_is_read_is_kept_and_gone_on_with(shell, large, tmp_path):
    with serving() as server:
        words = ("--policy", "again", "--model", server.url, "--keep", tmp_path / "kept")
        first = shell("ask", large, *FIND, *words, "--budget", 1024, "--json", "-")
        assert first.code == 0, first.err
        asked = len(server.questions)
        second = shell("ask", large, *FIND, *words, "--budget", 1024, "--json", "-")
        assert second.code == 0, second.err
        assert json.loads(first.out)["detections"] == json.loads(second.out)["detections"]
        assert len(server.questions) - asked < asked


def test_a_whole_slide(shell, tmp_path):
    pixels = np.full((1200, 1600, 3), (210, 130, 180), np.uint8)
    pixels[300:420, 500:640] = 0
    slide = tmp_path / "slide.png"
    Image.fromarray(pixels).save(slide)
    out = tmp_path / "run"
    with serving(delay=0.002) as server:
        words = ("detect", slide, "-o", out, "--lesions", "spot", "--slide-mpp", 0.5, "--mpp", 0.5)
        done = shell(*words, "--tile", 512, "--model", server.address, "--no-zoom")
        assert done.code == 0, done.err
        assert 2 <= server.most_at_once <= 5  # four questions, and the count of their text
        asked = len(server.bodies)
        again = shell(*words, "--tile", 512, "--model", server.address, "--no-zoom")
        assert "finished before" in again.out
        assert len(server.bodies) == asked
    (run,) = [folder for folder in out.iterdir() if folder.is_dir()]
    manifest = (run / "manifest.json").read_text()
    assert "127.0.0.1" not in manifest
    assert "Qwen" not in json.loads(manifest)["model"]["name"]


def test_a_slide_run_asks_for_the_convention_before_it_reads(shell, tmp_path):
    Image.fromarray(np.full((600, 600, 3), (210, 130, 180), np.uint8)).save(tmp_path / "s.png")

    def silent(words, pictures):
        return "", "[]" if "bbox_2d" in words else "yes"

    with serving(vllm(models=("somebody/model",)), answer=silent) as server:
        words = ("detect", tmp_path / "s.png", "-o", tmp_path / "run", "--slide-mpp", 0.5)
        done = shell(*words, "--model", server.address)
        assert done.code == 2
        assert one_line(done.err)
        assert "--boxes" in done.err
        assert not [body for body in server.bodies if "Find every" in str(body)]


@pytest.mark.parametrize("fault", [401, 413, 500, "hang_up", "redirect", "html"])
def test_each_failure_is_one_line(shell, picture, fault):
    with serving() as server:
        shell("ask", picture, *YES_NO, "--model", server.url)
        server.always = fault
        done = shell("ask", picture, *YES_NO, "--model", server.url)
    assert done.code == 2
    assert one_line(done.err)


def test_doctor_says_what_a_server_does(shell):
    with serving() as server:
        done = shell("doctor", "--model", server.url)
    assert done.code == 0
    for part in (
        "Qwen/Qwen3-VL-2B-Instruct, of the family Qwen3-VL; context of 8,192 tokens",
        "several in a prompt",
        "one for 32 x 32 px, at least 64 for a picture: a smaller budget costs as much",
        "from the probabilities of tokens",
        "0 to 1000 of the picture, as Qwen3-VL models do",
        f"Ready: pathreason ask SLIDE --question TEXT --model {server.url}",
    ):
        assert part in done.out
    with serving(transformers_serve()) as server:
        out = shell("doctor", "--model", server.url).out
    for part in ("none: this server gives no probabilities", "the rationale in reasoning_content"):
        assert part in out
    assert "takes bounds of its pixels with a question" in out


def test_doctor_lists_models_and_says_what_is_wrong(shell):
    with serving(ollama()) as server:
        done = shell("doctor", "--model", server.url)
        assert done.code == 1
        assert "medgemma1.5:latest, llama3:latest" in done.out
        assert f"{server.url}#NAME" in done.out
        done = shell("doctor", "--model", server.address)
        assert done.code == 0
        assert "258 for any picture" in done.out
    done = shell("doctor", "--model", server.address)
    assert done.code == 1
    assert "cannot be reached" in done.out
    done = shell("doctor", "--model", "embedded")
    assert done.code == 1
    assert "no address" in done.out
