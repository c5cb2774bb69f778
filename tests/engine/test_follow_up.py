"""A question that follows on an answer: the same pictures, all that was said, and its account."""

from dataclasses import dataclass, field, replace

import pytest

from napari_pathreason.engine import (
    Failed,
    Job,
    Planned,
    ask,
    follow_up,
    plan_windows,
    regions_together,
    repeated_views,
    result_to_dict,
    run_job,
    said_before,
    token_line,
)
from napari_pathreason.errors import QueryError
from napari_pathreason.geometry import Region
from napari_pathreason.types import (
    Completion,
    GenerationSettings,
    Metadata,
    ModelInfo,
    Query,
    Request,
    ServerInfo,
    View,
)
from tests.engine.conftest import DIMS

PLACE = Region(200, 100, 640, 640)
FIRST = Query("vqa", "Is there tumour?", ("yes", "no"))
SECOND, THIRD = Query("vqa", "Where is it?"), Query("vqa", "How sure are you?")
LARGE = ModelInfo("large", "qwen3_vl", "relative", DIMS)
WORDS = 20


@dataclass
class Talker:
    """Numbers its answers, keeps what it was shown, and knows a prompt that it has seen."""

    info: ModelInfo = LARGE
    knows: bool = False
    prompts: list = field(default_factory=list)

    def generate(self, prompt, settings, cancel):
        self.prompts.append(prompt)
        visual = sum(h * w for h, w in prompt.shapes) // DIMS.token_px**2
        text = f"<think>thought</think><answer>answer {len(self.prompts)}</answer>"
        if "Choices" in str(prompt.messages[-1]):
            text = "<think>thought</think><answer>yes</answer>"
        kept = self.knows and len(prompt.messages) > 2
        words = WORDS * len(prompt.messages)
        yield text
        yield Completion(
            text,
            visual + words,
            visual,
            9,
            "stop",
            0.1,
            cached_tokens=visual + words - 2 * WORDS if kept else 0,
            cached_visual_tokens=visual if kept else 0,
        )


def first_of(slide, allocator, performer, **more):
    request = Request(PLACE, FIRST, **{"budget": 64, "policy": "one_view", **more})
    return ask(Job(slide, request), performer, allocator)


def roles(prompt):
    return [message["role"] for message in prompt.messages]


def said(prompt):
    return [
        part["text"]
        for message in prompt.messages
        for part in message["content"]
        if part["type"] == "text"
    ]


def test_a_follow_up_sees_the_same_and_knows_what_was_said(slide, allocator):
    performer = Talker()
    first = first_of(slide, allocator, performer)
    reads = list(slide.reads)
    second = ask(Job(slide, follow_up(first, SECOND)), performer, allocator)
    third = ask(Job(slide, follow_up(second, THIRD)), performer, allocator)
    assert [second.answer.text, third.answer.text] == ["answer 2", "answer 3"]
    assert slide.reads == reads * 3  # the same place at the same size
    for prompt in performer.prompts:
        assert (prompt.pictures[0] == performer.prompts[0].pictures[0]).all()
        assert len(prompt.pictures) == 1
    last = performer.prompts[-1]
    assert roles(last) == ["system", "user", "assistant", "user", "assistant", "user"]
    assert said(last)[1:] == [
        "Is there tumour? Choices: yes, no.",
        first.answer.reply,
        "Where is it?",
        second.answer.reply,
        "How sure are you?",
    ]
    assert third.region == first.region
    assert third.views.views == first.views.views
    assert said_before(third) == (("Is there tumour?", "yes"), ("Where is it?", "answer 2"))
    assert [turn["reply"] for turn in result_to_dict(third)["thread"]] == [
        first.answer.reply,
        second.answer.reply,
    ]
    assert result_to_dict(first)["thread"] == []


def test_pictures_are_paid_once_where_the_model_knows_them(slide, allocator):
    performer = Talker(knows=True)
    first = first_of(slide, allocator, performer)
    second = ask(Job(slide, follow_up(first, SECOND)), performer, allocator)
    visual = first.tokens.realised
    assert (second.tokens.realised, second.tokens.cached) == (0, visual)
    assert second.tokens.saved == first.tokens.saved
    assert second.tokens.spent == 0
    assert second.tokens.encoder_patches == 0
    assert f"0 + {visual} cached of 400 visual tokens" in token_line(second)
    assert 0 < second.tokens.flops < first.tokens.flops
    assert not [note for note in second.warnings if "visual tokens where" in note]


def test_where_it_does_not_know_them_they_are_paid_again(slide, allocator):
    performer = Talker()
    first = first_of(slide, allocator, performer)
    second = ask(Job(slide, follow_up(first, SECOND)), performer, allocator)
    assert (second.tokens.realised, second.tokens.cached) == (first.tokens.realised, 0)
    assert second.tokens.flops > first.tokens.flops


def test_what_is_kept_and_what_is_read_add_up_to_a_whole_reading(slide, allocator):
    """FLOPs of a prefix and of what follows are those of both together."""
    fresh, knowing = Talker(), Talker(knows=True)
    results = []
    for performer in (fresh, knowing):
        first = first_of(slide, allocator, performer)
        results.append(ask(Job(slide, follow_up(first, SECOND)), performer, allocator))
    whole, part = (result.tokens for result in results)
    reading = results[1].readings[0]
    from napari_pathreason.budgets import flops

    words = reading.cached_tokens - reading.cached_visual_tokens
    prefix = flops(DIMS, reading.cached_visual_tokens, words, 1)  # with the word that it gives
    head = 2 * DIMS.text_hidden * DIMS.vocabulary
    assert part.flops == pytest.approx(whole.flops - prefix + head)


def test_windows_and_regions_stand_in_one_prompt_as_they_did(tissue, allocator):
    performer = Talker()
    query = Query("vqa", "Describe what you see.")
    request = Request(Region(0, 0, 2000, 1500), query, 512, policy="uniform")
    joint = ask(Job(tissue, request), performer, allocator)
    other = Region(1300, 500, 400, 400)
    both = regions_together(Request(PLACE, query, 128), [PLACE, other])
    together = ask(Job(tissue, both), performer, allocator)
    for first in (joint, together):
        assert len(first.readings[0].views) > 1
        count = len(first.readings[0].views)
        shown = next(prompt for prompt in performer.prompts if len(prompt.pictures) == count)
        second = ask(Job(tissue, follow_up(first, SECOND)), performer, allocator)
        prompt = performer.prompts[-1]
        assert prompt.messages[:2] == shown.messages[:2]  # captions too
        assert all((a == b).all() for a, b in zip(prompt.pictures, shown.pictures, strict=True))
        assert second.readings[0].views == first.readings[0].views
        assert second.answer.readable


def test_windows_that_were_asked_by_themselves_are_shown_together(tissue, seer, allocator):
    request = Request(Region(0, 0, 2000, 1500), FIRST, 512, policy="uniform")
    first = ask(Job(tissue, request), seer, allocator)
    windows = [view for one in first.readings for view in one.views]
    assert len(first.readings) == len(windows) > 1
    performer = Talker()
    second = ask(Job(tissue, follow_up(first, SECOND)), performer, allocator)
    (prompt,) = performer.prompts
    assert len(prompt.pictures) == len(windows)
    assert said(prompt)[1].startswith("Window 1, ")
    assert f"<answer>{first.answer.text}</answer>" in str(prompt.messages[2])
    assert second.views.joint


def test_a_model_without_conversations_is_asked_anew_and_says_so(slide, allocator):
    performer = Talker(replace(LARGE, metadata=Metadata()))
    first = first_of(slide, allocator, performer)
    second = ask(Job(slide, follow_up(first, SECOND)), performer, allocator)
    assert roles(performer.prompts[-1]) == ["system", "user"]
    assert [note for note in second.warnings if "asked as a new question" in note]
    assert second.request.thread is None
    assert second.region == first.region
    taught = Talker(replace(LARGE, metadata=Metadata(conversation=True)))
    third = ask(Job(slide, follow_up(first, SECOND)), taught, allocator)
    assert len(roles(taught.prompts[-1])) == 4
    assert not [note for note in third.warnings if "new question" in note]


def test_the_plan_of_a_follow_up_is_known_before(slide, allocator):
    performer = Talker()
    first = first_of(slide, allocator, performer)
    job = Job(slide, follow_up(first, SECOND))
    (planned,) = (e for e in run_job(job, performer, allocator) if isinstance(e, Planned))
    assert planned.views.views == first.views.views
    assert plan_windows(job, LARGE).views == planned.views


def test_the_order_of_choices_is_checked_in_the_same_conversation(slide, allocator):
    performer = Talker()
    first = first_of(slide, allocator, performer)
    settings = GenerationSettings(check_order=True)
    result = ask(Job(slide, follow_up(first, FIRST, settings)), performer, allocator)
    assert len(roles(performer.prompts[-1])) == 4
    assert said(performer.prompts[-1])[-1].endswith("Choices: no, yes.")
    assert result.order is not None


def test_a_run_repeats_from_what_its_manifest_holds(slide, allocator):
    performer = Talker()
    first = first_of(slide, allocator, performer)
    second = ask(Job(slide, follow_up(first, SECOND)), performer, allocator)
    again = Job(slide, second.request, policy=repeated_views(second.views))
    ask(again, performer, allocator)
    assert performer.prompts[-1].messages == performer.prompts[-2].messages


def test_boxes_of_a_follow_up_lie_on_the_slide(slide, allocator, performer, marker):
    """The finder answers with the marker's box, whatever was said."""
    found = Query("detection", options=("lesion",))
    place = Region(800, 600, 640, 640)
    first = ask(Job(slide, Request(place, FIRST, 400)), Talker(), allocator)
    settings = GenerationSettings(zoom=False)
    second = ask(Job(slide, follow_up(first, found, settings)), performer, allocator)
    (one,) = second.detections
    assert one.box.corners == pytest.approx(marker.corners, abs=4)


def test_what_does_not_fit_is_refused_in_one_line(tissue, allocator):
    talker = Talker()
    query = Query("vqa", "Describe what you see.")
    request = Request(Region(0, 0, 2000, 1500), query, 512, policy="uniform")
    first = ask(Job(tissue, request), talker, allocator)
    for model, following, told in (
        (replace(LARGE, several=False), SECOND, "takes one picture"),
        (replace(LARGE, server=ServerInfo(pictures=2)), SECOND, "takes 2 pictures"),
        (LARGE, Query("detection", options=("a",)), "one picture at a time"),
    ):
        performer = Talker(model)
        *_, last = run_job(Job(tissue, follow_up(first, following)), performer, allocator)
        assert isinstance(last, Failed)
        assert told in last.reason
        assert "\n" not in last.reason
        assert not performer.prompts
    with pytest.raises(QueryError, match="many tiles"):
        follow_up(replace(first, request=None), SECOND)


def test_an_unreadable_reply_is_doubted_where_pictures_stand_together(slide, allocator):
    """Joint prompts say what their reply is worth, as one picture does."""

    class Mute(Talker):
        def generate(self, prompt, settings, cancel):
            yield Completion("", 40, 10, 1, "stop", 0.1)

    query = Query("vqa", "Which is darker?", ("the first", "the second"))
    both = regions_together(Request(PLACE, query, 128), [PLACE, Region(900, 700, 300, 300)])
    result = ask(Job(slide, both), Mute(), allocator)
    assert result.reliability.level == "none"
    again = ask(Job(slide, both, journal=result.readings), Mute(), allocator)
    assert again.reliability.level == "none"
    assert isinstance(result.readings[0].view, View)
