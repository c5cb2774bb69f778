"""Policies beside one another: costs are counted, prompts asked once, intervals over sources."""

import gzip
import hashlib
import json
import shutil
from collections import Counter
from dataclasses import replace
from random import Random
from threading import Event

import numpy as np
import pytest
from hypothesis import given, strategies as st
from PIL import Image

from demonstrator.large_regions import write_large_regions
from demonstrator.large_regions_table import __main__ as command
from demonstrator.large_regions_table.answers import (
    Answers,
    LargeAnswer,
    LargeQuestion,
    Scored,
    ask_in_every_way,
    from_line,
    read_questions,
    score,
)
from demonstrator.large_regions_table.choosing import read_way, things
from demonstrator.large_regions_table.figures import Resampling, make_table
from demonstrator.large_regions_table.memory import RememberingPerformer
from demonstrator.sets.large_regions import NUMBERS
from napari_pathreason.engine import policy_named
from napari_pathreason.errors import QueryError
from napari_pathreason.geometry import Box, Region
from napari_pathreason.models import FixedAllocator, find_checkpoint
from napari_pathreason.training import Area, Facts, Sample
from napari_pathreason.training.samples import Pictures
from napari_pathreason.types import (
    AnswerBox,
    Completion,
    GenerationSettings,
    Metadata,
    ModelDims,
    ModelInfo,
    OODScore,
    Prompt,
    TokenLogprobs,
)

DIMS = ModelDims(16, 2, 2, 32, 64, 2, 32, 64, 2, 1, 16, 300)
SETTINGS = GenerationSettings()
WINDOW = 288


class ColourReader:
    """Boxes the magenta of a picture of at least ``least`` px a token; answers by its colour."""

    def __init__(self):
        self.info = ModelInfo(
            "colours", "qwen3_vl", "relative", DIMS, metadata=Metadata(window=WINDOW)
        )
        self.prompts = 0

    def generate(self, prompt, settings, cancel):
        self.prompts += 1
        (pixels,) = prompt.pictures
        text = f"<think></think><answer>{self._answer(pixels, str(prompt.messages))}</answer>"
        visual = pixels.shape[0] * pixels.shape[1] // 32**2
        written = (TokenLogprobs(((text, -0.1), ("x", -3.0))),)
        yield text
        yield Completion(text, 30 + visual, visual, 5, "stop", 0.25, written, OODScore(0.5, ("a",)))

    def generate_batch(self, prompts, settings, cancel):
        return [list(self.generate(prompt, settings, cancel))[-1] for prompt in prompts]

    def _answer(self, pixels, asked):
        rows, columns = np.nonzero((pixels[..., 1] < 150) & (pixels[..., 0] > 150))
        if "bbox_2d" not in asked:
            return "yes" if rows.size else "no"
        if not rows.size:
            return "[]"
        height, width = pixels.shape[:2]
        corners = [
            columns.min() * 1000 / width,
            rows.min() * 1000 / height,
            (columns.max() + 1) * 1000 / width,
            (rows.max() + 1) * 1000 / height,
        ]
        return json.dumps([{"bbox_2d": corners, "label": "tumour"}])


@pytest.fixture(scope="module")
def data(labelled, tmp_path_factory):
    """Fields of lymph node alone, in both forms."""
    folder, out = tmp_path_factory.mktemp("lymph"), tmp_path_factory.mktemp("large")
    (folder / "lymph_node").symlink_to(labelled / "lymph_node")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NUMBERS, "lymph_node", 9)
        write_large_regions(folder, out, ["val"], sides=(1100, 1300))
    return out


def question(image="a", number=1, **more):
    values = {"image": image, "task": "vqa", "question": "How many?", "answer": str(number)}
    return LargeQuestion(
        "as_is", "val", more.pop("index", 0), Sample(**values), "nuclei", 0, more.pop("sources", {})
    )


def answer(one, way, text, **more):
    values = {"tokens": 10, "flops": 1e9, "flops_native": 4e9, "pixels": 100, "seconds": 1.0}
    values |= more
    return LargeAnswer(
        *one.key, one.sample.question, way, text, (), True, 0.5, ((0, 0, 9, 9, 10),), **values
    )


@pytest.mark.parametrize(
    ("words", "policy", "spent"),
    [
        ("one_view@64", "one_view", "64"),
        ("uniform@x16", "uniform", "x16"),
        ("again@high", "again", "high"),
        ("uniform@native", "uniform", "native"),
        ("native_windows", "native_windows", "native"),
    ],
)
def test_ways_are_read_by_name(words, policy, spent):
    way = read_way(words)
    assert (way.policy, way.spent) == (policy, spent)


@pytest.mark.parametrize("words", ["", "uniform", "best@64", "again@much", "one_view@x4", "x@x4"])
def test_what_is_no_way_is_refused(words):
    with pytest.raises(QueryError):
        read_way(words)


def test_a_question_is_about_what_it_names():
    facts = Facts(
        known=("white cell", "platelet"),
        areas=(
            Area(label="white cell", corners=(0, 0, 10, 10)),
            Area(label="platelet", corners=(20, 20, 25, 25)),
        ),
    )
    common = {"image": "a", "task": "vqa", "facts": facts}
    assert things(Sample(question="How many platelets?", **common)) == (Box(20, 20, 5, 5),)
    assert len(things(Sample(question="What is this?", **common))) == 2
    none = facts.model_copy(update={"areas": facts.areas[1:]})
    sample = Sample(question="Any white cells?", **(common | {"facts": none}))
    assert things(sample) == ()
    nuclei = Facts(known=("nucleus",), centres=((3, 4),))
    sample = Sample(question="How many nuclei?", **(common | {"facts": nuclei}))
    assert things(sample) == (Box(3, 4, 1, 1),)


def asked(data, ways, per_topic, tmp_path, performer=None, topic=""):
    questions = read_questions(data / "as_is/val.jsonl", per_topic, topic and [topic])
    pictures = Pictures(data / "as_is")
    found = ask_in_every_way(
        questions,
        [read_way(way) for way in ways],
        pictures,
        performer or ColourReader(),
        FixedAllocator(),
        Answers(tmp_path / "items.jsonl", "model"),
    )
    return list(found), pictures


def test_the_oracle_finds_every_lesion_at_a_share_of_the_cost(data, tmp_path):
    found, pictures = asked(
        data, ["oracle@x8", "native_windows"], 9, tmp_path, topic="boxes of tumour"
    )
    boxed = Counter()
    cost = Counter()
    for one, way, own in found:
        cost[way.policy] += own.flops
        scored = score(one, own, pictures)
        if scored.boxes is not None and one.lesion:
            boxed[way.policy] += scored.boxes[1]
            boxed["true"] += scored.boxes[3]
    assert boxed["true"] == 12  # six lesions, in two ways
    assert boxed["oracle"] == boxed["native_windows"] == 6
    assert cost["oracle"] < 0.3 * cost["native_windows"]


def test_a_budget_for_each_window_is_spent_on_windows(data, tmp_path):
    ways = ["uniform@x16", "surprise@x16", "one_view@64"]
    found, pictures = asked(data, ways, 3, tmp_path)
    for one, way, own in found:
        if way.policy == "one_view":
            assert len(own.views) == 1
            assert own.tokens <= 64
            continue
        region = pictures.region(one.sample)
        cover = round(region.width / WINDOW) * round(region.height / WINDOW)
        assert own.tokens <= 16 * cover
        if way.policy == "uniform":
            assert len(own.views) == cover
            assert own.tokens >= 12 * cover
        else:
            assert 2 <= len(own.views) <= cover / 2


def test_a_cut_run_goes_on_and_asks_nothing_twice(data, tmp_path):
    reader = ColourReader()
    first, _ = asked(data, ["uniform@x16"], 2, tmp_path, reader)
    before = reader.prompts
    again, _ = asked(data, ["uniform@x16"], 2, tmp_path, reader)
    assert reader.prompts == before > 0
    assert [own for _, _, own in again] == [own for _, _, own in first]
    more, _ = asked(data, ["uniform@x16", "one_view@64"], 2, tmp_path, reader)
    assert reader.prompts == before + len(more) // 2


def test_what_a_model_has_learnt_is_a_way_of_its_own():
    one = question()
    learned = replace(policy_named("surprise"), name="learned")
    for words in ("learned@low", "learned@x16", "learned@256"):
        way = read_way(words)
        assert way.request(one.sample, Region(0, 0, 9, 9)).policy == "learned"
    assert read_way("learned@low").own_policy(one.sample, learned) is None
    assert read_way("learned@x16").own_policy(one.sample, learned).policy is learned
    with pytest.raises(QueryError, match="pathreason train allocator"):
        read_way("learned@x16").own_policy(one.sample)


def test_kinds_of_questions_can_be_chosen(data):
    questions = read_questions(data / "as_is/val.jsonl", 2, ["tumour in a field"])
    assert [one.sample.topic for one in questions] == ["tumour in a field"] * 2
    with pytest.raises(QueryError, match="lung subtype"):
        read_questions(data / "as_is/val.jsonl", 2, ["lung subtype"])


def test_a_record_without_answers_is_refused(tmp_path):
    (tmp_path / "items.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(QueryError, match="holds no answers"):
        Answers(tmp_path / "items.jsonl", "model")


def keep(tmp_path, way, model="model", learned="windows"):
    """Keep an answer about a picture; how it is looked up, and the answer itself."""
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    one, answers = question("a.png"), Answers(tmp_path / "a.jsonl", model, learned)
    kept = answer(one, str(way), "3", of=answers.identity(one, way, Pictures(tmp_path)))
    answers.add(kept)

    def find(asked=one, model=model, learned=learned):
        answers = Answers(tmp_path / "a.jsonl", model, learned)
        return answers.find(asked, way, Pictures(tmp_path))

    return find, kept


def test_an_answer_to_another_question_does_not_count(tmp_path):
    find, kept = keep(tmp_path, read_way("one_view@64"))
    assert find() == kept
    for values in ({"question": "How many others?"}, {"choices": ("1", "2")}):
        values = {"image": "a.png", "task": "vqa", "question": "How many?"} | values
        other = Sample(answer="1", **values)
        assert find(LargeQuestion("as_is", "val", 0, other, "nuclei", 0, {})) is None


def test_an_answer_about_another_picture_does_not_count(tmp_path):
    find, _ = keep(tmp_path, read_way("one_view@64"))
    Image.new("RGB", (9, 9), "red").save(tmp_path / "a.png")
    assert find() is None


def test_answers_of_another_model_do_not_count(tmp_path):
    find, kept = keep(tmp_path, read_way("one_view@64"))
    assert find(learned="others") == kept
    assert find(model="other") is None
    find, _ = keep(tmp_path, read_way("learned@low"))
    assert find(learned="others") is None


def prompt(value):
    pixels = np.full((32, 32, 3), value, np.uint8)
    return Prompt((pixels,), [{"role": "user", "content": [{"type": "image"}]}])


def test_prompts_are_remembered_by_picture_words_and_weights(tmp_path):
    reader = ColourReader()
    performer = RememberingPerformer(reader, tmp_path / "a.sqlite", "weights")
    one, two = prompt(1), prompt(2)
    (first,) = performer.generate_batch([one], SETTINGS, Event())
    both = performer.generate_batch([one, two], SETTINGS, Event())
    assert both[0] == first
    assert reader.prompts == performer.asked_anew == 2
    assert list(performer.generate(one, SETTINGS, Event())) == [first]
    performer.close()
    later = RememberingPerformer(reader, tmp_path / "a.sqlite", "weights")
    assert later.generate_batch([two, one], SETTINGS, Event()) == [both[1], first]
    assert reader.prompts == 2
    later.generate_batch([Prompt(one.pictures, [])], SETTINGS, Event())
    later.generate_batch([one], GenerationSettings(begin="<think>"), Event())
    RememberingPerformer(reader, tmp_path / "a.sqlite", "others").generate_batch(
        [one], SETTINGS, Event()
    )
    assert reader.prompts == 5
    sampled = GenerationSettings(temperature=0.7)
    list(later.generate(one, sampled, Event()))
    list(later.generate(one, sampled, Event()))
    assert reader.prompts == 7


def test_rows_hold_means_costs_and_differences():
    sources = [{"s": 1}, {"t": 1}, {"s": 1, "t": 1}]
    questions = [
        question(image, number, index=index, sources=own)
        for index, (image, number, own) in enumerate(zip("abc", (10, 20, 40), sources, strict=True))
    ]
    answered = [
        (
            one,
            {
                "uniform@x16": answer(one, "uniform@x16", one.sample.answer),
                "one_view@64": answer(one, "one_view@64", "10", flops=2e9, flops_native=9e9),
            },
        )
        for one in questions
    ]
    ways = [read_way("uniform@x16"), read_way("one_view@64")]
    table = make_table(answered, ways, {"as_is": _WholePictures()}, [(ways[0], ways[1])])
    rows = {(r.policy, r.dataset, r.topic): r.values for r in table.rows}
    uniform, one_view = (rows[policy, "all", "all"] for policy in ("uniform", "one_view"))
    assert uniform["score"] == 1
    assert one_view["score"] == pytest.approx((1 + 0.5 + 0.25) / 3)
    assert one_view["low"] < one_view["score"] < one_view["high"]
    assert (uniform["share_of_native"], one_view["share_of_native"]) == (0.25, 0.5)
    # the best fixed count is 10: all, half, a quarter
    assert rows["constant", "nuclei", "all"]["score"] == pytest.approx(one_view["score"])
    assert "flops" not in rows["constant", "nuclei", "all"]
    whole = {d.dataset: d for d in table.differences}["all"]
    assert whole.difference == pytest.approx(1 - one_view["score"])
    assert whole.low <= whole.difference <= whole.high


class _WholePictures:
    def region(self, sample):
        return Region(0, 0, 100, 100)


@given(st.integers(0, 10**6), st.integers(2, 12))
def test_an_interval_is_wider_where_regions_share_sources(seed, count):
    rng = Random(seed)
    scores = [rng.random() for _ in range(count)]

    def spread(sources):
        draws = Resampling({f"{n:02}": own for n, own in enumerate(sources)}, draws=2000)
        scored = [
            Scored(question(f"{n:02}"), answer(question(f"{n:02}"), "w", "1"), value, None)
            for n, value in enumerate(scores)
        ]
        mean, ratios = draws.ratios(scored, lambda one: (one.score, 1.0))
        assert mean == pytest.approx(np.mean(scores))
        assert np.nanmin(ratios) >= min(scores) - 1e-9
        assert np.nanmax(ratios) <= max(scores) + 1e-9
        return np.nanstd(ratios)

    one_of_all = spread([{"s": 1}] * count)  # nothing is known of other sources
    own = spread([{str(n): 1} for n in range(count)])
    assert own >= 0.9 * one_of_all


def test_boxes_are_scored_at_half_and_at_any_overlap():
    sample = Sample(
        image="a",
        task="detection",
        question="",
        choices=("tumour",),
        boxes=(Area(label="tumour", corners=(0, 0, 20, 20)),),
    )
    one = LargeQuestion("as_is", "val", 0, sample, "lymph_node", 2, {"s": 1})
    loose = AnswerBox("tumour", 100, 100, 400, 400)
    own = LargeAnswer(
        *one.key, "", "uniform@x16", "1 tumour", (loose,), True, 0.5, (), 1, 1.0, 2.0, 0, 0.0
    )
    assert score(one, own, _WholePictures()).boxes == (0, 1, 1, 1)
    assert from_line(own.to_line()) == own
    table = make_table(
        [(one, {"uniform@x16": own})], [read_way("uniform@x16")], {"as_is": _WholePictures()}
    )
    values = table.rows[0].values
    assert (values["f1"], values["f1_touching"], values["recall_small"]) == (0, 1, 1)
    assert "recall_large" not in values


class _Learnt(FixedAllocator):
    """Has learnt to read all windows alike."""

    windows = policy_named("uniform")


def test_a_copy_of_the_model_may_bring_the_learned_allocator(data, tmp_path, monkeypatch, capsys):
    class Models:
        performer = ColourReader()

        def __init__(self, allocator):
            self.allocator = allocator

    monkeypatch.setattr(
        command,
        "load_models",
        lambda model, *_: Models(FixedAllocator() if model == "embedded" else _Learnt()),
    )
    folder, _ = find_checkpoint("embedded")
    copy, other = tmp_path / "copy", tmp_path / "other"
    for place in (copy, other):
        shutil.copytree(folder, place)
    (copy / "windows_allocator.safetensors").write_bytes(b"learnt")
    (other / "tokenizer.json").write_text("{}")
    words = ["embedded", "--data", str(data / "as_is" / "val.jsonl"), "--per-topic", "1"]
    words += ["--topics", "boxes of tumour", "--ways", "learned@x16", "--pairs", "--items"]
    words += [str(tmp_path / "items.jsonl"), "--memory", str(tmp_path / "m.sqlite")]
    results = tmp_path / "large.json"
    words += ["--json", str(results)]
    assert command.main(words) == 2
    assert command.main([*words, "--allocator", str(other)]) == 2
    assert "--allocator other answers with other weights" in capsys.readouterr().err
    assert command.main([*words, "--allocator", str(copy)]) == 0
    about = json.loads(results.read_text())["about"]
    assert about["learned_sha256"] == hashlib.sha256(b"learnt").hexdigest()
    assert str(tmp_path) not in results.read_text()


def test_the_command_writes_page_table_and_record(data, tmp_path, monkeypatch, capsys):
    class Models:
        performer, allocator = ColourReader(), FixedAllocator()

    monkeypatch.setattr(command, "load_models", lambda *_: Models)
    out = {name: tmp_path / f"large.{name}" for name in ("md", "json", "jsonl.gz", "png")}
    words = ["embedded", "--data", *(str(data / f / "val.jsonl") for f in ("as_is", "blended"))]
    words += ["--ways", "uniform@x16", "surprise@x16", "one_view@64", "--per-topic", "2"]
    words += ["--topics", "boxes of tumour", "where the tumour is"]
    words += ["--pairs", "surprise@x16:uniform@x16"]
    words += ["--items", str(tmp_path / "items.jsonl"), "--memory", str(tmp_path / "m.sqlite")]
    words += ["--markdown", str(out["md"]), "--json", str(out["json"])]
    words += ["--figure", str(out["png"])]
    assert command.main([*words, "--record", str(out["jsonl.gz"])]) == 0
    assert "**Score by set**" in capsys.readouterr().out
    last = out["md"].read_text().strip().splitlines()[-1]
    assert last.startswith("All figures: n 4 of val, as is, n 4 of val, blended, seed 0, version ")
    assert "`python -m demonstrator.large_regions_table embedded --data val.jsonl" in last
    results = json.loads(out["json"].read_text())
    assert results["about"]["made"]["version"]
    rows = [r for r in results["rows"] if r["set"] == "all" and r["policy"] != "constant"]
    assert {(r["form"], r["policy"]) for r in rows} == {
        (form, policy)
        for form in ("as_is", "blended")
        for policy in ("uniform", "surprise", "one_view")
    }
    for row in rows:
        assert row["low"] <= row["score"] <= row["high"]
        assert row["share_of_native"] > 0
    assert {d["set"] for d in results["differences"]} == {"lymph_node", "all"}
    with Image.open(out["png"]) as figure:
        assert figure.height > figure.width / 2  # a line of panels for each form
    record = [json.loads(line) for line in gzip.open(out["jsonl.gz"], "rt")]
    assert len(record) == 3 * results["about"]["questions"] == 3 * 2 * 4
    assert {"question", "truth", "score", "views", "way"} <= set(record[0])
    assert command.main([*words, "--ways", "best@64"]) == 2
    assert "best@64" in capsys.readouterr().err
