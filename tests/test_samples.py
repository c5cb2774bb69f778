"""The pictures that ship with the plugin, and what may be asked of them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from npe2 import PluginManifest

from demonstrator.sets.tiles import TUMOUR_WHERE
from napari_pathreason import Region, open_slide
from napari_pathreason.engine import check_query
from napari_pathreason.reader import get_reader
from napari_pathreason.sample_data import (
    FOLDER,
    SAMPLE_KEY,
    SamplePicture,
    SampleQuestion,
    sample,
    sample_at,
    sample_questions,
    samples,
)
from napari_pathreason.training.convert import PHRASINGS
from napari_pathreason.viewer import SLIDE_KEY

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared/data"
EACH = pytest.mark.parametrize("shown", samples(), ids=lambda shown: shown.key)
LABELLED = [shown for shown in samples() if shown.key != "skin"]
ASKED = [(shown, question) for shown in samples() for question in shown.questions]
EACH_QUESTION = pytest.mark.parametrize(
    ("shown", "question"), ASKED, ids=[f"{s.key}-{q.query.question}" for s, q in ASKED]
)


def test_the_menu_offers_each_under_its_title() -> None:
    manifest = PluginManifest.from_distribution("napari-pathreason")
    offered = manifest.contributions.sample_data or []
    assert [(o.key, o.display_name) for o in offered] == [(s.key, s.title) for s in samples()]


@EACH
def test_the_reader_opens_it_and_says_which_it_is(shown: SamplePicture) -> None:
    reader = get_reader(str(shown.path))
    assert reader is not None
    ((_, attributes, _),) = reader(str(shown.path))
    metadata = attributes["metadata"]
    with metadata[SLIDE_KEY] as slide:
        assert metadata[SAMPLE_KEY] == shown.key
        assert str(FOLDER) not in repr(attributes)
        side = min(slide.width, slide.height, 256)
        pixels = slide.read_region(Region(0, 0, slide.width, slide.height), (side, side)).pixels
    assert pixels.std() > 10  # a picture, not paper


def test_the_scale_is_known_where_its_source_states_it() -> None:
    scales = {}
    for shown in samples():
        with open_slide(shown.path) as slide:
            scales[shown.key] = slide.info.mpp
    assert scales == {
        "lymph_node": pytest.approx((0.97, 0.97)),
        "blood": None,
        "nuclei": None,
        "skin": pytest.approx((0.499, 0.499)),
    }


def test_another_file_is_no_sample(tmp_path: Path) -> None:
    copy = tmp_path / sample("blood").file
    copy.write_bytes(sample("blood").path.read_bytes())
    assert sample_at(copy) is None
    assert sample_at(FOLDER / "README.md") is None
    assert sample_questions({}) == ()
    assert sample_questions({SAMPLE_KEY: "no such"}) == ()
    with pytest.raises(KeyError):
        sample("no such")


def test_a_layer_is_offered_what_the_model_knows_and_no_more() -> None:
    asked = sample_questions({SAMPLE_KEY: "blood"})
    assert asked == tuple(question.query for question in sample("blood").questions)
    assert "mitosis" not in str(asked)


@EACH
def test_its_licence_and_source_are_told(shown: SamplePicture) -> None:
    for file in (ROOT / "NOTICE.md", FOLDER / "README.md"):
        about = [part for part in _parts(file) if shown.file in part]
        assert about, file.name
        assert shown.licence.partition(" 1.0")[0] in about[0]
    assert shown.chosen


def _parts(file: Path) -> list[str]:
    """Items of a list, or rows of a table, each in one line."""
    text = file.read_text(encoding="utf-8").replace("\n- ", "\0").replace("\n|", "\0")
    return [" ".join(part.split()) for part in text.split("\0")]  # wherever its lines end


def test_the_notices_that_licences_ask_for() -> None:
    mit = (FOLDER / "LICENSE-BCCD.txt").read_text(encoding="utf-8")
    assert "Copyright (c) 2017 shenggan" in mit
    assert "The above copyright notice and this permission notice shall be included" in mit
    for file in (ROOT / "NOTICE.md", FOLDER / "README.md"):
        (nuclei,) = (part for part in _parts(file) if "nuclei.jpg" in part)
        for part in ("Mahbod", "Ellinger", "s41597-024-03117-2", "licenses/by/4.0", "JPEG"):
            assert part in nuclei


def test_together_they_are_small() -> None:
    sizes = [shown.path.stat().st_size for shown in LABELLED]
    assert sum(sizes) < 500_000


def test_nothing_of_the_file_of_questions_is_lost() -> None:
    raw = json.loads((FOLDER / "samples.json").read_text(encoding="utf-8"))
    known = {"key", "title", "file", "tissue", "licence", "source", "chosen"}
    for entry in raw:
        assert set(entry) <= known | {"questions", "beyond"}
        for asked in entry["questions"] + entry.get("beyond", []):
            assert set(asked) <= {"query", "truth", "demo"}
            assert set(asked["query"]) <= {"task", "question", "options"}


@EACH_QUESTION
def test_what_is_asked_can_be_asked_in_words_that_were_trained(
    shown: SamplePicture, question: SampleQuestion
) -> None:
    check_query(question.query, "auto")
    assert question.query.question in _trained()
    assert len(set(question.query.options)) == len(question.query.options)


def _trained() -> set[str]:
    cells = ("white cell", "platelet", "red cell")
    names = {*cells, *(f"{name}s" for name in cells), "nuclei", "tumour"}
    names.add("white cell and platelet")
    return {
        phrase.format(name)
        for kind in (*PHRASINGS, TUMOUR_WHERE)
        for phrase in kind.trained
        for name in names
    }


@EACH_QUESTION
def test_its_truth_is_an_answer_to_it(shown: SamplePicture, question: SampleQuestion) -> None:
    query, truth = question.query, question.truth
    if shown.key == "skin":  # has no labels
        assert truth is None
    elif query.task == "detection":
        with open_slide(shown.path) as slide:
            for box in str(truth).split("; "):
                label, _, numbers = box.partition(": ")
                x, y, width, height = map(int, numbers.split())
                assert label in query.options
                assert min(x, y) >= 0
                assert x + width <= slide.width
                assert y + height <= slide.height
    else:
        assert str(truth).isdigit() if not query.options else truth in query.options


def test_what_is_beyond_the_model_has_no_answer() -> None:
    beyond = [question for shown in samples() for question in shown.beyond]
    assert [(q.query.task, q.query.options) for q in beyond] == [("detection", ("mitosis",))]
    assert all(question.truth is None for question in beyond)


def test_the_tutorial_says_what_the_labels_answer() -> None:
    text = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
    for shown in samples():
        assert shown.title in text or shown.key == "blood"
        for asked in shown.questions:
            if asked.truth is not None:
                title = shown.title.partition(",")[0]
                assert f"| {title} | {asked.query.question} | {asked.truth} |" in text


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="needs the labelled images in ../shared")
def test_they_are_made_again_from_the_labelled_images(tmp_path: Path) -> None:
    made = _script().make_samples(DATA, tmp_path)
    for shown in LABELLED:
        with open_slide(shown.path) as ours, open_slide(tmp_path / shown.file) as again:
            whole = Region(0, 0, ours.width, ours.height)
            size = (ours.width, ours.height)
            pixels = [slide.read_region(whole, size).pixels for slide in (ours, again)]
        assert np.array_equal(*pixels)
        for question in shown.questions:
            assert question.truth in made[shown.key].values()


def _script() -> Any:
    spec = importlib.util.spec_from_file_location("make_samples", ROOT / "docs/make_samples.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
