"""An item is made of a reply, first and again; of boxes those that zooms left."""

from dataclasses import replace

import pytest

from napari_pathreason.tasks import TASKS
from napari_pathreason.training import read_samples
from napari_pathreason.training.evaluation import SMALLEST, Scorer, from_line, to_line
from napari_pathreason.training.samples import Pictures, read_view, region_target, score_target
from napari_pathreason.types import Answer, AnswerBox

BOX = '<think>{}</think><answer>[{{"bbox_2d":[0,0,{},100],"label":"{}"}}]</answer>'


@pytest.fixture(scope="module")
def scorer(converted):
    samples = read_samples(converted / "test.jsonl")
    names = [f"slide {n % 2}" for n in range(len(samples))]
    return Scorer(samples, Pictures(converted), 32, groups=names)


def test_labels_are_those_of_a_picture_that_was_read(converted):
    pictures = Pictures(converted)
    for sample in read_samples(converted / "test.jsonl"):
        view = read_view(sample, pictures, SMALLEST, 32)
        assert region_target(sample, pictures.region(sample)) == score_target(sample, view)


def test_an_item_survives_its_line_and_is_scored_alike_again(scorer):
    for index, sample in enumerate(scorer.samples):
        for said in ("yes", "7", "[]", BOX.format("throughout: tumour", 500, "tumour"), "<think>"):
            answer = TASKS[sample.task].parse(said, sample.query)
            item = scorer.item(index, "model", answer, 64, size=(64, 32), seconds=0.5)
            assert item.reply == said
            assert item.group == f"slide {index % 2}"
            kept = from_line(to_line(item))
            assert kept == item
            assert not kept.lacks
            assert scorer.again(kept) == item
            assert scorer.again(replace(kept, score=0.5, answer="x", truth="x")) == item


def test_boxes_that_closer_looks_left_are_scored(scorer):
    index = next(n for n, s in enumerate(scorer.samples) if s.task == "detection")
    sample = scorer.samples[index]
    label = sample.choices[0]
    answer = TASKS["detection"].parse(BOX.format("", 50, label), sample.query)
    mended = AnswerBox(label, 0, 0, 1000, 1000)
    other = AnswerBox("something else", 0, 0, 9, 9)
    item = scorer.item(index, "model", replace(answer, boxes=(mended,)))
    assert scorer.again(replace(item, boxes=(mended, other))) == item
    assert item.matched[label][1] == 1
    none = scorer.again(replace(item, boxes=()))
    assert (none.answer, none.matched[label][1]) == ("none found", 0)
    unreadable = scorer.again(replace(item, reply=item.reply[:40]))
    assert (unreadable.answer, unreadable.boxes, unreadable.score) == ("", (), 0.0)


def test_an_older_line_tells_what_it_lacks(scorer):
    item = scorer.item(0, "constant", Answer("", "yes"))
    line = to_line(item)
    assert from_line(line).lacks == ()
    older = from_line(line.replace('"reply"', '"rationale"').replace('"boxes"', '"found"'))
    assert older.lacks == ("reply", "boxes")
