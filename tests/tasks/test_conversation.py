"""Messages of a conversation: pictures once, questions and replies by turns."""

from hypothesis import given, strategies as st

from napari_pathreason.tasks import TASKS, conversation
from napari_pathreason.types import Query, Turn

FIRST, SECOND = Query("vqa", "Is there tumour?", ("yes", "no")), Query("detection", options=("a",))


def test_a_question_by_itself_is_as_ever():
    for query in (FIRST, SECOND):
        for captions in ((), ("One.", "Two.")):
            own = TASKS[query.task].messages(query, captions, "resized")
            assert conversation((), query, captions, "resized") == own


@given(st.lists(st.sampled_from([FIRST, SECOND]), min_size=1, max_size=5), st.integers(1, 4))
def test_what_was_asked_stands_as_it_stood(queries, pictures):
    captions = [f"Picture {n}." for n in range(pictures)] if pictures > 1 else ()
    turns = [Turn(query, f"reply {n}") for n, query in enumerate(queries)]
    messages = conversation(turns, SECOND, captions)
    before = conversation(turns[:-1], queries[-1], captions)
    assert messages[: len(before)] == before
    assert messages[len(before)]["content"] == [{"type": "text", "text": turns[-1].reply}]
    roles = [message["role"] for message in messages]
    assert roles == ["system", *["user", "assistant"] * len(turns), "user"]
    images = [
        n for n, message in enumerate(messages) for p in message["content"] if p["type"] == "image"
    ]
    assert images == [1] * pictures
    assert messages[-1]["content"] == [TASKS["detection"].messages(SECOND)[-1]["content"][-1]]


def test_an_empty_reply_is_no_empty_message():
    (said,) = conversation([Turn(FIRST, " ")], FIRST)[2]["content"]
    assert said["text"].strip()
