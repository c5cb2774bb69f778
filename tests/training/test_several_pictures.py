"""Questions about several pictures in one prompt: read, learnt, rewarded and asked."""

import json
from random import Random
from threading import Event

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from napari_pathreason.budgets import flops
from napari_pathreason.errors import QueryError
from napari_pathreason.models import FixedAllocator, load_models
from napari_pathreason.tasks import TASKS
from napari_pathreason.training import Sample, read_samples, write_samples
from napari_pathreason.training.calibration import answer_outcomes
from napari_pathreason.training.evaluation import Evaluator, ask_views, prompt_flops, prompt_of
from napari_pathreason.training.performer import train_performer
from napari_pathreason.training.recipe import DataRecipe, GRPORecipe, Recipe
from napari_pathreason.training.run import PictureSampler, build_metadata
from napari_pathreason.training.samples import Augmentation, Pictures, read_view, shown_size
from napari_pathreason.training.sft import train_sft
from napari_pathreason.types import (
    Completion,
    GenerationSettings,
    ModelDims,
    ModelInfo,
    OODScore,
    Prompt,
    Query,
    TokenLogprobs,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

SIDE = 64
QUESTION, CHOICES = "Which window is dark?", ("A", "B")
VIEWS = (
    {"region": (0, 0, SIDE, SIDE), "caption": "Window A."},
    {"region": (SIDE, 0, SIDE, SIDE), "caption": "Window B."},
)


DIMS = (16, 2, 1, 8, 8, 1, 8, 8, 1, 1, 8, 100)


def _sample(**parts):
    values = {"image": "a.png", "task": "vqa", "question": QUESTION, "choices": CHOICES}
    return Sample.model_validate(values | {"views": VIEWS, "answer": "A"} | parts)


@pytest.fixture(scope="module")
def two_windows(tmp_path_factory):
    """Pictures of two windows, one of them dark, as a folder of data."""
    data = tmp_path_factory.mktemp("windows")
    for split, count in (("train", 24), ("val", 8)):
        samples = []
        for number in range(count):
            rng, dark = np.random.default_rng(number), number % 2
            levels = np.full((1, 2 * SIDE, 1), 200)
            levels[:, dark * SIDE : (dark + 1) * SIDE] = 60
            noise = rng.integers(-25, 25, (SIDE, 2 * SIDE, 3)) + rng.integers(-30, 30)
            image = f"{split}-{number}.png"
            Image.fromarray(np.clip(levels + noise, 0, 255).astype(np.uint8)).save(data / image)
            samples.append(_sample(image=image, answer=CHOICES[dark]))
        write_samples(data / f"{split}.jsonl", samples)
    return data


def test_views_are_written_and_read(tmp_path):
    plain = _sample(views=[[0, 0, 8, 8], {"region": [8, 0, 8, 8], "caption": "Right."}])
    assert plain.captions == ("", "Right.")
    write_samples(tmp_path / "x.jsonl", [plain, _sample(views=())])
    assert read_samples(tmp_path / "x.jsonl") == [plain, _sample(views=())]
    assert "views" not in json.loads((tmp_path / "x.jsonl").read_text().splitlines()[1])


def test_boxes_need_one_picture():
    with pytest.raises(ValidationError, match="boxes need one picture"):
        _sample(task="detection", choices=("tumour",))


def test_the_views_of_a_sample_are_its_pictures_each_in_its_own_frame(two_windows):
    area = {"label": "dark", "corners": (SIDE, 0, 2 * SIDE, SIDE)}
    facts = {"known": ("dark",), "areas": (area,), "centres": ((SIDE // 2, 8), (SIDE + 8, 8))}
    overview = {"region": (0, 0, 2 * SIDE, SIDE), "caption": "Overview."}
    sample = _sample(image="train-1.png", views=(overview, *VIEWS), facts=facts)
    pictures = Pictures(two_windows)
    view = read_view(sample, pictures, 2, 32)
    whole = pictures.picture(sample)
    assert [one.shape for one in view.pictures] == [(32, 64, 3), (32, 32, 3), (32, 32, 3)]
    assert view.visual_tokens == (2, 1, 1)
    means = [float(one.mean()) for one in view.pictures[1:]]
    expected = [float(whole[:, at : at + SIDE].mean()) for at in (0, SIDE)]
    assert means == pytest.approx(expected, abs=3)
    assert view.areas == (("dark", (0.5, 0.0, 1.0, 1.0)),)
    assert [part.areas for part in view.shown] == [
        view.areas,
        (),
        (("dark", (0.0, 0.0, 1.0, 1.0)),),
    ]
    assert [len(part.centres) for part in view.shown] == [2, 1, 1]
    assert [part.within for part in view.shown] == [(0, 0, 1, 1), (0, 0, 0.5, 1), (0.5, 0, 1, 1)]
    assert shown_size(sample, pictures, 2, 32) == (4 * 32, 32)
    assert shown_size(_sample(image="train-1.png", views=()), pictures, 2, 32) == (64, 32)


def test_views_keep_their_place_and_change_their_stain_together(two_windows):
    sample = _sample(image="train-1.png", views=(VIEWS[0], VIEWS[0], VIEWS[1]))
    pictures = Pictures(two_windows)
    plain = read_view(sample, pictures, 4, 32)
    for seed in range(6):
        augmentation = Augmentation(stain=0.3, levels=0.5, sharpness=0.5)
        read = read_view(sample, pictures, 4, 32, augmentation, Random(seed))
        assert np.array_equal(read.pictures[0], read.pictures[1])
        assert not np.array_equal(read.pictures[0], plain.pictures[0])
        assert read.pictures[0].mean() > read.pictures[2].mean()
        assert read.answer == plain.answer


def test_prompts_of_several_pictures_take_their_room():
    one, two = (_sample(source=name, views=views) for name, views in (("a", ()), ("b", VIEWS)))
    shares = {"folder": "x", "weights": {"a": 1, "b": 0}}

    def largest(weights):
        data = DataRecipe.model_validate(shares | {"weights": weights})
        sampler = PictureSampler([one, two], data, {16: 1}, 0)
        return {len(sampler.batch(step, 0, 9, 64)) for step in range(8)}

    assert largest({"a": 1, "b": 0}) == {4}
    assert largest({"a": 0, "b": 1}) == {2}


@pytest.mark.parametrize("task", TASKS)
def test_a_caption_stands_before_its_picture_and_the_question_behind_all(task):
    query = Query(task, "Which is it?", ("tumour", "normal"))
    system, user = TASKS[task].messages(query)
    assert [part["type"] for part in user["content"]] == ["image", "text"]
    same, joint = TASKS[task].messages(query, ("Overview of the region.", "", "Window 2."))
    assert same == system
    assert joint["content"] == [
        {"type": "text", "text": "Overview of the region."},
        {"type": "image"},
        {"type": "image"},
        {"type": "text", "text": "Window 2."},
        {"type": "image"},
        user["content"][-1],
    ]


@pytest.fixture(scope="module")
def learnt(two_windows, blank_model, tmp_path_factory):
    """The output of a run that taught which of two windows is dark."""
    out = tmp_path_factory.mktemp("learnt") / "run"
    recipe = _recipe(two_windows, blank_model, out)
    train_sft(recipe)
    return out


def _recipe(data, start, out):
    return Recipe.model_validate(
        {
            "output": str(out),
            "data": {"folder": str(data)},
            "model": {"start": str(start)},
            "metadata": {"joint": True, "window": SIDE},
            "sft": {
                "budgets": {4: 1},
                "steps": 180,
                "batch": 8,
                "lr": 3e-3,
                "warmup": 5,
                "validate_every": 180,
                "validate_samples": 8,
            },
        }
    )


@pytest.mark.slow
def test_which_of_two_pictures_is_dark_is_learnt_and_swapping_them_changes_the_answer(
    learnt, two_windows
):
    performer = load_models(learnt / "model", "cpu").performer
    assert performer.info.metadata.joint
    assert performer.info.metadata.window == SIDE
    pictures = Pictures(two_windows)
    settings = GenerationSettings(max_new_tokens=48)
    for sample in read_samples(two_windows / "val.jsonl"):
        prompt = prompt_of(sample, pictures, 4, 32)
        swapped = Prompt(prompt.pictures[::-1], prompt.messages)
        answers = []
        for one in (prompt, swapped):
            *_, done = performer.generate(one, settings, Event())
            assert isinstance(done, Completion)
            answers.append(TASKS["vqa"].parse(done.text, sample.query).text)
        other = CHOICES[1 - CHOICES.index(sample.answer)]
        assert answers == [sample.answer, other]


@pytest.mark.slow
def test_rewards_are_of_the_views(learnt, two_windows, blank_model):
    """What was learnt is right in the rollouts too."""
    settings = GRPORecipe.model_validate(GRPO | {"max_completion_length": 48, "lr": 1e-6})
    recipe = _recipe(two_windows, blank_model, learnt).model_copy(update={"grpo": settings})
    folder = train_performer(recipe)
    *_, last = map(json.loads, (folder.parent / "log.jsonl").read_text().splitlines())
    assert last["val_score"] == 1.0
    assert last["val_format"] == 0.0  # it learnt answers alone, and the form has a rationale


GRPO = {
    "budgets": {4: 1},
    "steps": 2,
    "batch_size": 2,
    "num_generations": 4,
    "max_completion_length": 4,
    "validate_every": 2,
    "validate_samples": 2,
}


def test_a_policy_learns_from_prompts_of_several_pictures(two_windows, blank_model, tmp_path):
    recipe = _recipe(two_windows, blank_model, tmp_path / "run")
    settings = GRPORecipe.model_validate(GRPO | {"start": str(blank_model)})
    folder = train_performer(recipe.model_copy(update={"grpo": settings}))
    info = load_models(folder, "cpu").performer.info
    assert (info.metadata.joint, info.metadata.window) == (True, SIDE)


class Darker:
    """Names the darker of two pictures, and white ones not at all."""

    info = ModelInfo("darker", "qwen3_vl", "relative", ModelDims(*DIMS))

    def __init__(self):
        self.prompts = []

    def generate(self, prompt, settings, cancel):
        self.prompts.append(prompt)
        means = [one.mean() for one in prompt.pictures]
        text = CHOICES[int(means[-1] < means[0])] if min(means) < 255 else "none"
        written = (TokenLogprobs((("<think></think><answer>", 0.0),)),)
        written += (
            TokenLogprobs(((text, -0.5), ("C", -1.0))),
            TokenLogprobs((("</answer>", 0.0),)),
        )
        text = f"<think></think><answer>{text}</answer>"
        visual = sum(h * w // 32**2 for h, w in prompt.shapes)
        yield Completion(
            text, 20 + visual, visual, 5, "stop", 1.0, written, OODScore(0.5, ("windows",))
        )


class DarkerTogether(Darker):
    def generate_batch(self, prompts, settings, cancel):
        assert len(prompts) > 1
        return [list(self.generate(prompt, settings, cancel))[-1] for prompt in prompts]


@pytest.mark.parametrize(("kind", "together"), [(Darker, 1), (DarkerTogether, 4)])
def test_evaluation_asks_about_all_views_at_once(two_windows, kind, together):
    samples, pictures = read_samples(two_windows / "val.jsonl"), Pictures(two_windows)
    plain = _sample(image="val-0.png", views=(), answer="A")
    performer = kind()
    evaluator = Evaluator(
        [*samples, plain], pictures, performer, FixedAllocator(), together=together
    )
    *items, last = evaluator.run(1)
    assert [item.score for item in items] == [1.0] * len(samples)
    assert {(item.tokens, item.native, item.ood) for item in items} == {(2, 8, 0.5)}
    assert all(0 < item.flops < item.flops_native for item in items)
    assert {item.answer for item in items} == set(CHOICES)
    assert all(0.5 < item.confidence <= 1 for item in items)
    assert [np.isnan(item.seconds) for item in items] == [together > 1 and n > 2 for n in range(8)]
    assert (last.tokens, last.size) == (1, (32, 32))
    blank = list(evaluator.run(1, "text_only"))
    assert {item.score for item in blank} == {0.0}
    assert {len(prompt.pictures) for prompt in performer.prompts} == {1, 2}
    (one,) = ask_views(performer, samples[:1], pictures, None, GenerationSettings())
    assert (one.completion.visual_tokens, one.native) == (8, 8)
    assert one.flops == one.flops_native


def test_confidence_is_calibrated_on_views_too(two_windows):
    samples, pictures = read_samples(two_windows / "val.jsonl"), Pictures(two_windows)
    for sample in samples:
        form, (one,) = answer_outcomes(Darker(), sample, pictures, 4)
        assert (form, one.right) == ("choice", True)


def test_flops_of_several_pictures_see_each_by_itself():
    dims = ModelDims(*DIMS)
    assert prompt_flops(dims, [7], 20, 5) == pytest.approx(flops(dims, 7, 20, 5))
    joint, single = prompt_flops(dims, [8, 8], 20, 5), flops(dims, 16, 20, 5)
    assert joint < single  # the encoder does not look from one picture into the other
    assert joint > prompt_flops(dims, [8], 20, 5)


def test_several_pictures_are_stated_only_where_samples_show_them(two_windows):
    recipe = _recipe(two_windows, "embedded", "runs/x")
    with pytest.raises(QueryError, match="no sample that is drawn has views"):
        build_metadata(recipe, [_sample(views=())], {4: 1})
    found = build_metadata(recipe, [_sample()], {4: 1})
    assert (found.joint, found.window) == (True, SIDE)
