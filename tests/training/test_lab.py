"""From a folder of labelled pictures to a measured model, and what its stages share."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from napari_pathreason.cli import main
from napari_pathreason.errors import ExportError, QueryError
from napari_pathreason.files import locked
from napari_pathreason.models import load_models, remember_model, remembered_models
from napari_pathreason.training import read_samples
from napari_pathreason.training.convert import convert
from napari_pathreason.training.evaluation import Prediction
from napari_pathreason.training.lab import RECIPE, lab_recipe, train_lab
from napari_pathreason.training.recipe import Recipe, load_recipe
from napari_pathreason.training.sft import train_sft
from napari_pathreason.training.validation import BestWeights, figures_of
from napari_pathreason.training.words import add_words, class_names

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.usefixtures("no_network"),
]

CLASSES = {"clear cell": (200, 60, 140), "papillary": (230, 170, 200)}


@pytest.fixture
def own_home(tmp_path, monkeypatch):
    """An empty list of remembered models."""
    monkeypatch.setenv("PATHREASON_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def kidneys(tmp_path):
    """Eight patients with two pictures of each class; the colour tells the class."""
    rng, rows = np.random.default_rng(0), ["image,label,patient"]
    (tmp_path / "kidneys").mkdir()
    for patient in range(8):
        for name, colour in CLASSES.items():
            for number in range(2):
                noise = rng.integers(-20, 20, (128, 128, 3))
                pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
                file = f"{patient}-{name.replace(' ', '-')}-{number}.png"
                Image.fromarray(pixels).save(tmp_path / "kidneys" / file)
                rows.append(f"{file},{name},p{patient}")
    (tmp_path / "kidneys/labels.csv").write_text("\n".join(rows))
    return tmp_path / "kidneys"


def _item(truth, answer, topic="t"):
    return Prediction(
        index=0,
        condition="model",
        budget=4,
        task="subtyping",
        topic=topic,
        side=64,
        phrasing="trained",
        score=float(truth == answer),
        answer=answer,
        truth=truth,
        choices=("a", "b"),
    )


def test_figures_while_training_are_those_of_the_answers():
    items = [_item("a", "a")] * 6 + [_item("b", "a"), _item("b", "b")]
    figures = figures_of(items)
    assert figures["score"] == pytest.approx(7 / 8)
    assert figures["balanced"] == pytest.approx((1 + 1 / 2) / 2)
    assert figures["recall_a"] == 1.0
    assert figures["recall_b"] == 0.5
    assert figures["f1_b"] == pytest.approx(2 / 3, abs=1e-4)
    two = figures_of([*items, _item("a", "b", "u"), _item("b", "b", "u")])
    assert two["balanced"] == pytest.approx((0.75 + 0.5) / 2)
    assert two["recall_u: a"] == 0.0


def test_the_best_weights_are_those_of_the_best_score(tmp_path):
    best = BestWeights(tmp_path / "best.json", "balanced", patience=2)
    assert best.is_better(10, 0.5)
    assert best.is_better(20, 0.6)
    assert not best.is_better(30, 0.6)
    assert not best.exhausted
    assert not best.is_better(40, 0.4)
    assert best.exhausted
    best.write()
    again = BestWeights(tmp_path / "best.json", "balanced", patience=2, step=40)
    assert (again.step, again.value, again.exhausted) == (20, 0.6, True)
    earlier = BestWeights(tmp_path / "best.json", "balanced", patience=2, step=15)
    assert (earlier.step, earlier.exhausted) == (20, False)  # its weights lie there all the same
    assert not earlier.is_better(20, 0.6)
    assert BestWeights(tmp_path / "best.json", "score", patience=2, step=40).is_better(50, 0.1)


def test_the_best_weights_of_another_run_are_none_of_this_one(tmp_path):
    file = tmp_path / "best.json"
    first = BestWeights(file, "score", None, of={"seed": 1, "budgets": (4, 16)})
    assert first.is_better(10, 0.9)
    first.write()
    same = BestWeights(file, "score", None, of={"seed": 1, "budgets": (4, 16)})
    assert not same.is_better(10, 0.9)
    assert BestWeights(file, "score", None, of={"seed": 2, "budgets": (4, 16)}).is_better(10, 0.1)


@pytest.mark.slow
def test_a_run_in_the_folder_of_one_that_died_before_its_first_state(recipe, tmp_path):
    settings = recipe.model_dump()
    settings["sft"] |= {"steps": 2, "checkpoint_every": 2, "validate_every": 1, "budgets": {4: 1}}
    settings["sft"] |= {"score_samples": 1, "best": "score", "lr": 1e-3}
    first = Recipe.model_validate({**settings, "seed": 1})
    second = Recipe.model_validate({**settings, "seed": 2})
    train_sft(first)
    out = Path(first.output)
    shutil.rmtree(out / "checkpoint")  # as if it had been killed before that was written
    told = (train_sft(second) / "model.safetensors").read_bytes()
    alone = Recipe.model_validate({**settings, "seed": 2, "output": str(tmp_path / "alone")})
    assert told == (train_sft(alone) / "model.safetensors").read_bytes()


def test_names_of_classes_become_whole_words_that_begin_as_their_pieces(recipe):
    from napari_pathreason.training.model import start_model

    model, tokenizer = start_model(recipe)
    names = ["clear cell", "papillary"]
    pieces = [tokenizer(name, add_special_tokens=False)["input_ids"] for name in names]
    before = model.get_input_embeddings().weight.detach().clone()
    assert add_words(model, tokenizer, names) == names
    table = model.get_input_embeddings().weight
    assert model.config.get_text_config().vocab_size >= len(tokenizer)
    assert torch.equal(table[: len(before)][pieces[0]], before[pieces[0]])
    for name, ids in zip(names, pieces, strict=True):
        (token,) = tokenizer(name, add_special_tokens=False)["input_ids"]
        assert torch.allclose(table[token], before[ids].mean(0), atol=1e-6)
        told = f"<answer>{name}</answer>"
        ids = tokenizer(told, add_special_tokens=False)["input_ids"]
        assert token in ids
        assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == told
        assert token not in tokenizer(f"{name}s", add_special_tokens=False)["input_ids"]
    assert add_words(model, tokenizer, names) == []
    with pytest.raises(QueryError, match="are no classes"):
        add_words(model, tokenizer, [f"name {number}" for number in range(501)])


def test_a_run_scores_on_val_stops_early_and_keeps_the_best(kidneys, recipe, tmp_path):
    convert(kidneys, tmp_path / "data")
    settings = recipe.model_dump()
    settings["data"]["folder"] = str(tmp_path / "data")
    settings["model"]["words"] = True
    settings["sft"] |= {
        "budgets": {4: 1.0},
        "steps": 40,
        "checkpoint_every": 2,
        "validate_every": 2,
        "score_samples": 4,
        "best": "balanced",
        "patience": 2,
        "lr": 0.0,  # nothing is learnt: the first score stays the best
    }
    own = Recipe.model_validate(settings)
    folder = train_sft(own)
    out = Path(own.output)
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert len(log) == 6
    scored = [record for record in log if "val_score" in record]
    assert [record["step"] for record in scored] == [2, 4, 6]
    assert {"val_balanced", "val_macro_f1", "val_recall_papillary", "val_text"} <= scored[0].keys()
    best = json.loads((out / "best.json").read_text())
    assert (best["step"], best["value"]) == (2, scored[0]["val_balanced"])
    assert load_models(folder).performer
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    assert "clear cell" in {token["content"] for token in tokenizer["added_tokens"]}
    before = (folder / "model.safetensors").read_bytes()
    assert train_sft(own) == folder  # it is over, and stays so
    assert len((out / "log.jsonl").read_text().splitlines()) == 6
    assert (folder / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("sft.best=balanced", "set score_samples above 0"),
        ("sft.patience=2", "name one as best"),
        ("sft.best=test_score", "sft.best"),
        ("lora={rank: 2}", "which lora leaves frozen"),
    ],
)
def test_what_cannot_be_is_refused(change, told, tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("{output: o, data: {folder: d}, model: {start: embedded, words: true}}")
    with pytest.raises(QueryError, match=told):
        load_recipe(path, [change])


def test_the_recipe_that_ships_is_whole(tmp_path):
    recipe = lab_recipe(tmp_path / "my run", None, ["sft.steps=7"])
    assert recipe.output == str(tmp_path / "my run")
    assert recipe.sft.steps == 7
    assert recipe.sft.best == "balanced"
    assert recipe.model.start == "embedded"
    assert RECIPE.name == "lab.yaml"
    copied = load_recipe(Path(__file__).parents[2] / "recipes/lab.yaml")
    assert copied.model_dump() == load_recipe(RECIPE).model_dump()


def test_models_are_remembered_while_they_are_there(own_home, tmp_path):
    assert remembered_models() == []
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        remember_model(tmp_path / name)
    remember_model(tmp_path / "a")
    assert remembered_models() == [str(tmp_path / "a"), str(tmp_path / "b")]
    (tmp_path / "a/config.json").unlink()
    assert remembered_models() == [str(tmp_path / "b")]
    (own_home / "models.json").write_text("no list")
    assert remembered_models() == []


@pytest.mark.slow
def test_one_command_goes_from_pictures_to_a_page(kidneys, own_home, blank_model, tmp_path, capsys):
    out = tmp_path / "my run"
    Image.new("RGB", (64, 64)).save(kidneys / "stray.png")
    changes = {
        "model.start": str(blank_model),
        "sft.budgets": "{4: 1}",
        "sft.steps": 60,
        "sft.batch": 8,
        "sft.validate_every": 20,
        "sft.checkpoint_every": 20,
        "sft.lr": 0.005,
        "sft.vision_encoder_lr": 1.0,
        "sft.precision": "'no'",
        "grpo.budgets": "{4: 1}",
        "grpo.steps": 2,
        "grpo.batch_size": 2,
        "grpo.num_generations": 4,
        "grpo.precision": "'no'",
        "grpo.validate_samples": 2,
        "grpo.max_completion_length": 24,
        "allocator.questions": 4,
        "allocator.validate_questions": 4,
        "allocator.steps": 4,
        "lab.budgets": "[4]",
    }
    words = ["train", "lab", str(kidneys), "-o", str(out), "--question", "Which tumour is it?"]
    for key, value in changes.items():
        words += ["--set", f"{key}={value}"]
    assert main(words) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(out / "report.md")
    page = (out / "report.md").read_text()
    for part in (
        "after supervised fine-tuning",
        "after GRPO",
        "allocator",
        "balanced accuracy",
        "constant",
        "test was measured once",
        "| train |",
        "minutes",
        "split test, seed 0",
        "--model 'my run/final'",
        "stray.png",  # what the conversion left out
    ):
        assert part in page, part
    few = "warning: test has fewer than 10 questions with 2 of the 2 answers"
    assert few in page.split("## Data")[0]  # beside the figures
    for name in ("confusion.png", "contact_sheet.png", "curve.png", "grpo/curve.png"):
        assert f"({name})" in page
        assert (out / name).is_file()
    assert str(tmp_path) not in page
    assert remembered_models() == [str(out / "final")]
    results = json.loads((out / "results.json").read_text())
    assert results["about"]["split"] == "test"
    assert load_models(out / "final").performer.info.calibration is not None
    assert {s.group for s in read_samples(out / "data/test.jsonl")} <= {f"p{n}" for n in range(8)}
    assert class_names(read_samples(out / "data/train.jsonl")) == sorted(CLASSES)
    assert main(words) == 0  # every stage is over


def test_the_best_weights_are_those_that_scored_best(tmp_path):
    file, weights = tmp_path / "best.json", tmp_path / "best"
    weights.mkdir()
    (weights / "model.safetensors").write_bytes(b"1")
    best = BestWeights(file, "score", None)
    assert best.is_better(10, 0.5)
    best.write()
    (weights / "model.safetensors").write_bytes(b"2")
    assert not best.is_better(20, 0.4)
    best.write()  # which does not take others for the best ones
    with pytest.raises(ExportError, match="the weights in the folder best are not those"):
        BestWeights(file, "score", None, step=20).take(tmp_path / "model")
    assert not (tmp_path / "model").exists()
    (weights / "model.safetensors").write_bytes(b"1")
    BestWeights(file, "score", None, step=20).take(tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == b"1"
    for text in ("{", "[]", file.read_text().replace('"value": 0.5', '"value": 0.9')):
        file.write_text(text)
        with pytest.raises(ExportError, match=r"best\.json in the folder .* is damaged"):
            BestWeights(file, "score", None, step=20)


@pytest.fixture
def labelled_folder(tmp_path):
    """Two classes of twelve pictures."""
    for name in ("benign", "malignant"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        for number in range(12):
            colour = (10 * number, 90 if name == "benign" else 180, 120)
            Image.new("RGB", (64, 64), colour).save(tmp_path / "mine" / name / f"{number}.png")
    return tmp_path / "mine"


class Converted(Exception):
    """Where a run ends that is about its samples alone."""


@pytest.fixture
def convert_alone(labelled_folder, tmp_path, monkeypatch):
    """Run the lab up to its training; the samples that it would train on."""

    def stop(recipe):
        raise Converted

    monkeypatch.setattr("napari_pathreason.training.lab._lab.train_sft", stop)
    out = tmp_path / "run"

    def run(source=labelled_folder, question="what?"):
        with pytest.raises(Converted):
            train_lab(source, lab_recipe(out), question)
        return {file.name: file.read_bytes() for file in (out / "data").glob("*.jsonl")}

    return run


@pytest.mark.parametrize("change", ["folder", "picture", "added", "question"])
def test_samples_of_other_pictures_are_not_taken_for_these(
    convert_alone, labelled_folder, tmp_path, change
):
    first = convert_alone()
    assert convert_alone() == first
    source, question = labelled_folder, "what?"
    if change == "folder":
        source = tmp_path / "others"
        shutil.copytree(labelled_folder / "benign", source / "a")
        shutil.copytree(labelled_folder / "malignant", source / "b")
    elif change == "question":
        question = "which?"
    else:
        name = "0.png" if change == "picture" else "12.png"
        Image.new("RGB", (64, 64), (250, 20, 30)).save(labelled_folder / "benign" / name)
    with pytest.raises(QueryError, match="begun with other labelled pictures or another question"):
        train_lab(source, lab_recipe(tmp_path / "run"), question)
    assert {f.name: f.read_bytes() for f in (tmp_path / "run/data").glob("*.jsonl")} == first
    (tmp_path / "run" / "lab.json").unlink()
    if change == "question":  # where nobody knows of what they are they are made anew
        assert convert_alone(source, question) != first


def test_one_lab_at_a_time_and_a_damaged_book_is_one_line(convert_alone, labelled_folder, tmp_path):
    convert_alone()
    recipe = lab_recipe(tmp_path / "run")
    with locked(tmp_path / "run"), pytest.raises(ExportError, match="another process is at work"):
        train_lab(labelled_folder, recipe, "what?")
    (tmp_path / "run" / "lab.json").write_text("{")
    with pytest.raises(ExportError, match=r"lab\.json in the folder run is damaged; delete it"):
        train_lab(labelled_folder, recipe, "what?")
