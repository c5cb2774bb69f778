"""A run repeated from its manifest reads what it read, whoever chose it then."""

import json
from dataclasses import replace

import numpy as np
import pytest

from napari_pathreason.engine import (
    Choice,
    Job,
    Pick,
    RepeatedViews,
    ask,
    repeated_views,
    result_to_dict,
)
from napari_pathreason.exports import (
    AnswerFiles,
    UsedModel,
    entry_of,
    read_manifest,
)
from napari_pathreason.geometry import Region
from napari_pathreason.slides import slide_from_arrays
from napari_pathreason.types import (
    Allocation,
    Completion,
    GenerationSettings,
    Metadata,
    ModelDims,
    ModelInfo,
    Query,
    Request,
    WindowChoice,
)

DIMS = ModelDims(16, 2, 2, 32, 64, 2, 32, 64, 2, 1, 16, 300)
WHOLE = Region(0, 0, 2000, 1500)
FIND = Query("detection", options=("lesion",))
IS_THERE = Query("vqa", "Is there a dark spot?", ("yes", "no"))
HERE = Region(870, 610, 430, 330)


class Finder:
    """Boxes what is dark; says yes where something is. Windows of 500 px."""

    def __init__(self, joint=False):
        metadata = Metadata(labels=("lesion",), window=500, joint=joint, zoom_labels=("lesion",))
        self.info = ModelInfo("finder", "qwen3_vl", "relative", DIMS, metadata=metadata)
        self.prompts = 0

    def generate(self, prompt, settings, cancel):
        self.prompts += 1
        words = prompt.messages[-1]["content"][-1]["text"]
        dark = [(picture[..., 1] < 128).any() for picture in prompt.pictures]
        text = f"<think>looked</think><answer>{'yes' if any(dark) else 'no'}</answer>"
        if "bbox" in words:
            text = (
                f"<think>looked</think><answer>{json.dumps(self._boxes(*prompt.pictures))}</answer>"
            )
        yield text
        visual = sum(one.shape[0] * one.shape[1] for one in prompt.pictures) // 32**2
        yield Completion(text, 30 + visual, visual, 10, "stop", 0.1)

    @staticmethod
    def _boxes(picture):
        rows, columns = np.nonzero(picture[..., 1] < 128)
        if not rows.size:
            return []
        height, width = picture.shape[:2]
        x1, x2 = 1000 * columns.min() / width, 1000 * (columns.max() + 1) / width
        y1, y2 = 1000 * rows.min() / height, 1000 * (rows.max() + 1) / height
        return [{"bbox_2d": [float(v) for v in (x1, y1, x2, y2)], "label": "lesion"}]


class Fixed:
    overview_budget = 0

    def allocate(self, overview, query, native, effort):
        return Allocation(64, "fixed")


@pytest.fixture(scope="module")
def slide():
    pixels = np.full((1500, 2000, 3), (230, 170, 200), np.uint8)
    pixels[700:900, 900:1200] = 0
    pixels[1300:1320, 200:215] = 0
    return slide_from_arrays([pixels], "a.svs", 0.5)


def repeated(result, slide, tmp_path, model=None):
    """The answer that the manifest of a result gives, as the shell asks for it."""
    path = tmp_path / "run.json"
    used = UsedModel("finder", "finder", "cpu", "abc")
    AnswerFiles([result], lambda: slide, lambda: used).write(path)
    (entry,) = read_manifest(path).entries
    assert entry == entry_of(result)
    model = model or Finder()
    return ask(Job(slide, entry.request, policy=repeated_views(entry.views)), model, Fixed())


def account(result):
    """What a result says and cost, but for its seconds."""
    told = json.loads(json.dumps(result_to_dict(result)))
    return {name: value for name, value in told.items() if name != "seconds"}


REQUESTS = {
    "small": Request(Region(800, 600, 500, 400), FIND),
    "one view": Request(WHOLE, FIND, policy="one_view"),
    "uniform": Request(WHOLE, FIND, policy="uniform"),
    "random": Request(WHOLE, FIND, 256, GenerationSettings(seed=7), policy="random"),
    "surprise": Request(WHOLE, FIND, policy="surprise", effort="high"),
    "table": Request(WHOLE, IS_THERE),
    "two rounds": Request(WHOLE, FIND, policy="again"),
    "two rounds of a budget": Request(WHOLE, FIND, 400, policy="again"),
    "native": Request(WHOLE, FIND, "native", policy="uniform"),
    "pinned": Request(WHOLE, FIND, windows=(WindowChoice(HERE, 100), WindowChoice(WHOLE, 30))),
    "banned": Request(WHOLE, FIND, windows=(WindowChoice(HERE, 0),), policy="uniform"),
    "listed": Request(
        WHOLE,
        FIND,
        windows=(WindowChoice(HERE), WindowChoice(Region(0, 1100, 333, 400), 100)),
        policy="listed",
    ),
    "outline": Request(
        WHOLE, FIND, policy="uniform", outline=((0.0, 0.0), (1900.5, 10.25), (0.0, 1499.0))
    ),
    "cut for its budget": Request(Region(600, 500, 900, 700), FIND, 500, policy="uniform"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_repeated(slide, tmp_path, name):
    result = ask(Job(slide, REQUESTS[name]), Finder(), Fixed())
    slide.background = None  # as in another process, to which it is not known yet
    again = repeated(result, slide, tmp_path)
    assert again.views == result.views
    assert again.request == result.request
    assert account(again) == account(result)


def test_two_rounds_are_two(slide, tmp_path):
    result = ask(Job(slide, REQUESTS["two rounds"]), Finder(), Fixed())
    places = [view.region for view in result.views.views if view.role == "window"]
    assert len(set(places)) < len(places)
    policy = repeated_views(result.views)
    assert policy.name == "again"
    assert any(view.why.startswith("window") for view in policy.views)


def test_a_run_that_went_on_is_repeated(slide, tmp_path):
    request = Request(WHOLE, FIND, policy="surprise", budget=128)
    first = ask(Job(slide, request), Finder(), Fixed())
    more = replace(request, budget=256)
    result = ask(Job(slide, more, before=first.readings), Finder(), Fixed())
    elsewhere = replace(more, policy="random")  # as if the user had gone on by another rule
    third = ask(
        Job(slide, replace(elsewhere, budget=400), before=result.readings), Finder(), Fixed()
    )
    for one in (result, third):
        again = repeated(one, slide, tmp_path)
        assert again.views == one.views
        assert again.answer == one.answer
        assert again.detections == one.detections
        assert again.reliability == one.reliability
        assert again.tokens.realised == one.tokens.realised
        assert set(again.unread) == set(one.unread)


def test_a_window_that_was_raised_is_read_twice_again(slide, tmp_path):
    plain = GenerationSettings(zoom=False)
    request = Request(WHOLE, FIND, 200, plain, policy="uniform")
    first = ask(Job(slide, request), Finder(), Fixed())
    seen = [view for view in first.views.views if view.role == "window"]

    class Raised:
        name = "uniform"
        rounds = 1

        def choose(self, state):
            here = Pick(seen[2].region, 100, "raised by you")
            return Choice(() if here.region in state.taken[len(seen) :] else (here,))

    job = Job(slide, replace(request, budget=400), before=first.readings, policy=Raised())
    result = ask(job, Finder(), Fixed())
    places = [view.region for view in result.views.views if view.role == "window"]
    assert places.count(seen[2].region) >= 2
    again = repeated(result, slide, tmp_path)
    assert again.views == result.views
    assert again.answer == result.answer


def test_a_policy_without_a_name_of_ours_is_repeated(slide, tmp_path):
    class Known:
        name = "oracle"
        rounds = 1

        def choose(self, state):
            return Choice(() if state.readings else (Pick(HERE, 64, "the label"),))

    job = Job(slide, Request(WHOLE, FIND), policy=Known())
    result = ask(job, Finder(), Fixed())
    again = repeated(result, slide, tmp_path)
    assert account(again) == account(result)
    assert again.views.policy == "oracle"
    assert again.readings[0].view.why == "the label"


@pytest.mark.parametrize("rounds", [1, 2])
def test_windows_of_one_prompt_are_repeated(slide, tmp_path, rounds):
    model = Finder(joint=True)
    request = Request(WHOLE, IS_THERE, 512, policy="random")
    result = ask(Job(slide, request), model, Fixed())
    assert result.views.joint
    if rounds == 2:
        more = replace(request, budget=900)
        result = ask(Job(slide, more, before=result.readings), model, Fixed())
    assert model.prompts == rounds
    counted = Finder(joint=True)
    again = repeated(result, slide, tmp_path, counted)
    assert counted.prompts == 1  # in which all of them stand
    assert again.views == result.views
    assert again.answer == result.answer
    assert len(again.readings) == 1


def test_nothing_is_repeated_of_what_nobody_read():
    assert repeated_views(None) is None


def test_a_damaged_window_is_asked_for_again(slide, tmp_path):
    """What could not be read then may be read now: it stands in the manifest too."""

    class Damaged:
        def __getattr__(self, name):
            return getattr(slide, name)

        def read_region(self, region, size):
            image = slide.read_region(region, size)
            return replace(image, unreadable=1.0) if region == Region(0, 0, 500, 500) else image

    job = Job(Damaged(), Request(WHOLE, FIND, policy="uniform"))
    result = ask(job, Finder(), Fixed())
    assert len([one for one in result.readings if one.view.role == "window"]) == 11
    again = repeated(result, slide, tmp_path)
    assert len([one for one in again.readings if one.view.role == "window"]) == 12
    assert any("damaged" in warning for warning in result.warnings)


def test_repeated_views_say_who_chose_them(slide):
    result = ask(Job(slide, Request(WHOLE, FIND, policy="surprise")), Finder(), Fixed())
    policy = repeated_views(result.views)
    assert isinstance(policy, RepeatedViews)
    assert policy.name == "surprise"
    assert all(view.role == "window" for view in policy.views)
