"""An allocator that writes windows: it learns which of them pay, and serves."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from napari_pathreason.engine import Job, ask, look_at
from napari_pathreason.errors import QueryError
from napari_pathreason.geometry import Region
from napari_pathreason.models import (
    TextWindows,
    UnloadedWindows,
    find_windows,
    load_models,
)
from napari_pathreason.models.process import ModelProcess
from napari_pathreason.training import Sample, write_samples
from napari_pathreason.training.allocator import ViewAnswers, WindowTexts, train_allocator
from napari_pathreason.training.recipe import AllocatorRecipe
from napari_pathreason.training.samples import Pictures
from napari_pathreason.types import (
    Completion,
    GenerationSettings,
    Metadata,
    ModelDims,
    ModelInfo,
    Request,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

DIMS = ModelDims(16, 2, 2, 32, 64, 2, 32, 64, 2, 1, 16, 300)
SIDE = 128  # of a window
SETTINGS = AllocatorRecipe(form="text_windows", lambdas={"low": 1, "balanced": 0.5, "high": 0.1})


@pytest.fixture
def spots(tmp_path):
    """Regions of nine windows, the fifth of which has a dark spot, and a small one."""
    folder = tmp_path / "spots"
    folder.mkdir()
    pixels = np.full((3 * SIDE, 3 * SIDE, 3), (230, 170, 200), np.uint8)
    pixels[SIDE + 40 : SIDE + 80, SIDE + 40 : SIDE + 80] = 40
    samples = []
    for name, part in (("a", pixels), ("b", pixels[:, ::-1]), ("small", pixels[:SIDE, :SIDE])):
        Image.fromarray(part).save(folder / f"{name}.png")
        question = "Is there a dark spot?"
        answer = "no" if name == "small" else "yes"
        samples.append(
            Sample(
                image=f"{name}.png",
                task="vqa",
                question=question,
                choices=("yes", "no"),
                answer=answer,
            )
        )
    for split in ("train", "val"):
        write_samples(folder / f"{split}.jsonl", samples)
    return folder


class Joint:
    """Says yes where a window, not the overview, shows the spot; all pictures in one prompt."""

    def __init__(self):
        metadata = Metadata(window=SIDE, joint=True)
        self.info = ModelInfo("joint", "qwen3_vl", "relative", DIMS, metadata=metadata)
        self.prompts = []

    def generate(self, prompt, settings, cancel):
        self.prompts.append(prompt)
        seen = any((one < 60).any() for one in prompt.pictures[1:])
        visual = sum(one.shape[0] * one.shape[1] for one in prompt.pictures) // 32**2
        text = f"<think>so</think><answer>{'yes' if seen else 'no'}</answer>"
        yield Completion(text, 30 + visual, visual, 9, "stop", 0.1)


def _texts(folder, performer, file):
    pictures = Pictures(folder)
    samples = [
        Sample.model_validate_json(line) for line in (folder / "train.jsonl").open(encoding="utf-8")
    ]
    return WindowTexts.of(samples, ViewAnswers(performer, pictures, file), SETTINGS)


def _framed(answer):
    return f"<think>so</think><answer>{answer}</answer>"


def test_a_text_is_worth_what_the_model_answers_from_its_windows_together(spots, tmp_path):
    performer = Joint()
    texts = _texts(spots, performer, tmp_path / "views.jsonl")
    assert len(texts) == 2  # a small region has no windows
    right, wrong = (texts.score(0, _framed(words), 0.0) for words in ("5: 16, 1: 4", "1: 4, 2: 4"))
    assert [right.score, wrong.score] == [1.0, 0.0]
    overview, *windows = performer.prompts[0].pictures
    assert [one.shape[0] * one.shape[1] // 32**2 for one in windows] == [16, 4]
    assert right.tokens == 16 + 4 + overview.shape[0] * overview.shape[1] // 32**2
    dearer = texts.score(0, _framed("5: 16, 1: 4"), 1e9)
    assert dearer.cost == pytest.approx(right.cost + 1e9 / texts.natives[0])
    rewards = texts.rewards([right, wrong, dearer]).tolist()
    assert rewards == pytest.approx(
        [1 + 1 - 0.5 * right.cost, 1.0, 1 + max(0.0, 1 - 0.5 * dearer.cost)]
    )
    assert len(performer.prompts) == 2  # the same windows are asked about once


def test_a_text_without_a_window_is_rewarded_with_nothing_whatever_the_rules_score(spots, tmp_path):
    texts = _texts(spots, Joint(), tmp_path / "views.jsonl")
    lost = texts.score(0, _framed("all of them"), 0.0)
    assert lost.score == 1.0  # windows of the rules show the spot
    assert texts.rewards([lost]).tolist() == [0.0]
    assert texts.figures([lost])["nothing"] == 1.0


def test_answers_are_kept_for_the_next_run_and_a_torn_line_is_asked_again(spots, tmp_path):
    file = tmp_path / "run/views.jsonl"
    first = _texts(spots, Joint(), file)
    known = [first.score(0, _framed(words), 0.0) for words in ("5: 16", "1: 16")]
    file.write_bytes(file.read_bytes()[:-20])
    again = Joint()
    texts = _texts(spots, again, file)
    assert [texts.score(0, _framed(words), 0.0) for words in ("5: 16", "1: 16")] == known
    assert texts.calls == len(again.prompts) == 1


def test_damaged_windows_teach_nothing(spots, tmp_path, monkeypatch):
    texts = _texts(spots, Joint(), tmp_path / "views.jsonl")
    good = texts.score(0, _framed("5: 16"), 0.0)
    monkeypatch.setattr(
        "napari_pathreason.engine._windows.ask_jointly", _raise_slide_error, raising=True
    )
    lost = texts.score(0, _framed("2: 16"), 0.0)
    rewards = texts.rewards([good, lost])
    assert rewards[0] > 1
    assert rewards[1].isnan()
    assert texts.figures([good, lost])["score"] == 1.0


def _raise_slide_error(*args):
    from napari_pathreason.errors import SlideError

    raise SlideError("damaged")
    yield


def test_without_a_large_region_it_is_said_what_to_do(spots, tmp_path):
    answers = ViewAnswers(Joint(), Pictures(spots), tmp_path / "views.jsonl")
    small = Sample(image="small.png", task="vqa", question="Is it?", answer="no")
    with pytest.raises(QueryError, match=r"allocator\.form to text"):
        WindowTexts.of([small], answers, SETTINGS)


@pytest.fixture
def begun(spots, make_recipe, copy_of, writes, monkeypatch):
    """A run in which the fifth window pays, and what it needs."""
    writes(lambda token: token in "45:")

    def find(answers, question, choice):
        fifth = question.scene.cover_windows[4]
        paid = any(pick.region == fifth for pick in choice.picks)
        return float(paid), 1e6, sum(pick.tokens for pick in choice.picks)

    def make(folder, **text):
        model = copy_of("qwen3_vl", folder)
        about = json.loads((model / "pathreason.json").read_text())
        about |= {"format_version": 1, "window": SIDE, "joint": True}
        (model / "pathreason.json").write_text(json.dumps(about))
        recipe = make_recipe(model, spots, folder / "run", max_completion_length=3, **text)
        asked = {"questions": 3, "validate_questions": 3}
        allocator = recipe.allocator.model_copy(update={"form": "text_windows", **asked})
        return model, recipe.model_copy(update={"allocator": allocator})

    monkeypatch.setattr(ViewAnswers, "find", find)
    return make


@pytest.mark.slow
def test_the_window_that_pays_is_learnt_and_served(begun, spots, tmp_path, records_of):
    folder, recipe = begun(tmp_path, steps=16)
    (folder / "windows_allocator.safetensors").write_bytes(b"of an older run")
    assert train_allocator(recipe) == folder
    records = records_of(recipe.output, "text_windows")
    rewards = [record["reward"] for record in records]
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.25
    assert records[-1]["val_score"] == 1.0

    # a plan before the model is loaded says that the model must be; loaded, it writes
    unloaded = find_windows(folder)
    assert isinstance(unloaded, UnloadedWindows)
    own = load_models(folder, "cpu")
    assert own.allocator.windows == TextWindows(own.allocator.windows.writer, unloaded.form)
    assert own.allocator.windows.writer.model is own.performer.model
    assert own.allocator.overview_budget == 0  # one picture gets a fixed budget
    pictures = Pictures(spots)
    sample = Sample(image="a.png", task="vqa", question="Is there a dark spot?", answer="yes")
    region = Region(0, 0, 3 * SIDE, 3 * SIDE)
    request = Request(region, sample.query, settings=GenerationSettings(max_new_tokens=4))
    result = ask(Job(pictures.slide(sample), request), own.performer, own.allocator)
    assert result.views.policy == "learned"
    assert result.allocation.source == "policy"
    assert result.views.joint
    (window,) = (view for view in result.views.views if view.role == "window")
    assert window.region == Region(SIDE, SIDE, SIDE, SIDE)
    assert window.why == "the model asked for it"
    assert result.allocation.flops > 0
    uniform = ask(
        Job(pictures.slide(sample), replace(request, policy="uniform", budget=36)),
        own.performer,
        own.allocator,
    )
    assert uniform.allocation.flops == 0


@pytest.mark.slow
def test_a_run_that_was_killed_equals_an_undisturbed_one(begun, tmp_path, dies_at):
    folder, recipe = begun(tmp_path / "whole", steps=4, checkpoint_every=2)
    whole = load_file(train_allocator(recipe) / "allocator/adapter_model.safetensors")
    folder, recipe = begun(tmp_path / "cut", steps=4, checkpoint_every=2)
    with dies_at(4):
        train_allocator(recipe)
    assert not (folder / "allocator").exists()
    cut = load_file(train_allocator(recipe) / "allocator/adapter_model.safetensors")
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


@pytest.mark.slow
def test_a_process_of_its_own_chooses_the_same_windows(begun, spots, tmp_path):
    folder, recipe = begun(tmp_path, steps=1)
    train_allocator(recipe)
    with ModelProcess(folder, "cpu") as process:
        there = process.allocator.windows
        assert isinstance(there, TextWindows)
        pictures = Pictures(spots)
        sample = Sample(image="a.png", task="vqa", question="Is there a spot?", answer="yes")
        request = Request(Region(0, 0, 3 * SIDE, 3 * SIDE), sample.query)
        job = Job(pictures.slide(sample), request)
        result = ask(replace(job, request=replace(request, settings=GenerationSettings(
            max_new_tokens=3))), process.performer, process.allocator)  # fmt: skip
        assert result.views.policy == "learned"
        assert result.allocation.flops > look_at(job, there.writer.info)[0].flops
