"""Each way in which a server can fail is one line that names a remedy."""

import threading
import time

import numpy as np
import pytest

from napari_pathreason.engine import Job, ask
from napari_pathreason.errors import ModelError, PathreasonError
from napari_pathreason.geometry import Region
from napari_pathreason.models import load_models
from napari_pathreason.models.server import (
    Client,
    ServerPerformer,
    load_server,
    parse_address,
)
from napari_pathreason.slides import slide_from_arrays
from napari_pathreason.tasks import TASKS
from napari_pathreason.types import Completion, GenerationSettings, Prompt, Query, Request
from tests.support.servers import llama_cpp, ollama, serving, transformers_serve, vllm

pytestmark = pytest.mark.usefixtures("own_folders")
QUERY = Query("vqa", "Is there tumour?", ("yes", "no"))
PICTURE = np.zeros((64, 64, 3), np.uint8)


def hasty(address):
    """A performer that waits for nothing, once the server was looked at."""
    usual = load_server(address)
    client = Client(parse_address(address), timeout=0.5, waits=(0.01, 0.01))
    return ServerPerformer(client, usual.capabilities, usual.info)


def prompt():
    return Prompt((PICTURE,), TASKS["vqa"].messages(QUERY))


def answer(performer):
    *_, last = performer.generate(prompt(), GenerationSettings(), threading.Event())
    return last


def one_line(error, *words):
    text = str(error)
    assert "\n" not in text
    assert ";" in text, "names no remedy"
    assert "Traceback" not in text
    for word in words:
        assert word in text
    return True


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (401, ("refuses the key", "PATHREASON_API_KEY")),
        (403, ("refuses the key",)),
        (404, ("most addresses end in /v1",)),
        (413, ("too large", "smaller budget")),
        (500, ("failed inside (500)", "its log")),
        ((400, "This model's maximum context length is 64 tokens."), ("longer than the context",)),
        (
            (400, "the request exceeds the available context size (64 tokens)"),
            ("longer than the context", "smaller budget"),
        ),
        ((400, "cannot identify image file <_io.BytesIO>"), ("refuses the picture",)),
        ((400, "Failed to load image or audio file"), ("refuses the picture",)),
        ((500, "image input is not supported - hint: mmproj"), ("text alone", "--mmproj")),
        ((400, "m is not a multimodal model"), ("text alone",)),
        ((404, 'model "m" not found, try pulling it first'), ("has no model", "doctor")),
        ("hang_up", ("broke off before it answered",)),
        ("redirect", ("sends requests on to http://elsewhere.invalid", "nothing is sent")),
        ("html", ("no chat completion", "/v1")),
    ],
)
def test_a_fault_is_one_line(fault, words):
    with serving() as server:
        performer = load_server(server.address)
        server.always = fault
        with pytest.raises(ModelError) as failed:
            answer(performer)
    assert one_line(failed.value, *words)
    assert "secret" not in str(failed.value)


def test_nothing_is_sent_where_a_redirect_points():
    with serving() as first, serving() as second:
        performer = load_server(first.address)
        first.always, first.elsewhere = "redirect", f"{second.url}/chat/completions"
        with pytest.raises(ModelError, match="sends requests on"):
            answer(performer)
        assert not second.bodies
        assert not second.keys


def test_no_server_is_one_line():
    with serving() as server:
        address = server.address
    with pytest.raises(ModelError) as failed:
        load_server(address)
    assert one_line(failed.value, "cannot be reached", "start it")


def test_tls_that_is_refused_is_one_line():
    with serving() as server, pytest.raises(ModelError) as failed:
        load_server(server.address.replace("http:", "https:"))
    assert one_line(failed.value)


def test_a_wrong_path_is_one_line():
    with serving() as server, pytest.raises(ModelError) as failed:
        load_server(server.address.replace("/v1", "/api/v7"))
    assert one_line(failed.value, "has nothing at", "/v1")


def test_no_such_model_is_one_line_that_lists_them():
    with serving(ollama()) as server, pytest.raises(ModelError) as failed:
        load_server(f"{server.url}#medgemma")
    assert one_line(failed.value, "has no model medgemma", "medgemma1.5:latest, llama3:latest")


def test_several_models_and_none_named_is_one_line_that_lists_them():
    with serving(ollama()) as server, pytest.raises(ModelError) as failed:
        load_server(server.url)
    assert one_line(failed.value, f"{server.url}#NAME", "medgemma1.5:latest, llama3:latest")


def test_a_server_that_cannot_list_is_asked_for_a_model_by_name():
    with serving(transformers_serve(lists=False)) as server:
        assert answer(load_server(server.address)).text.endswith("<answer>yes</answer>")
        with pytest.raises(ModelError, match="does not list what it has"):
            load_server(server.url)


@pytest.mark.parametrize("dialect", [vllm(several=0), llama_cpp(several=0)])
def test_a_text_model_is_refused_before_a_question(dialect):
    with serving(dialect) as server, pytest.raises(ModelError) as failed:
        load_server(server.address)
    assert one_line(failed.value, "reads text alone")


def test_a_wrong_key_is_said_when_the_server_is_met_and_never_repeated(monkeypatch):
    with serving(key="right-key") as server:
        with pytest.raises(ModelError) as failed:
            load_server(server.address)
        assert one_line(failed.value, "refuses the key")
        monkeypatch.setenv("PATHREASON_API_KEY", "wrong-key")
        with pytest.raises(ModelError) as failed:
            load_server(server.address)
        assert "wrong-key" not in str(failed.value)
        monkeypatch.setenv("PATHREASON_API_KEY", "right-key")
        assert answer(load_server(server.address)).finish == "stop"


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again(status):
    with serving() as server:
        performer = hasty(server.address)
        answer(performer)  # with this its text is counted
        server.faults = [status, status]
        assert answer(performer).finish == "stop"
        assert len(server.questions) == 4
        server.always = status
        with pytest.raises(ModelError) as failed:
            answer(performer)
    assert one_line(failed.value, "is busy", "ask again later")


@pytest.mark.parametrize("fault", ["half", "midway", "stream_error"])
def test_what_was_written_is_kept_where_a_server_goes_away(fault):
    with serving() as server:
        performer = load_server(server.address)
        server.always = fault
        done = answer(performer)
    assert done.finish == "broken"
    assert done.text == "<think>dark"
    assert done.visual_tokens == 4


def test_the_result_of_a_broken_answer_says_so():
    pixels = np.full((256, 256, 3), (230, 160, 200), np.uint8)
    with serving() as server, slide_from_arrays([pixels], "s") as slide:
        models = load_models(server.address)
        server.always = "midway"
        job = Job(slide, Request(Region(0, 0, 256, 256), QUERY, 64))
        result = ask(job, models.performer, models.allocator)
    assert "the server broke off in the middle of the reply" in result.reliability.reasons
    assert result.reliability.level == "none"
    assert result.answer.reply.startswith("<think>")


def test_silence_ends_after_its_time():
    with serving() as server:
        load_server(server.address)
        client = Client(parse_address(server.address), timeout=0.3)
        server.always = "silence"
        began = time.perf_counter()
        with pytest.raises(ModelError) as failed:
            list(client.chat({"messages": [], "max_tokens": 4}, threading.Event()))
        assert time.perf_counter() - began < 5
    assert one_line(failed.value, "said nothing for 0.3 s", "PATHREASON_SERVER_TIMEOUT")


def test_silence_in_the_middle_keeps_what_was_written():
    with serving() as server:
        performer = hasty(server.address)
        server.always = "stall"
        done = answer(performer)
    assert isinstance(done, Completion)
    assert (done.finish, done.text) == ("broken", "<think>dark")


def test_a_failure_reaches_the_user_through_the_engine_as_one_line():
    pixels = np.full((256, 256, 3), (230, 160, 200), np.uint8)
    with serving() as server, slide_from_arrays([pixels], "s") as slide:
        models = load_models(server.address)
        server.always = 500
        job = Job(slide, Request(Region(0, 0, 256, 256), QUERY, 64))
        with pytest.raises(PathreasonError) as failed:
            ask(job, models.performer, models.allocator)
    assert one_line(failed.value, "failed inside")
