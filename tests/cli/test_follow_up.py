"""``pathreason ask --then``: a conversation in one command, through a server and through none."""

import json

import pytest

from napari_pathreason import QueryError, ask
from tests.support.servers import ollama, serving, vllm

pytestmark = pytest.mark.usefixtures("own_folders")
YES_NO = ("--question", "Is there tumour?", "--choices", "yes,no", "--policy", "one_view")


def turns(body):
    return [(m["role"], type(m["content"]).__name__) for m in body["messages"]]


@pytest.mark.parametrize("dialect", [vllm, ollama])
def test_a_conversation_is_asked_shown_kept_and_repeated(shell, picture, tmp_path, dialect):
    manifest, transcript, report = (tmp_path / f"a.{end}" for end in ("json", "jsonl", "html"))
    files = ("--manifest", manifest, "--transcript", transcript, "--report", report)
    with serving(dialect()) as server:
        model = ("--model", server.address)
        done = shell("ask", picture, *YES_NO, "--then", "Where?", "--then", "Sure?", *model, *files)
        assert done.code == 0, done.err
        asked = [body for body in server.questions if len(body["messages"]) > 2]
        assert turns(asked[-1]) == [
            ("system", "str"),
            ("user", "list"),  # with the picture
            ("assistant", "str"),
            ("user", "str"),
            ("assistant", "str"),
            ("user", "str"),
        ]
        reply = "<think>dark pixels</think><answer>yes</answer>"
        assert asked[-1]["messages"][2]["content"] == reply
        count = len(server.questions)
        again = shell("ask", picture, "--from", manifest, "--json", "-", *model)
        assert again.code == 0, again.err
        assert "differs" not in again.err
        repeated = [body for body in server.questions[count:] if len(body["messages"]) == 6]
        assert repeated[-1]["messages"] == asked[-1]["messages"]
    assert "Before       Is there tumour? -> yes" in done.out
    assert done.out.count("Question     ") == 3
    first, second, third = map(json.loads, transcript.read_text().splitlines())
    assert first["thread"] == []
    assert [turn["question"] for turn in third["thread"]] == ["Is there tumour?", "Where?"]
    assert second["tokens"]["realised"] == first["tokens"]["realised"]  # a server is sent it again
    assert "Follows on: Is there tumour?" in report.read_text()
    assert len(json.loads(again.out)) == 3


def test_the_embedded_kind_is_asked_anew_and_says_so(shell, picture, trained):
    done = shell("ask", picture, *("--question", "How many nuclei are there?", "--then", "Where?"))
    assert done.code == 0, done.err
    assert "asked as a new question" in " ".join(done.out.split())
    assert "Before" not in done.out


def test_what_follows_on_a_failure_is_not_asked(shell, picture):
    with serving(vllm(several=0)) as server:
        done = shell("ask", picture, *YES_NO, "--then", "Where?", "--model", server.address)
    assert done.code == 2
    assert "Traceback" not in done.err


def test_a_plan_has_no_follow_up(shell, picture, loads):
    done = shell("ask", picture, *YES_NO, "--then", "Where?", "--show-views")
    assert done.code == 2
    assert "leave out --then" in done.err


def test_python_asks_on(picture):
    with serving() as server:
        words = {"model": server.address, "policy": "one_view"}
        first = ask(picture, question="Is there tumour?", choices=("yes", "no"), **words)
        second = ask(picture, question="Where?", after=first, model=server.address)
        assert len(server.bodies[-2]["messages"]) == 4
        assert second.request.thread.views.views == first.views.views
        with pytest.raises(QueryError, match="leave out region"):
            ask(picture, question="Where?", after=first, budget=4, model=server.address)
