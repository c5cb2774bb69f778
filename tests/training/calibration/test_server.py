"""The confidence of a model on a server is fitted, remembered and used."""

import pytest

from napari_pathreason import ask
from napari_pathreason.cli import main
from napari_pathreason.engine import confidence_line
from napari_pathreason.models.server import load_server
from tests.support.servers import serving, transformers_serve, vllm

pytestmark = pytest.mark.usefixtures("own_folders")


def first(words, pictures):
    """Takes the first choice, at a probability of 0.99 or so whether it is right or not."""
    choices = words.partition("Choices: ")[2].partition(".")[0].split(", ")
    return "so", "yes" if "white?" in words else "[]" if "bbox_2d" in words else choices[0]


def run(server, converted, capsys, *more):
    words = ["calibrate", server.address, "--data", str(converted / "val.jsonl")]
    code = main([*words, "--per-topic", "6", *more])
    return code, capsys.readouterr()


def test_confidence_of_a_server_is_fitted_and_used(converted, capsys, tmp_path):
    from PIL import Image

    Image.new("RGB", (256, 256), (230, 160, 200)).save(tmp_path / "a.png")
    with serving(vllm(floor=1024), answer=first) as server:
        assert load_server(server.address).info.calibration is None
        code, told = run(server, converted, capsys)
        assert code == 0, told.err
        assert "choice: " in told.out
        assert "ECE" in told.out
        info = load_server(server.address).info
        assert info.calibration is not None
        assert info.calibration.choice.temperature > 0
        assert load_server(server.address, calibrated=False).info.calibration is None
        result = ask(
            tmp_path / "a.png",
            question="Which is it?",
            choices=("tumour", "normal"),
            model=server.address,
        )
    assert "(not calibrated)" not in confidence_line(result)
    assert result.confidence < 0.97  # of answers at 0.98 about half were right
    assert "nobody has measured" not in " ".join(result.reliability.reasons)


def test_without_probabilities_there_is_nothing_to_fit(converted, capsys):
    with serving(transformers_serve(), answer=first) as server:
        code, told = run(server, converted, capsys)
    assert code == 2
    assert "gives no probabilities" in told.err


def test_a_folder_needs_training_pictures(converted, capsys):
    words = ["calibrate", "embedded", "--data", str(converted / "val.jsonl")]
    assert main(words) == 2
    assert "--train" in capsys.readouterr().err
