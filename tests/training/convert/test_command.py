"""`pathreason data`: what it says, and that a model trains on what it wrote."""

import csv

import pytest

from napari_pathreason.cli import main
from napari_pathreason.training.recipe import Recipe
from napari_pathreason.training.sft import train_sft


@pytest.fixture
def folder(tmp_path, save):
    rows = [("image", "label", "patient")]
    for i in range(12):
        colour = (200, 90, 160) if i % 2 else (230, 220, 225)
        save(tmp_path / "mine" / f"{i}.png", (96, 96), colour)
        rows.append((f"{i}.png", ("no_tumour", "tumour")[i % 2], f"p{i // 2}"))
    with (tmp_path / "mine/labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return tmp_path / "mine"


def test_list_names_every_layout(capsys):
    assert main(["data", "list"]) == 0
    told = capsys.readouterr().out
    for name in ("patchcamelyon", "qupath", "messages", "table", "folders"):
        assert f"\n{name} " in f"\n{told}"


def test_convert_says_what_it_did_and_what_to_know(folder, tmp_path, capsys):
    (folder / "labels.csv").write_text((folder / "labels.csv").read_text().replace("patient", "x"))
    out = tmp_path / "out"
    assert main(["data", "convert", str(folder), "-o", str(out), "--question", "Tumour?"]) == 0
    said, _, table = capsys.readouterr().out.partition("\n\n")
    first, unused, note = said.splitlines()
    assert "| mine | tumour |" in table
    assert first == "table: train: 8 samples, val: 2 samples, test: 2 samples"  # of both classes
    assert unused == "note: columns of labels.csv that were not used: x"
    assert note.startswith("note: dealt picture by picture")


@pytest.mark.parametrize("word", ["--most=0", "--mpp=-1", "--tile=0", "--slide-mpp=nan"])
def test_numbers_that_mean_nothing_are_refused(folder, tmp_path, word, capsys):
    with pytest.raises(SystemExit):
        main(["data", "convert", str(folder), "-o", str(tmp_path / "o"), word])
    assert "above 0" in capsys.readouterr().err


def test_an_unknown_layout_is_one_line(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["data", "convert", str(tmp_path / "empty"), "-o", str(tmp_path / "o")]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "pathreason data list" in told


def test_a_model_trains_on_a_converted_folder(folder, tmp_path, recipe, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "convert", str(folder), "-o", "data/mine"]) == 0
    settings = recipe.model_dump()
    settings["data"]["folder"] = str(tmp_path / "data/mine")
    settings["sft"] |= {"steps": 1, "batch": 2, "warmup": 1}
    model = train_sft(Recipe.model_validate(settings))
    assert (model / "model.safetensors").is_file()
