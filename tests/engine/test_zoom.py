"""A zoom at small finds: which get one, what it changes, and that it is counted."""

import json
from dataclasses import replace
from threading import Event

import pytest
from hypothesis import given, strategies as st

from napari_pathreason.engine import (
    CLOSE,
    VIEW_TOKENS,
    Cancelled,
    Job,
    Stage,
    StageStarted,
    ask,
    ask_together,
    run_job,
    token_line,
    zoom_windows,
)
from napari_pathreason.geometry import Box, Region
from napari_pathreason.types import (
    Detection,
    GenerationSettings,
    Metadata,
    Request,
    TokenLogprobs,
    View,
)

CELL = 32
PLAIN = GenerationSettings(zoom=False)
SPOT = Box(900, 700, 40, 30)


@pytest.fixture
def marker():
    return SPOT


def zooming(label):
    return Metadata(labels=("lesion",), zoom_labels=(label,))


class Blurred:
    """Sees the spot well in a small window, and beside it in a large picture."""

    def __init__(self, performer, off=10, refine=None):
        self._performer, self._off, self._again = performer, off, refine
        self.info = replace(
            performer.info, metadata=Metadata(labels=("lesion",), zoom_labels=("Lesion",))
        )
        self.windows = []

    def generate(self, prompt, settings, cancel):
        (pixels,) = prompt.pictures
        small = pixels.shape[0] * pixels.shape[1] <= VIEW_TOKENS * CELL**2
        self.windows += [pixels.shape] if small else []
        for piece in self._performer.generate(prompt, settings, cancel):
            if isinstance(piece, str):
                continue
            text = self._again if small and self._again is not None else piece.text
            if not small:
                text = self._beside(text)
            yield text
            told = TokenLogprobs(((text, -0.1),))
            yield replace(piece, text=text, written=(told,) if self._off else ())

    def _beside(self, text):
        head, _, tail = text.partition("<answer>")
        boxes = json.loads(tail.removesuffix("</answer>"))
        for box in boxes:
            box["bbox_2d"] = [value + self._off for value in box["bbox_2d"]]
        return f"{head}<answer>{json.dumps(boxes)}</answer>"


def changed(job, **fields):
    return replace(job, request=replace(job.request, **fields))


@pytest.fixture
def blurred(performer):
    return Blurred(performer)


@pytest.fixture
def job(slide, whole, find):
    return Job(slide, Request(whole, find, 256))


def test_a_small_find_is_boxed_by_its_window(job, blurred, allocator):
    (coarse,) = ask(changed(job, settings=PLAIN), blurred, allocator).detections
    (found,) = ask(job, blurred, allocator).detections
    assert coarse.box.x - SPOT.x > 15
    for told, true in zip(found.box.corners, SPOT.corners, strict=True):
        assert told == pytest.approx(true, abs=2)
    assert found.label == coarse.label


def test_the_answer_tells_the_box_of_the_window(job, blurred, allocator):
    result = ask(job, blurred, allocator)
    assert result.answer.text == "1 lesion"
    (box,) = result.answer.boxes
    assert (box.x1, box.y1) == pytest.approx((1000 * 900 / 2000, 1000 * 700 / 1500), abs=2)
    assert result.answer.rationale == "dark spot"


def test_pixels_of_the_picture_are_its_box_space_too(job, performer, allocator):
    performer.box_space = "resized"
    result = ask(job, Blurred(performer, off=5), allocator)
    (box,), (width, height) = result.answer.boxes, result.picture_size
    assert (box.x1, box.y1) == pytest.approx((width * 900 / 2000, height * 700 / 1500), abs=2)


def test_what_is_not_seen_again_is_no_find(job, performer, allocator):
    nothing = "<think>nothing</think><answer>[]</answer>"
    result = ask(job, Blurred(performer, refine=nothing), allocator)
    assert result.detections == ()
    assert result.answer.text == "none found"
    assert result.confidence is None
    assert result.tokens.zoom > 0


@pytest.mark.parametrize("reply", ["<think>nothing", "<think></think><answer>none</answer>", ""])
def test_a_look_that_cannot_be_read_takes_no_find_away(job, performer, allocator, reply):
    (coarse,) = ask(changed(job, settings=PLAIN), Blurred(performer), allocator).detections
    result = ask(job, Blurred(performer, refine=reply), allocator)
    assert result.detections == (coarse,)
    assert result.answer.text == "1 lesion"
    assert result.tokens.zoom > 0


def test_every_look_is_counted(job, blurred, allocator):
    without = ask(changed(job, settings=PLAIN), blurred, allocator)
    with_it = ask(job, blurred, allocator)
    (shape,) = blurred.windows
    tokens = shape[0] * shape[1] // CELL**2
    assert with_it.tokens.zoom == tokens <= VIEW_TOKENS
    assert with_it.tokens.realised == without.tokens.realised <= 256
    assert with_it.tokens.spent == without.tokens.spent + tokens
    assert with_it.tokens.encoder_patches == 4 * (with_it.tokens.realised + tokens)
    extra = with_it.tokens.flops - without.tokens.flops
    assert extra > 0
    assert (
        with_it.tokens.flops_native_picture - without.tokens.flops_native_picture
        == pytest.approx(extra)
    )
    assert with_it.pixels_decoded > without.pixels_decoded
    spent, native = with_it.tokens.spent, with_it.tokens.native_picture + tokens
    share = round(100 * (spent - native) / native)
    assert f"+ {tokens} zoom of {with_it.tokens.native_picture:,} visual" in token_line(with_it)
    assert f"({share} %)" in token_line(with_it)
    assert "zoom" not in token_line(without)


def test_the_stage_is_told_and_the_text_is_not_written_twice(job, blurred, allocator):
    events = list(run_job(job, blurred, allocator))
    stages = [event.stage for event in events if isinstance(event, StageStarted)]
    assert stages[-3:] == [Stage.GENERATE, Stage.ZOOM, Stage.PARSE]
    text = "".join(getattr(event, "text", "") for event in events)
    assert text.count("<answer>") == 1
    assert set(events[-1].result.seconds) == {stage.value for stage in stages}


def test_a_large_find_another_label_and_a_poor_budget_get_none(
    job, performer, blurred, allocator, slide
):
    assert not ask(changed(job, budget=VIEW_TOKENS - 4), blurred, allocator).tokens.zoom
    assert not ask(changed(job, region=Region(860, 660, 200, 200)), blurred, allocator).tokens.zoom
    blurred.info = replace(
        blurred.info, metadata=Metadata(labels=("lesion",), zoom_labels=("nucleus",))
    )
    assert not ask(job, blurred, allocator).tokens.zoom


def test_a_model_that_names_no_labels_zooms_at_what_is_below_two_tokens(job, performer, allocator):
    assert performer.info.metadata is None
    assert ask(job, performer, allocator).tokens.zoom
    spot, region = Detection("lesion", SPOT), Region(0, 0, 2048, 2048)
    for tokens_a_side, zoomed in ((64, True), (96, True), (128, False)):  # 32, 21 and 16 px each
        shown = View(region, (tokens_a_side * CELL, tokens_a_side * CELL), tokens_a_side**2)
        assert bool(zoom_windows([spot], [shown], None, CELL, 1)) is zoomed


def test_jobs_together_look_closer_as_each_would_alone(job, performer, allocator):
    joint = Blurred(performer)
    passes = []

    def generate_batch(prompts, settings, cancel):
        passes.append(len(prompts))
        return [list(joint.generate(prompt, settings, cancel))[-1] for prompt in prompts]

    joint.generate_batch = generate_batch
    jobs = [job, changed(job, region=Region(300, 200, 1200, 1000)), changed(job, settings=PLAIN)]
    results = ask_together(jobs, joint, allocator, most=4096)
    alone = [ask(one, Blurred(performer), allocator) for one in jobs]
    assert passes == [3, 2]
    assert [replace(r, seconds={}) for r in results] == [replace(r, seconds={}) for r in alone]
    assert results[0].seconds["zoom"] == pytest.approx(0.1)  # of the model alone
    assert all(set(a.seconds) == set(b.seconds) for a, b in zip(results, alone, strict=True))


def test_cancel_ends_a_closer_look(job, blurred, allocator):
    cancel = Event()
    events = []
    for event in run_job(job, blurred, allocator, cancel):
        events.append(event)
        if event == StageStarted(Stage.ZOOM):
            cancel.set()
    assert events[-1] == Cancelled(Stage.ZOOM)


def test_two_finds_that_turn_out_to_be_one_are_told_once(job, performer, allocator):
    spots = [[440, 460, 460, 480], [455, 470, 475, 490]]
    boxes = [{"bbox_2d": spot, "label": "lesion"} for spot in spots]

    class Double(Blurred):
        def _beside(self, text):
            return f"<think>x</think><answer>{json.dumps(boxes)}</answer>"

    result = ask(job, Double(performer), allocator)
    assert len(result.detections) == 1
    assert result.answer.text == "1 lesion"
    assert result.tokens.zoom > VIEW_TOKENS


sides = st.floats(1, 4000)


@given(
    st.tuples(st.floats(0, 5000), st.floats(0, 5000), sides, sides),
    st.tuples(st.integers(0, 900), st.integers(0, 900), st.integers(8, 5000), st.integers(8, 5000)),
    st.integers(0, 3),
)
def test_windows_lie_in_the_region_and_are_small(box, region, most):
    x, y, w, h = box
    where = Region(*region)
    detections = [Detection(label, Box(x, y, w, h)) for label in ("Spot", "other", "spot")]
    shown = [View(where, (64, 64), 4)] * 3
    found = zoom_windows(detections, shown, ("spot",), CELL, most)
    assert set(found) <= {0, 2}
    assert len(found) <= most
    for window in found.values():
        assert where.x <= window.x <= window.x + window.width <= where.x + where.width
        assert where.y <= window.y <= window.y + window.height <= where.y + where.height
        assert window.box.area <= CLOSE * where.box.area
        assert min(window.width, window.height) >= min(4 * CELL, where.width, where.height)
