"""A model on a server answers as any other: pictures, text, tokens, confidence, cancel."""

import re
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from napari_pathreason.engine import BatchPerformer, Job, ask
from napari_pathreason.errors import ModelError, QueryError
from napari_pathreason.geometry import Region
from napari_pathreason.models import load_models
from napari_pathreason.models.server import bound_to, load_server, set_boxes
from napari_pathreason.slides import slide_from_arrays
from napari_pathreason.tasks import TASKS
from napari_pathreason.types import Completion, GenerationSettings, Prompt, Query, Request
from tests.support.servers import llama_cpp, ollama, serving, transformers_serve, vllm

pytestmark = pytest.mark.usefixtures("own_folders")
DIALECTS = {"vllm": vllm, "transformers": transformers_serve, "llama": llama_cpp, "ollama": ollama}
QUERY = Query("vqa", "Is there tumour?", ("yes", "no"))


def dark(height=64, width=64):
    return np.zeros((height, width, 3), np.uint8)


def prompt(*pictures, query=QUERY):
    captions = [f"Picture {n}." for n in range(len(pictures))] if len(pictures) > 1 else ()
    return Prompt(pictures, TASKS[query.task].messages(query, captions))


def answer(performer, *pictures, **changes):
    pieces = list(
        performer.generate(
            prompt(*(pictures or (dark(),))), GenerationSettings(**changes), threading.Event()
        )
    )
    *text, last = pieces
    assert isinstance(last, Completion)
    assert "".join(text) == last.text
    return last


@pytest.fixture(params=DIALECTS)
def dialect(request):
    return DIALECTS[request.param]()


def test_every_dialect_gives_the_same_text(dialect):
    with serving(dialect) as server:
        done = answer(load_server(server.address))
    assert done.text == "<think>dark pixels</think><answer>yes</answer>"
    assert done.finish == "stop"
    assert done.new_tokens == 7


def test_no_pixel_is_changed_on_the_way():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (96, 160, 3), np.uint8)
    seen = []

    def look(words, pictures):
        seen.extend(pictures)
        return "", "yes"

    with serving(answer=look) as server:
        performer = load_server(server.address)
        seen.clear()
        answer(performer, picture)
    assert len(seen) == 1
    assert (seen[0] == picture).all()


def test_what_leaves_is_pixels_and_words_alone():
    pixels = np.zeros((256, 256, 3), np.uint8)
    with serving() as server, slide_from_arrays([pixels], "name-of-a-patient") as slide:
        models = load_models(server.address)
        job = Job(slide, Request(Region(0, 0, 256, 256), QUERY, 16))
        ask(job, models.performer, models.allocator)
        bodies = [str(body) for body in server.bodies]
    assert bodies
    assert not [body for body in bodies if "patient" in body]
    (question,) = server.questions
    assert set(question) <= {
        "model",
        "stream",
        "messages",
        "max_tokens",
        "temperature",
        "logprobs",
        "top_logprobs",
        "stream_options",
        "structured_outputs",
    }


@pytest.mark.parametrize(
    ("kind", "side", "tokens"),
    [
        (vllm(), 512, 256),
        (vllm(), 64, 64),  # the floor of a server as it starts
        (vllm(floor=1024), 64, 4),
        (vllm(floor=1024, cap=1_003_520), 1024, 961),  # the cap of a checkpoint without a size
        (transformers_serve(), 1024, 1024),  # its cap is lifted by the bounds that it takes
        (transformers_serve(), 32, 1),
        (llama_cpp(), 64, 9),
        (llama_cpp(), 256, 64),
        (vllm(models=("Qwen/Qwen2.5-VL-7B-Instruct",), token_px=28, floor=3136), 280, 100),
        (ollama(), 224, 258),
    ],
)
def test_visual_tokens_are_those_that_the_server_counts(kind, side, tokens):
    with serving(kind) as server:
        done = answer(load_server(server.address), dark(side, side))
    assert done.visual_tokens == tokens
    assert done.prompt_tokens > tokens


def test_where_all_pictures_cost_the_same_they_are_read_finely():
    pixels = np.random.default_rng(0).integers(90, 220, (1792, 1792, 3), np.uint8)
    with serving(ollama()) as server, slide_from_arrays([pixels], "s") as slide:
        models = load_models(server.address)
        request = Request(Region(0, 0, 1792, 1792), QUERY, 16, policy="one_view")
        result = ask(Job(slide, request), models.performer, models.allocator)
    assert result.picture_size == (896, 896)
    assert result.tokens.realised == 256


def test_two_pictures_are_counted_together():
    with serving() as server:
        done = answer(load_server(server.address), dark(256, 256), dark(256, 320))
    assert done.visual_tokens == 64 + 80


def test_a_server_that_counts_nothing_is_taken_at_the_plan():
    with serving(vllm(refused=("stream_options",))) as server:
        performer = load_server(server.address)
        done = answer(performer, dark(128, 128))
    assert done.visual_tokens == 16
    assert performer.info.notes == (
        "the server does not count tokens; visual tokens are those that were planned",
    )


@pytest.mark.parametrize("side", [28, 32, 16])
def test_the_side_of_a_token_is_measured(side):
    with serving(vllm(models=("somebody/model",), token_px=side, floor=3136)) as server:
        assert load_server(server.address).info.dims.token_px == side


def test_the_text_of_a_question_is_counted_once():
    with serving() as server:
        performer = load_server(server.address)
        before = len(server.bodies)
        for _ in range(3):
            answer(performer)
        assert len(server.bodies) - before == 3 + 1


def test_confidence_comes_from_probabilities_or_there_is_none(dialect):
    pixels = np.zeros((256, 256, 3), np.uint8)
    with serving(dialect) as server, slide_from_arrays([pixels], "s") as slide:
        models = load_models(server.address)
        job = Job(slide, Request(Region(0, 0, 256, 256), QUERY, 64))
        result = ask(job, models.performer, models.allocator)
    assert result.answer.text == "yes"
    none = "this server gives no probabilities, so no confidence"
    if dialect.logprobs:
        assert result.confidence == pytest.approx(0.8, abs=0.01)
        assert none not in result.reliability.reasons
    else:
        assert result.confidence is None
        assert none in result.reliability.reasons
    assert result.model.calibration is None


def test_probabilities_of_other_text_count_for_nothing(monkeypatch):
    from tests.support import servers

    def foreign(body, token):
        return {"content": [{"token": "\ufffd", "logprob": -0.1, "top_logprobs": []}]}

    monkeypatch.setattr(servers, "_logprob", foreign)
    with serving() as server:
        assert answer(load_server(server.address)).written == ()


def test_pictures_one_at_a_time_are_said():
    rng = np.random.default_rng(0)
    pixels = rng.integers(90, 220, (1536, 1536, 3), np.uint8)
    query = Query("vqa", "Describe what you see.")
    for several in (99, 1):
        with serving(vllm(several=several)) as server, slide_from_arrays([pixels], "s") as slide:
            models = load_models(server.address)
            request = Request(Region(0, 0, 1536, 1536), query, 512, policy="uniform")
            result = ask(Job(slide, request), models.performer, models.allocator)
            assert result.views.joint is (several > 1)
            said = [one for one in result.warnings if "takes one picture in a prompt" in one]
            assert len(said) == (several == 1)


def test_a_bound_on_pictures_is_learnt():
    pixels = np.random.default_rng(0).integers(90, 220, (1536, 1536, 3), np.uint8)
    query = Query("vqa", "Describe what you see.")
    request = Request(Region(0, 0, 1536, 1536), query, 512, policy="uniform")
    with serving(vllm(several=3)) as server, slide_from_arrays([pixels], "s") as slide:
        models = load_models(server.address)
        with pytest.raises(ModelError, match=r"At most 3 image.*; ask again"):
            ask(Job(slide, request), models.performer, models.allocator)
        models = load_models(server.address)
        result = ask(Job(slide, request), models.performer, models.allocator)
    assert not result.views.joint
    assert len(result.views.views) > 3
    assert [one for one in result.warnings if "takes 3 pictures in a prompt" in one]


def test_several_requests_are_in_flight_and_no_more_than_allowed():
    with serving(delay=0.01) as server:
        performer = load_server(server.address, at_once=3)
        assert isinstance(performer, BatchPerformer)
        answer(performer)
        server.most_at_once = 0
        prompts = [prompt(dark(64, 32 * n)) for n in range(1, 9)]
        done = performer.generate_batch(prompts, GenerationSettings(), threading.Event())
    assert [one.text.count("<answer>yes") for one in done] == [1] * 8
    assert 2 <= server.most_at_once <= 3


def test_the_first_error_of_a_batch_ends_it():
    with serving(delay=0.01) as server:
        performer = load_server(server.address)
        answer(performer)
        server.faults = [None, 500]
        prompts = [prompt(dark())] * 12
        before = len(server.bodies)
        with pytest.raises(Exception, match="failed inside"):
            performer.generate_batch(prompts, GenerationSettings(), threading.Event())
        assert len(server.bodies) - before < 12


@pytest.mark.parametrize("fault", [None, "silence"])
def test_a_cancel_closes_the_stream_at_once(fault):
    def think(words, pictures):
        return " ".join(["long"] * 400), "yes"

    with serving(delay=0.01, answer=think) as server:
        performer = load_server(server.address)
        server.always, server.delay = fault, 0.05
        cancel = threading.Event()
        timer = threading.Timer(0.3, cancel.set)
        timer.start()
        began = time.perf_counter()
        (*_, last) = performer.generate(prompt(dark()), GenerationSettings(), cancel)
        assert last.finish == "cancelled"
        assert time.perf_counter() - began < 2  # a whole answer takes 20 s
        timer.join()
        server.always, server.delay = None, 0.0
        began = time.perf_counter()
        assert answer(performer, max_new_tokens=4).finish == "length"
        assert time.perf_counter() - began < 1
        deadline = time.perf_counter() + 5
        while fault is None and not server.cut and time.perf_counter() < deadline:
            time.sleep(0.02)
        assert server.cut or fault


def test_whoever_stops_listening_closes_the_stream():
    def think(words, pictures):
        return " ".join(["long"] * 400), "yes"

    with serving(answer=think) as server:
        performer = load_server(server.address)
        server.delay = 0.02
        pieces = performer.generate(prompt(dark()), GenerationSettings(), threading.Event())
        next(pieces)
        pieces.close()
        deadline = time.perf_counter() + 5
        while not server.cut and time.perf_counter() < deadline:
            time.sleep(0.02)
        assert server.cut


def test_an_answer_that_was_begun_is_gone_on_with_where_the_server_can():
    begin = "<think></think>"
    with serving(vllm()) as server:
        performer = load_server(server.address)
        answer(performer, begin=begin)
        last = server.questions[-1]
        assert last["messages"][-1] == {"role": "assistant", "content": begin}
        assert last["continue_final_message"] is True
        assert last["add_generation_prompt"] is False
    with serving(transformers_serve()) as server:
        performer = load_server(server.address)
        with pytest.raises(QueryError, match="cannot go on"):
            answer(performer, begin=begin)


def test_bounds_of_pixels_are_sent_only_where_they_work():
    with serving(transformers_serve()) as server:
        answer(load_server(server.address), dark(64, 96))
        (question,) = server.questions
        assert question["chat_template_kwargs"] == {
            "min_pixels": 1024,
            "max_pixels": 64 * 96,
            "visual_tokens": 6,
        }
    with serving(vllm(refused=())) as server:  # takes the field, and does nothing with it
        answer(load_server(server.address))
        (question,) = server.questions
        assert "mm_processor_kwargs" not in question


def test_a_seed_goes_with_what_is_drawn():
    with serving() as server:
        performer = load_server(server.address)
        answer(performer, temperature=0.5, seed=7)
        answer(performer)
        drawn, greedy = server.questions
    assert (drawn["temperature"], drawn["seed"]) == (0.5, 7)
    assert "seed" not in greedy


SPOT = (300, 100, 100, 200)


@pytest.mark.parametrize(
    ("space", "order", "scale"),
    [
        ("relative", (0, 1, 2, 3), 1000 / 512),
        ("resized", (0, 1, 2, 3), 1.0),
        ("relative_yx", (1, 0, 3, 2), 1000 / 512),
    ],
)
@pytest.mark.parametrize("said", [True, False])
def test_boxes_are_read_by_the_convention_that_is_known(space, order, scale, said):
    """Of an unknown model: as its user says, or as it boxes the probe picture."""

    def find(words, pictures):
        if "box_2d" not in words:
            return "", "yes"
        rows, columns = np.nonzero(pictures[0][..., 0] < 128)
        height = pictures[0].shape[0]
        own = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        label = "rectangle" if "rectangle" in words else "spot"
        factor = 1000 / height if space != "resized" else 1.0
        corners = [float(own[place] * factor) for place in order]
        return "", f'[{{"bbox_2d": {corners}, "label": "{label}"}}]'.replace("'", '"')

    x, y, w, h = SPOT
    pixels = np.full((512, 512, 3), 255, np.uint8)
    pixels[y : y + h, x : x + w] = 0
    with (
        serving(vllm(models=("somebody/model",)), answer=find) as server,
        slide_from_arrays([pixels], "s") as slide,
    ):
        if said:
            set_boxes(server.address, space)
        models = load_models(server.address)
        assert models.performer.info.box_space == space
        query = Query("detection", options=("spot",))
        settings = GenerationSettings(zoom=False)
        job = Job(slide, Request(Region(0, 0, 512, 512), query, 256, settings))
        result = ask(job, models.performer, models.allocator)
    (found,) = result.detections
    box = found.box
    assert (box.x, box.y, box.w, box.h) == pytest.approx(SPOT, abs=3)
    (note,) = [one for one in result.warnings if one.startswith("boxes were read as")]
    assert note.endswith("as you said" if said else "as it boxed a test picture")


def test_an_unknown_convention_must_be_said():
    def silent(words, pictures):
        return "", "[]" if "bbox_2d" in words else "yes"

    pixels = np.zeros((256, 256, 3), np.uint8)
    with (
        serving(vllm(models=("somebody/model",)), answer=silent) as server,
        slide_from_arrays([pixels], "s") as slide,
    ):
        models = load_models(server.address)
        query = Query("detection", options=("spot",))
        asked = len(server.bodies)
        with pytest.raises(QueryError, match="--boxes"):
            ask(
                Job(slide, Request(Region(0, 0, 256, 256), query, 64)),
                models.performer,
                models.allocator,
            )
        assert len(server.bodies) == asked


def test_thinking_that_the_prompt_opened_is_closed_again():
    with serving() as server:
        performer = load_server(server.address)
        server.dialect.thinks_in = "content"

        def half(words, pictures):
            return "x", "yes"

        server.answer = half
        done = answer(performer)
    assert done.text.startswith("<think>x</think>")


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12))
def test_tokens_of_any_picture_of_whole_tokens_are_its_plan(known_server, rows, columns):
    performer = known_server
    done = answer(performer, dark(32 * rows, 32 * columns))
    assert done.visual_tokens == rows * columns


@pytest.fixture(scope="module")
def known_server(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch, serving(vllm(floor=1024)) as server:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield load_server(server.address)


def wordy(words, pictures):
    """A model that answers beside the choices."""
    return "dark", "I believe that it is there" if "white?" not in words else "yes"


def ask_choices(server, *choices):
    pixels = np.zeros((256, 256, 3), np.uint8)
    with slide_from_arrays([pixels], "s") as slide:
        models = load_models(server.address)
        query = Query("vqa", "Is there tumour?", choices)
        job = Job(slide, Request(Region(0, 0, 256, 256), query, 64))
        return ask(job, models.performer, models.allocator)


def test_an_answer_is_held_to_the_choices_where_the_server_can(dialect):
    with serving(dialect, answer=wordy) as server:
        result = ask_choices(server, "no", "yes, at once (1.0)", 'a "b"')
        question = server.questions[-1]
    if not dialect.structured:
        assert not result.answer.readable
        assert not {"structured_outputs", "guided_regex", "regex", "grammar"} & set(question)
        return
    assert dialect.structured in question
    assert result.answer.text == "no"
    assert result.answer.rationale == "dark"


@pytest.mark.parametrize("field", ["structured_outputs", "guided_regex", "regex", "grammar"])
def test_which_field_binds_an_answer_is_found_out(field):
    with serving(vllm(structured=field)) as server:
        performer = load_server(server.address)
        assert performer.capabilities.structured == field
        assert ask_choices(server, "yes", "no").answer.text == "yes"
        assert field in server.questions[-1]


def test_open_questions_and_begun_answers_are_bound_to_nothing():
    with serving() as server:
        performer = load_server(server.address)
        answer(performer)
        answer(performer, begin="<think></think>")
        for question in server.questions:
            assert "structured_outputs" not in question


WORDS = st.text(st.characters(codec="ascii", exclude_categories=["Cc", "Cs"]), min_size=1)


@given(st.lists(WORDS.map(str.strip).filter(bool), min_size=1, max_size=5, unique=True))
def test_a_pattern_matches_its_choices_and_nothing_else(choices):
    fields = bound_to("regex", choices)
    for choice in choices:
        for before in ("<think>a b</think>", "ready.</think>\n"):
            assert re.fullmatch(fields["regex"], f"{before}<answer>{choice}</answer>")
        assert not re.fullmatch(fields["regex"], f"<think>a</think><answer>{choice}~</answer>")
        assert not re.fullmatch(fields["regex"], f"<answer>{choice}</answer>")
    assert bound_to("", choices) == bound_to("regex", ()) == {}
