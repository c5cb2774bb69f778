"""What servers write on the wire, well and badly: the right answer, or one line with a remedy."""

import gzip
import itertools
import json
import shutil
import subprocess
import threading
import time

import pytest
from hypothesis import given, settings, strategies as st

from napari_pathreason.errors import ModelError
from napari_pathreason.models.server import (
    DONE,
    BrokeOff,
    Client,
    Unreadable,
    chunks_of,
    lines_of,
    load_server,
    look_at_server,
    messages_of,
    parse_address,
)
from tests.models.server.test_trouble import one_line
from tests.support.raw_server import as_json, raw_serving, response
from tests.support.servers import serving

pytestmark = pytest.mark.usefixtures("own_folders")
TEXT = "<think>the upper left: dark</think><answer>yes</answer>"
PIECES = [TEXT[at : at + 7] for at in range(0, len(TEXT), 7)]  # tags lie across pieces


def event(text=None, finish=None, **more):
    delta = {} if text is None else {"content": text}
    return {"choices": [{"delta": delta, "finish_reason": finish, **more}]}


EVENTS = [*map(event, PIECES), event(finish="stop")]
USAGE = {"choices": [], "usage": {"prompt_tokens": 92, "completion_tokens": 9}}


def stream(events, end="\n\n", done=True):
    return "".join(f"data: {json.dumps(one)}{end}" for one in [*events]) + (
        f"data: [DONE]{end}" if done else ""
    )


def said(server, timeout=5.0, **body):
    """All pieces of an answer."""
    client = Client(parse_address(f"{server.url}#m"), timeout=timeout, waits=())
    return list(client.chat({"messages": [], "max_tokens": 64, **body}, threading.Event()))


def text_of(chunks):
    return "".join(chunk.text for chunk in chunks)


WHOLE = {"choices": [{"message": {"content": TEXT}, "finish_reason": "stop"}], **{"usage": None}}
WELL = {
    "plain": stream(EVENTS),
    "crlf": stream(EVENTS, "\r\n\r\n"),
    "cr": stream(EVENTS, "\r\r"),
    "no-blank-lines": stream(EVENTS, "\n"),
    "no-blank-behind-the-colon": stream(EVENTS).replace("data: ", "data:"),
    "byte-order-mark": "\ufeff" + stream(EVENTS),
    "comments": ": waiting\n\n" + stream(EVENTS).replace("\n\n", "\n\n: alive\n\n"),
    "fields-of-sse": "retry: 10\n"
    + stream(EVENTS).replace("data:", "event: message\nid: 7\ndata:"),
    "no-done": stream(EVENTS, done=False),
    "no-finish": stream(EVENTS[:-1]),
    "usage-null": stream([{**one, "usage": None} for one in EVENTS]),
    "several-lines": "".join(
        "".join(f"data: {line}\n" for line in json.dumps(one, indent=1).split("\n")) + "\n"
        for one in EVENTS
    ),
    "parts": stream(
        [
            {"choices": [{"delta": {"content": [{"type": "text", "text": piece}]}}]}
            for piece in PIECES
        ]
        + [event(finish="stop")]
    ),
    "whole": json.dumps(WHOLE),
    "whole-for-readers": json.dumps(WHOLE, indent=2),
    "whole-for-readers-crlf": json.dumps(WHOLE, indent=2).replace("\n", "\r\n") + "\r\n",
}


@pytest.mark.parametrize("body", WELL.values(), ids=WELL.keys())
def test_every_way_to_write_an_answer_is_read(body):
    with raw_serving(response(body)) as server:
        assert text_of(said(server)) == TEXT


def test_a_packed_answer_is_read():
    packed = gzip.compress(stream(EVENTS).encode())
    with raw_serving(
        response(packed, "text/event-stream", "200 OK", "Content-Encoding: gzip")
    ) as s:
        assert text_of(said(s)) == TEXT


def test_ends_of_lines_within_a_text_end_no_line():
    text = "a\u2028b\x85c\x0cd"
    body = stream([event(text), event(finish="stop")]).replace(json.dumps(text), f'"{text}"')
    assert "\u2028" in body
    with raw_serving(response(body.replace("\x0c", "\\f"))) as server:
        assert text_of(said(server)) == text


@settings(max_examples=60, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 400), max_size=12),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    text=st.text(max_size=40),
)
def test_where_the_bytes_are_cut_changes_nothing(cuts, end, text):
    data = stream([event(text), *EVENTS], end + end).encode("utf-8", "replace")
    places = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    pieces = [data[a:b] for a, b in itertools.pairwise(places)]
    found = [one for one in messages_of(lines_of(pieces)) if one is not None]
    assert found[-1] is DONE
    expected = text.encode("utf-8", "replace").decode() + TEXT
    assert "".join(c.text for one in found[:-1] for c in chunks_of(one)) == expected


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_messages_or_unreadable(data):
    try:
        for value in messages_of(lines_of([data])):
            assert value is None or isinstance(value, dict)
    except Unreadable:
        pass


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "choices delta message content text logprobs token logprob top_logprobs usage "
                "prompt_tokens completion_tokens reasoning".split()
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


tokens = st.fixed_dictionaries(
    {"token": st.text(max_size=3), "logprob": st.floats() | json_values},
    optional={
        "top_logprobs": st.lists(
            st.fixed_dictionaries({"token": st.text(), "logprob": st.floats()})
        )
    },
)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["choices", "usage"]), json_values)
    | tokens.map(lambda one: event("a", logprobs={"content": [one]}))
)
def test_any_message_is_pieces_of_text_numbers_and_probabilities(value):
    for chunk in chunks_of(value):
        (chunk.text + chunk.reasoning).encode()
        for token in chunk.tokens:
            assert all(-9999 <= logprob <= 0 for _, logprob in token.choices)
        assert chunk.usage is None or min(chunk.usage.prompt, chunk.usage.written) >= 0


def logprob(**more):
    return {"token": "a", "logprob": -0.1, "top_logprobs": [], **more}


@pytest.mark.parametrize(
    "told",
    [
        None,
        {"content": None},
        {"content": [logprob(logprob=None)]},
        {"content": [{"token": "a"}]},
        {"content": [logprob(logprob=float("nan"))]},
        {"content": [logprob(logprob=3.0)]},
        {"content": [logprob(top_logprobs=[{"token": "a"}])]},
        {"content": "a"},
        [],
    ],
)
def test_probabilities_that_are_none_are_left_out(told):
    events = [event("a", logprobs=told), event(finish="stop")]
    with raw_serving(response(stream(events))) as server:
        chunks = said(server)
    assert text_of(chunks) == "a"
    assert not any(chunk.tokens for chunk in chunks)


def test_minus_infinity_is_a_probability():
    told = {"content": [logprob(top_logprobs=[{"token": "b", "logprob": float("-inf")}])]}
    with raw_serving(response(stream([event("a", logprobs=told)]))) as server:
        (token,) = next(chunk.tokens for chunk in said(server) if chunk.tokens)
    assert token.choices == (("b", -9999.0), ("a", -0.1))


@pytest.mark.parametrize(
    "usage",
    [{}, [], {"prompt_tokens": float("inf")}, {"prompt_tokens": -5}, {"prompt_tokens": "x"}],
)
def test_counts_that_are_none_are_left_out(usage):
    with raw_serving(response(stream([*EVENTS, {"choices": [], "usage": usage}]))) as server:
        assert not any(chunk.usage for chunk in said(server))
    with raw_serving(response(stream([*EVENTS, USAGE]))) as server:
        assert [chunk.usage.prompt for chunk in said(server) if chunk.usage] == [92]


def test_half_a_character_is_no_fault():
    with raw_serving(response(stream([event("\ud83d?"), event(finish="stop")]))) as server:
        assert text_of(said(server)) == "??"


PNG = "iVBORw0KGgo" * 9
BAD = {
    "nothing": (response(""), ("broke off before it answered",)),
    "html": (response("<!doctype html><p>hello", "text/html"), ("no chat completion", "/v1")),
    "words": (response("It works!", "text/plain"), ("no chat completion",)),
    "list": (as_json([1, 2]), ("no chat completion",)),
    "deep": (response("data: " + "[" * 100_000 + "\n\n"), ("no chat completion",)),
    "half-json": (response('{"choices": [', "application/json"), ("no chat completion",)),
    "bad-chunk": (
        response("zz\r\nnot a chunk", "text/event-stream", "200 OK", "Transfer-Encoding: chunked"),
        ("broke off before it answered", "its log"),
    ),
    "bad-gzip": (
        response("not packed", "text/event-stream", "200 OK", "Content-Encoding: gzip"),
        ("broke off before it answered",),
    ),
    "huge-headers": (
        response("", "text/plain", "200 OK", *(f"X-{n}: {'a' * 4000}" for n in range(200))),
        ("broke off before it answered",),
    ),
    "no-http": (b"SSH-2.0-OpenSSH_9.2\r\n", ("broke off before it answered",)),
    "error-in-200": (
        as_json({"error": {"message": "The model `m` does not exist.", "code": 404}}),
        ("has no model m", "doctor"),
    ),
    "old-error-in-200": (
        as_json({"object": "error", "message": "maximum context length is 64", "code": 400}),
        ("longer than the context",),
    ),
    "detail-in-200": (as_json({"detail": "out of memory"}, indent=2), ("out of memory", "its log")),
    "error-event": (
        response('event: error\ndata: {"error": "CUDA out of memory"}\n\n'),
        ("CUDA out of memory", "failed inside"),
    ),
    "filtered": (
        response(stream([event(finish="content_filter")])),
        ("content filter", "other words"),
    ),
    "pydantic": (
        as_json(
            {
                "detail": [
                    {
                        "type": "string_type",
                        "loc": ["body", "messages", 1, "content"],
                        "msg": "Input should be a valid string",
                        "input": [{"image_url": {"url": f"data:image/png;base64,{PNG}"}}],
                    }
                ]
            },
            "422 Unprocessable",
        ),
        ("refused the request (422)", "body.messages.1.content: Input should be a valid string"),
    ),
    "certain-models": (
        as_json(
            {"error": {"message": "image_url is only supported by certain models."}},
            "400 Bad Request",
        ),
        ("reads text alone", "one that reads pictures"),
    ),
    "variant": (
        as_json(
            {"error": {"message": "messages[1]: unknown variant `image_url`, expected `text`"}},
            "400 Bad Request",
        ),
        ("reads text alone",),
    ),
    "large-page": (
        response("<html><h1>413 Request Entity Too Large</h1>nginx", "text/html", "413 Too large"),
        ("too large", "smaller budget"),
    ),
    "models-listed": (
        as_json(
            {
                "detail": {
                    "error": "model not found",
                    "available": [f"model-{n}" for n in range(999)],
                }
            },
            "404 Not Found",
        ),
        ("has no model m", "doctor"),
    ),
    "no-content": (response("", "text/plain", "204 No Content"), ("(204)", "check")),
    "control-characters": (
        as_json({"error": {"message": "bad\x1b[31m\nthing\x07"}}, "400 Bad Request"),
        ("refused the request (400)", "bad [31m thing"),
    ),
}


@pytest.mark.parametrize(("reply", "words"), BAD.values(), ids=BAD.keys())
def test_what_is_no_answer_is_one_line(reply, words):
    with raw_serving(reply) as server, pytest.raises(ModelError) as failed:
        said(server)
    assert one_line(failed.value, *words)
    text = str(failed.value)
    assert text.isprintable()
    assert len(text) < 500
    assert PNG[:8] not in text


@pytest.mark.parametrize(
    "garbage", ['data: {"choices": [\n\n', "data: [1]\n\n", "oops\n", '{"error": "x"}\n']
)
def test_garbage_behind_words_keeps_the_words(garbage):
    seen = []

    def listen(server):
        for chunk in client_of(server).chat({"messages": []}, threading.Event()):
            seen.append(chunk.text)

    with raw_serving(response(stream(EVENTS[:3], done=False) + garbage)) as server:
        with pytest.raises(BrokeOff) as failed:
            listen(server)
    assert one_line(failed.value, "broke off in the middle")
    assert "".join(seen) == "".join(PIECES[:3])


def client_of(server, timeout=5.0):
    return Client(parse_address(f"{server.url}#m"), timeout=timeout, waits=())


def test_an_answer_without_an_end_is_cut():
    def forever():
        yield response("")
        while not server.ended.is_set():
            yield stream([event("word " * 200)], done=False).encode()

    with raw_serving(forever) as server:
        chunks = said(server, max_tokens=10)
    assert chunks[-1].finish == "length"
    assert len(text_of(chunks)) < 20_000


@pytest.mark.parametrize(
    "life", [b": alive\n\n", b"data: {}\n\n", stream([event("")]).encode()[:-14]]
)
def test_signs_of_life_are_no_answer(life):
    def drip():
        yield response("")
        while not server.ended.wait(0.05):
            yield life

    began = time.monotonic()
    with raw_serving(drip) as server, pytest.raises(ModelError) as failed:
        said(server, timeout=0.5)
    assert one_line(failed.value, "said nothing for 0.5 s", "PATHREASON_SERVER_TIMEOUT")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("life", [b"", b": alive\n\n"])
def test_an_answer_that_has_ended_waits_for_no_last_line(life):
    def stalls():
        yield response(stream([*EVENTS, USAGE], done=False))
        while not server.ended.wait(0.05):
            yield life

    began = time.monotonic()
    with raw_serving(stalls) as server:
        chunks = said(server, timeout=20.0)
    assert time.monotonic() - began < 10
    assert text_of(chunks) == TEXT
    assert any(chunk.usage for chunk in chunks)


def test_a_line_without_an_end_is_late(monkeypatch):
    monkeypatch.setattr("napari_pathreason.models.server._client.CONNECT_SECONDS", 0.1)

    def drip():
        yield response("data: ")
        while not server.ended.wait(0.05):
            yield b"x"

    with raw_serving(drip) as server, pytest.raises(ModelError, match=r"said nothing for 0\.5 s"):
        said(server, timeout=0.5)


def test_an_error_without_an_end_is_not_waited_for():
    def forever():
        yield response("", "text/plain", "500 Internal Server Error")
        while not server.ended.is_set():
            yield b"error " * 1000

    with raw_serving(forever) as server, pytest.raises(ModelError, match=r"failed inside \(500\)"):
        said(server)


@pytest.mark.slow
def test_a_million_models_are_a_short_line():
    data = [{"id": f"model-{n}"} for n in range(1_000_000)]
    with raw_serving(models=as_json({"data": data})) as server, pytest.raises(ModelError) as failed:
        load_server(server.url)
    assert one_line(failed.value, "#NAME", "model-7 and 999992 more")
    assert len(str(failed.value)) < 500


@pytest.mark.parametrize(
    "models",
    [
        response("<html>", "text/html"),
        response("[" * 100_000, "application/json"),
        as_json({"data": {"a": 1}}),
        as_json({"object": "list"}),
    ],
)
def test_a_list_that_is_none_is_one_line(models):
    with raw_serving(models=models) as server, pytest.raises(ModelError) as failed:
        load_server(server.url)
    assert one_line(failed.value)


def test_names_of_models_cannot_write_on_the_terminal():
    listed = {"data": [{"id": "a\x1b[2J\nb"}, {"id": "c" * 5000}]}
    with raw_serving(models=as_json(listed)) as server, pytest.raises(ModelError) as failed:
        load_server(server.url)
    assert one_line(failed.value)
    assert str(failed.value).isprintable()
    assert len(str(failed.value)) < 700


def test_numbers_of_ip_version_6_are_addresses():
    with raw_serving(response(stream(EVENTS)), host="::1") as server:
        assert "[::1]" in server.url
        assert parse_address(server.url).is_here
        assert text_of(said(server)) == TEXT


def test_a_slash_at_the_end_and_a_path_of_its_own_are_taken():
    with raw_serving(response(stream(EVENTS))) as server:
        base = server.url.removesuffix("/v1")
        for path in ("/v1/", "/v1//", "/api/openai/v1", ""):
            client = Client(parse_address(f"{base}{path}#m"), timeout=5)
            assert text_of(client.chat({"messages": []}, threading.Event())) == TEXT
    assert [head.split()[1] for head in server.heads] == [
        "/v1/chat/completions",
        "/v1/chat/completions",
        "/api/openai/v1/chat/completions",
        "/chat/completions",
    ]


def test_a_base_without_its_version_is_one_line_that_names_the_right_one():
    with serving() as server, pytest.raises(ModelError) as failed:
        load_server(server.url.removesuffix("/v1"))
    assert one_line(failed.value, f"try {server.url}")


def test_no_proxy_of_the_environment_is_used(monkeypatch):
    with serving() as server, serving() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        load_server(server.address)
        assert server.bodies
        assert not proxy.bodies
        assert not proxy.keys


@pytest.mark.parametrize("key", ["two words", "a\nb", "a\r\nX-Other: b", "schlüssel", "a\x00b"])
def test_a_key_that_is_none_is_one_line_that_does_not_repeat_it(monkeypatch, key):
    with serving() as server, pytest.raises(ModelError) as failed:
        load_server(server.address, key)
    assert one_line(failed.value, "PATHREASON_API_KEY")
    assert key not in str(failed.value)
    assert not server.keys


def test_a_line_break_behind_a_key_is_no_part_of_it(monkeypatch):
    with serving(key="right") as server:
        load_server(server.address, "right\n")
        assert set(server.keys) == {"right"}


def test_a_certificate_of_its_own_is_one_line_and_nothing_is_sent(tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key -out crt"
    subprocess.run(["openssl", *words.split()], cwd=tmp_path, check=True, capture_output=True)
    both = tmp_path / "both.pem"
    both.write_text((tmp_path / "key").read_text() + (tmp_path / "crt").read_text())
    with raw_serving(response(stream(EVENTS)), certificate=both) as server:
        with pytest.raises(ModelError) as failed:
            look_at_server(server.url)
        assert one_line(failed.value, "certificate", "trusted on this machine")
        assert not server.bodies
