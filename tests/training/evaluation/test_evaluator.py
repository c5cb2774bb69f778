"""The evaluator: the table against performers whose score is known beforehand."""

import math
from dataclasses import replace

import pytest

from napari_pathreason.models import FixedAllocator
from napari_pathreason.training import read_samples
from napari_pathreason.training.evaluation import (
    Evaluator,
    Run,
    Scorer,
    constant_items,
    others,
    pick,
    table,
)
from napari_pathreason.training.samples import Pictures
from napari_pathreason.types import Completion, Metadata, OODScore, TokenLogprobs

RUN = Run("always")


@pytest.fixture(scope="module")
def tiles(converted):
    samples = read_samples(converted / "train.jsonl")
    return [s for s in samples if s.topic == "lung subtype"], Pictures(converted)


def _ask(tiles, performer, budgets=(4,), condition="model"):
    samples, pictures = tiles
    evaluator = Evaluator(samples, pictures, performer, FixedAllocator())
    return [item for budget in budgets for item in evaluator.run(budget, condition)]


def test_confidence_and_strangeness_stand_in_the_items(tiles, always):
    class Telling(always):
        def generate(self, prompt, settings, cancel):
            choice = (("normal", -0.5), ("adenocarcinoma", -1.5))
            frame = ("<think></think><answer>", 0.0), ("</answer>", 0.0)
            written = tuple(map(TokenLogprobs, ((frame[0],), choice, (frame[1],))))
            is_ood = OODScore(1.5, ("lung",))
            yield self.text
            yield Completion(self.text, 10, 4, 5, "stop", 0.0, written, is_ood)

    items = _ask(tiles, Telling("<think></think><answer>normal</answer>"))
    assert {item.ood for item in items} == {1.5}
    expected = 1 / (1 + math.exp(-1.0))
    assert [item.confidence for item in items] == pytest.approx([expected] * len(items))
    assert {(i.confidence, i.ood) for i in _ask(tiles, always("x"))} == {(None, None)}


def test_a_constant_performer_scores_its_share(tiles, always):
    samples, pictures = tiles
    share = sum(s.answer == "normal" for s in samples) / len(samples)
    items = _ask(tiles, always("<think>x: y</think><answer>normal</answer>"))
    rows = table([*items, *constant_items(Scorer(samples, pictures, 32))], RUN)
    (row,) = [row for row in rows if row.topic == "lung subtype"]
    assert row.values["score"] == pytest.approx(share)
    assert row.values["low"] <= row.values["score"] <= row.values["high"]
    assert row.values["constant"] >= row.values["score"]
    assert row.values["tokens"] == 4
    assert row.values["confirmed"] == row.values["shuffled"] == 0.0
    assert (row.task, row.budget) == ("subtyping", "4")


def test_text_only_stands_beside_not_among(tiles, always):
    performer = always("<think></think><answer>normal</answer>")
    shown, blank = _ask(tiles, performer), _ask(tiles, performer, condition="text_only")
    for row in table(shown + blank, RUN):
        assert row.values["n"] == len(tiles[0])
        assert row.values["text_only"] == row.values["score"]


def test_without_a_rationale_stands_beside(tiles, always):
    class Reasoner(always):
        def generate(self, prompt, settings, cancel):
            said = settings.begin or "<think>x: y</think><answer>"
            text = f"{said}{'adenocarcinoma' if settings.begin else 'nothing'}</answer>"
            yield Completion(text, 10, 4, 5, "stop", 0.0)

    conditions = ("model", "unreasoned")
    shown, unreasoned = (_ask(tiles, Reasoner(""), condition=condition) for condition in conditions)
    assert {item.answer for item in unreasoned} == {"adenocarcinoma"}
    (row, *_) = table([*shown, *unreasoned], RUN)
    share = sum(s.answer == "adenocarcinoma" for s in tiles[0]) / len(tiles[0])
    assert share > 0
    assert row.values["unreasoned"] == pytest.approx(share)
    assert row.values["score"] == 0


def test_blank_pictures_do_not_score_above_text_alone(tiles, always):
    """A reader who is always right knows no more from them than one who never looks."""
    names = ("adenocarcinoma", "squamous cell carcinoma", "normal")

    class Reader(always):
        def generate(self, prompt, settings, cancel):
            shade = round(
                (float(prompt.pictures[0][..., 0].mean()) - 150) / 30
            )  # as the tiles were made
            self.text = f"<think></think><answer>{names[min(max(shade, 0), 2)]}</answer>"
            yield from super().generate(prompt, settings, cancel)

    shown, blank = _ask(tiles, Reader("")), _ask(tiles, Reader(""), condition="text_only")
    blind = [_ask(tiles, always(f"<think></think><answer>{n}</answer>")) for n in names]
    means = [sum(item.score for item in items) / len(items) for items in blind]
    assert all(item.score == 1 for item in shown)
    assert sum(item.score for item in blank) / len(blank) <= max(means) < 1


def test_a_picture_of_one_size_is_asked_once(tiles, always):
    performer = always("<think></think><answer>normal</answer>")
    items = _ask(tiles, performer, budgets=(64, 256, None))  # 224 px: 49 tokens at the most
    assert performer.asked == len(tiles[0])
    assert [item.budget for item in items[:: len(tiles[0])]] == [64, 256, None]


def test_asked_together_as_alone_but_for_the_seconds(converted, batching):
    samples = read_samples(converted / "val.jsonl")
    found = {}
    for together in (1, 5):
        performer = batching()
        evaluator = Evaluator(
            samples, Pictures(converted), performer, FixedAllocator(), together=together
        )
        items = [item for budget in (4, 64) for item in evaluator.run(budget)]
        found[together] = sorted(items, key=lambda item: (item.budget, item.index))
        assert bool(performer.passes) == (together > 1)
        assert max(performer.passes, default=1) <= together
    for alone, joint in zip(found[1], found[5], strict=True):
        assert replace(alone, seconds=0.0) == replace(joint, seconds=0.0)
        assert not math.isnan(alone.seconds)
    untimed = [item for item in found[5] if math.isnan(item.seconds)]
    assert 0 < len(untimed) < len(found[5])
    assert {item.topic for item in found[5] if not math.isnan(item.seconds)} == {
        sample.kind for sample in samples
    }
    assert all("seconds" in row.values for row in table(found[5], RUN))


def test_true_evidence_holds_here_and_not_elsewhere(tiles, always):
    samples, _ = tiles
    kinds = {s.answer for s in samples}
    said = "<think>throughout: adenocarcinoma</think><answer>adenocarcinoma</answer>"
    items = _ask(tiles, always(said))
    for item, sample in zip(items, samples, strict=True):
        assert item.confirmed == (sample.answer == "adenocarcinoma")
    assert len(kinds) > 1
    for index, other in enumerate(others(samples, 0)):
        assert other is not None
        assert items[index].shuffled == items[other].confirmed


def test_others_are_other_pictures_of_the_topic(converted):
    samples = read_samples(converted / "train.jsonl")
    found = others(samples, 1)
    assert found == others(samples, 1)
    assert found != others(samples, 2)
    for sample, other in zip(samples, found, strict=True):
        if other is not None:
            assert samples[other].kind == sample.kind
            assert (samples[other].image, samples[other].region) != (sample.image, sample.region)


def test_pick_is_by_topic_and_seed(converted):
    samples = read_samples(converted / "train.jsonl")
    chosen = pick(samples, 2, 0)
    assert chosen == pick(samples, 2, 0)
    kinds = [s.kind for s in chosen]
    assert max(kinds.count(kind) for kind in kinds) == 2
    assert set(kinds) == {s.kind for s in samples}


def test_a_model_is_measured_beyond_what_users_are_held_to(converted, batching):
    """Its replies may hold up to few visual tokens, and its labels be others: it is asked."""
    performer = batching()
    held = Metadata(labels=("glomerulus",), max_visual_tokens=4)
    performer.info = replace(performer.info, metadata=held)
    samples = pick(read_samples(converted / "val.jsonl"), 2, 0)
    evaluator = Evaluator(samples, Pictures(converted), performer, FixedAllocator(), together=8)
    items = list(evaluator.run(None))
    assert len(items) == len(samples)
    assert max(item.tokens for item in items) > 4
