"""A lab's own model: it says what it was trained on, and nothing of the model that ships."""

import json

import numpy as np
import pytest
from PIL import Image

from napari_pathreason.cli import main
from napari_pathreason.engine import Job, ask
from napari_pathreason.geometry import Region
from napari_pathreason.models import METADATA, load_models, read_info
from napari_pathreason.slides import slide_from_arrays
from napari_pathreason.training import Sample, write_samples
from napari_pathreason.training.recipe import DataRecipe
from napari_pathreason.training.sft import train_sft
from napari_pathreason.types import GenerationSettings, Query, Request

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

CLASSES = {"glomerulus": (200, 60, 140), "tubule": (230, 170, 200), "vessel": (180, 30, 40)}
QUESTION = "Which structure of the kidney is this?"
FOREIGN = ("lymph", "lung", "blood", "smear", "nuclei", "pathreason-mini", "tumour", "platelet")


def _pixels(colour, seed):
    noise = np.random.default_rng(seed).integers(-20, 20, (64, 64, 3))
    return np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def kidney(tmp_path):
    """Tiles of three classes, two questions about each, one of them with boxes."""
    data = tmp_path / "kidney"
    data.mkdir()
    for split, count in (("train", 6), ("val", 2)):
        samples = []
        for number in range(count):
            for label, colour in CLASSES.items():
                image = f"{split}-{label}-{number}.png"
                Image.fromarray(_pixels(colour, number)).save(data / image)
                common = {"image": image, "answer": label, "choices": tuple(CLASSES)}
                samples.append(Sample(task="subtyping", question=QUESTION, **common))
                box = {"label": label, "corners": (8, 8, 40, 40)}
                samples.append(
                    Sample.model_validate(
                        {"image": image, "task": "detection", "question": "", "choices": (label,)}
                        | {"boxes": (box,), "topic": f"boxes of {label}"}
                    )
                )
        write_samples(data / f"{split}.jsonl", samples)
    return data


def _asked(models, query):
    with slide_from_arrays([_pixels(CLASSES["tubule"], 0)], "tile") as slide:
        settings = GenerationSettings(max_new_tokens=6)
        job = Job(slide, Request(Region(0, 0, 64, 64), query, 4, settings))
        return ask(job, models.performer, models.allocator)


@pytest.fixture
def trained(recipe, kidney):
    sft = recipe.sft.model_copy(update={"steps": 3})
    return train_sft(recipe.model_copy(update={"data": DataRecipe(folder=str(kidney)), "sft": sft}))


def test_it_says_what_it_was_trained_on_and_is_not_disowned(trained, kidney):
    text = (trained / METADATA).read_text()
    assert not [word for word in FOREIGN if word in text]
    info = read_info(trained, "by folder")
    assert (info.name, info.metadata.labels) == ("run", tuple(CLASSES))
    assert info.metadata.forms == ("choice", "boxes")
    kind = info.metadata.topics[0]
    assert kind.words == {"structure", "kidney", *CLASSES}
    assert kind.example == Query("subtyping", QUESTION, tuple(CLASSES))
    assert info.metadata.max_visual_tokens == 16
    assert (info.metadata.tissues, info.zoom_labels) == ((), ())

    models = load_models(trained, "cpu")
    for query in (
        Query("subtyping", QUESTION, tuple(CLASSES)),
        Query("subtyping", "What is it?", ("a vessel", "a tubule")),
        Query("detection", "", ("glomeruli", "vessels")),
    ):
        reasons = _asked(models, query).reliability.reasons
        assert not [r for r in reasons if "trained" in r or "rely" in r or "cannot look" in r]
    necrosis = _asked(models, Query("vqa", "Is there necrosis?")).reliability
    assert necrosis.level == "none"
    assert necrosis.reasons[0] == "not trained on: necrosis"


def test_a_run_that_goes_on_from_another_model_tells_of_its_own_data(trained, recipe, kidney):
    """On from kidney, with the miniature sets."""
    on = recipe.model.model_copy(update={"start": str(trained)})
    sft = recipe.sft.model_copy(update={"steps": 1})
    output = str(trained.parent.parent / "further")
    folder = train_sft(recipe.model_copy(update={"model": on, "sft": sft, "output": output}))
    info = read_info(folder, "x")
    assert info.name == "further"
    assert not [word for word in CLASSES if word in (folder / METADATA).read_text()]
    assert "platelet" in info.metadata.labels


def test_calibrate_describes_a_copied_checkpoint_and_keeps_what_is_stated(
    trained, kidney, monkeypatch, tmp_path
):
    """All but the fits, which take pictures of several kinds."""
    monkeypatch.setattr("napari_pathreason.models.load_performer", _stop)
    words = ["calibrate", str(trained), "--data", str(kidney / "val.jsonl")]
    words += ["--train", str(kidney / "train.jsonl"), "--device", "cpu"]
    whole = read_info(trained, "x")
    (trained / METADATA).unlink()
    with pytest.raises(Stopped):
        main(words)
    told = read_info(trained, "x")
    assert told.metadata.topics == whole.metadata.topics
    assert (told.name, told.metadata.labels) == (trained.name, whole.metadata.labels)
    recipe = tmp_path / "recipe.yaml"
    stated = {"name": "kidney", "tissues": ["kidney"]}
    recipe.write_text(
        json.dumps({"output": "x", "data": {"folder": str(kidney)}, "metadata": stated})
    )
    with pytest.raises(Stopped):
        main([*words, "--recipe", str(recipe)])
    assert read_info(trained, "x").name == "kidney"
    assert read_info(trained, "x").metadata.tissues == ("kidney",)


class Stopped(BaseException):
    """Not to be caught on the way."""


def _stop(*args, **options):
    raise Stopped
