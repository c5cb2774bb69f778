"""One question over every tile: its answers as a map, as shares of the tissue and as objects."""

import csv
import json
from dataclasses import replace
from threading import Event

import numpy as np
import pytest
import tifffile
from hypothesis import given, strategies as st
from PIL import Image

from napari_pathreason import QueryError, classify
from napari_pathreason.exports import read_geojson
from napari_pathreason.models import FixedAllocator, LoadedModels
from napari_pathreason.slide_run import (
    NO_CLASS,
    ClassShare,
    Progress,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunSettings,
    TileRecord,
    class_colours,
    class_shares,
    lay_tiles,
)
from napari_pathreason.types import (
    Calibration,
    Completion,
    Metadata,
    Query,
    Reliability,
    Topic,
)

SIDE = 200
DARK, LIGHT = (150, 60, 120), (230, 160, 200)


@pytest.fixture
def teller(spots):
    """A model that says whether a picture is dark; of one that is nearly black, nonsense."""

    class Teller(spots.finder):
        info = replace(spots.finder.info, name="teller")

        def generate(self, prompt, settings, cancel):
            (pixels,) = prompt.pictures
            self.seen.append(pixels.shape)
            mean = float(pixels[..., 0].mean())
            word = "perhaps" if mean < 60 else "dark" if mean < 200 else "light"
            text = f"<think>it is {mean:.0f}</think><answer>{word}</answer>"
            yield text
            yield Completion(text, 40, 20, 10, "stop", 0.1)

    return Teller


@pytest.fixture
def halves(tmp_path):
    """1000 x 800 px: two of five columns of tiles dark, one tile black, the lowest row glass."""
    pixels = np.full((800, 1000, 3), LIGHT, np.uint8)
    pixels[:, : 2 * SIDE] = DARK
    pixels[:SIDE, -SIDE:] = (40, 20, 30)
    pixels[3 * SIDE :] = 250
    path = tmp_path / "halves.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def settings(spots):
    return replace(
        spots.settings, task="vqa", question="How is it?", options=("dark", "light"), overlap=0,
        tile=SIDE,
    )  # fmt: skip


@pytest.fixture
def classes(run, halves, teller, settings, tmp_path):
    """Run over `halves`."""

    def go(folder=tmp_path / "classes", performer=None, **more):
        return run(folder, performer or teller(), path=halves, **{"settings": settings, **more})

    return go


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_every_tile_has_a_class_or_none(classes, tmp_path):
    outcome = classes()[-1].outcome
    dark, light, none = outcome.classes
    assert (dark.name, light.name, none.name) == ("dark", "light", NO_CLASS)
    assert (dark.tiles, light.tiles, none.tiles) == (6, 8, 1)
    assert dark.area_mm2 == pytest.approx(6 * (SIDE * 0.5e-3) ** 2)
    assert dark.share == pytest.approx(6 / 15)
    assert sum(one.share for one in outcome.classes) == pytest.approx(1)
    assert outcome.result.answer.text == "light 53 % of the tissue, dark 40 %"
    assert outcome.lesions == ()
    assert outcome.result.query.options == ("dark", "light")


def test_the_map_lies_over_the_slide(classes, tmp_path):
    classes()
    path = tmp_path / "classes" / "class_map.ome.tif"
    assert tifffile.imread(path).tolist() == [
        [1, 1, 2, 2, 3],
        [1, 1, 2, 2, 2],
        [1, 1, 2, 2, 2],
        [0, 0, 0, 0, 0],
    ]
    with tifffile.TiffFile(path) as file:
        told = file.ome_metadata
    assert 'PhysicalSizeX="100.0"' in told
    assert "0 not asked, 1 dark, 2 light, 3 no reliable answer" in told


def test_qupath_gets_each_place_once_and_no_class_where_there_is_no_answer(classes, tmp_path):
    classes()
    whole, *tiles = read_geojson(tmp_path / "classes" / "tiles.geojson")
    assert whole.object_type == "annotation"
    assert {tile.object_type for tile in tiles} == {"tile"}
    assert sum(tile.box.area for tile in tiles) == 1000 * 600
    names = [tile.label for tile in tiles]
    assert (names.count("dark"), names.count("light"), names.count("")) == (6, 8, 1)
    colours = {tile.label: tile.colour for tile in tiles}
    assert len(set(colours.values())) == 3
    (none,) = (tile for tile in tiles if not tile.label)
    assert none.metadata["reliability"] == "none"
    assert none.name == "tile 4"
    assert tiles[0].metadata["rationale"] == "it is 150"


def test_tables(classes, tmp_path):
    classes()
    folder = tmp_path / "classes"
    table = rows(folder / "classes.csv")
    assert [(row["class"], row["tiles"]) for row in table] == [
        ("dark", "6"), ("light", "8"), (NO_CLASS, "1"),
    ]  # fmt: skip
    assert sum(float(row["share_of_tissue"]) for row in table) == pytest.approx(1)
    tiles = rows(folder / "tiles.csv")
    assert [row["answer"] for row in tiles[:3]] == ["dark", "dark", "light"]
    assert tiles[0]["reliability"] == "uncertain"  # nobody has measured this model
    assert (tiles[4]["state"], tiles[4]["boxes"]) == ("unknown", "")
    told = json.loads((folder / "manifest.json").read_text())
    assert [one["tiles"] for one in told["classes"]] == [6, 8, 1]
    assert told["settings"]["options"] == ["dark", "light"]


def test_a_run_that_was_cut_goes_on_and_writes_the_same(classes, teller, spots, tmp_path):
    cancel, first = Event(), teller()
    with pytest.MonkeyPatch.context() as patch:
        add = teller.generate

        def cut(self, *words):
            if len(self.seen) == 6:
                cancel.set()
            yield from add(self, *words)

        patch.setattr(teller, "generate", cut)
        ended = classes(performer=first, cancel=cancel)[-1]
    assert isinstance(ended, RunCancelled)
    assert 0 < ended.done < 15
    second = teller()
    events = classes(performer=second)
    assert isinstance(events[-1], RunFinished)
    assert len(second.seen) == 15 - ended.done
    classes(tmp_path / "whole")
    assert spots.files_of(tmp_path / "classes") == spots.files_of(tmp_path / "whole")
    (again,) = classes(performer=None)
    assert again.already


def test_a_file_that_was_changed_is_written_anew(classes, teller, tmp_path):
    classes()
    (tmp_path / "classes" / "classes.csv").write_text("changed")
    silent = teller()
    assert not classes(performer=silent)[-1].already
    assert silent.seen == []
    assert len(rows(tmp_path / "classes" / "classes.csv")) == 3


def test_a_folder_of_lesions_takes_no_classes(classes, spots, tmp_path):
    folder = tmp_path / "lesions"
    classes(folder, spots.finder(), settings=replace(spots.settings, tile=SIDE))
    (event,) = classes(folder)
    assert isinstance(event, RunFailed)
    assert "task detection (now vqa)" in event.reason


def test_whole_numbers_are_the_same_run(settings):
    numbers = {"mpp": 1, "overlap": 0, "min_tissue": 0}
    whole = replace(settings, **numbers)
    assert repr(whole) == repr(replace(settings, **{k: float(v) for k, v in numbers.items()}))


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"question": " "}, "question is empty"),
        ({"options": ("dark",)}, "at least two classes"),
        ({"task": "subtyping", "options": ()}, "at least two classes"),
        ({"options": ("dark", "Dark ")}, "classes 'dark' and 'Dark ' are the same"),
        ({"options": tuple(map(str, range(300)))}, "300 classes; a map has at most 250"),
        ({"overlap": -0.1}, "overlap"),
    ],
)
def test_wrong_settings_are_one_line(settings, wrong, word):
    with pytest.raises(QueryError, match=word) as error:
        replace(settings, **wrong).check()
    assert "\n" not in str(error.value)


def test_answers_that_are_no_classes_are_refused_before_anything_is_read(classes, teller, settings):
    silent = teller()
    words = replace(settings, question="What do you see?", options=())
    (event,) = classes(performer=silent, settings=words)
    assert isinstance(event, RunFailed)
    assert "give the choices" in event.reason
    assert silent.seen == []


def test_a_question_has_the_choices_of_the_training(classes, teller, settings):
    asked = Query("vqa", "Is it dark?", ("yes", "no"))
    teller.info = replace(
        teller.info,
        metadata=Metadata((Topic("dark", "yes/no", frozenset({"dark"}), asked),)),
        calibration=Calibration(),
    )
    outcome = classes(settings=replace(settings, question="Is it dark?", options=()))[-1].outcome
    assert [one.name for one in outcome.classes] == ["yes", "no", NO_CLASS]


def test_from_python(halves, teller, settings):
    models = LoadedModels(teller(), FixedAllocator(16))
    seen = []
    outcome = classify(
        halves, "How is it?", ["dark", "light"],
        model=models, tile=SIDE, mpp=0.5, slide_mpp=0.5, budget="native", batch=3,
        watch=seen.append,
    )  # fmt: skip
    assert [one.tiles for one in outcome.classes] == [6, 8, 1]
    assert any(isinstance(event, Progress) for event in seen)
    with pytest.raises(QueryError, match="two classes"):
        classify(halves, model=models)


LEVELS = st.sampled_from(["reliable", "uncertain", "none"])


@given(st.data())
def test_shares_are_of_all_tissue_that_was_asked(data):
    from napari_pathreason.exports import UsedModel
    from napari_pathreason.slide_run import FORMAT, Identity, RunPlan
    from napari_pathreason.types import ModelDims, ModelInfo, SlideInfo

    names = ("a", "b", "c")
    columns, height = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    slide = SlideInfo("s", columns * 100, height * 100, (0.5, 0.25), "file")
    tiles = tuple(
        replace(tile, tissue=data.draw(st.floats(0.02, 1)))
        for tile in lay_tiles(slide.width, slide.height, (100, 100), 0)
    )
    settings = RunSettings("vqa", names, "which?")
    model = ModelInfo("m", "f", "relative", ModelDims(16, 2, 2, 32, 64, 2, 32, 64, 2, 1, 16, 300))
    used = UsedModel("m", "", "cpu", "")
    plan = RunPlan(
        str(FORMAT), "", "", Identity(slide, "", settings, ""), used, model, {}, 1, 0, tiles
    )
    answers = st.sampled_from([*names, "else", ""])
    records = [
        TileRecord(
            tile.index, answer=data.draw(answers), reliability=Reliability(data.draw(LEVELS))
        )
        for tile in tiles
        if data.draw(st.booleans())
    ]
    shares = class_shares(plan, records)
    assert [one.name for one in shares] == [*names, NO_CLASS]
    assert sum(one.tiles for one in shares) == len(records)
    assert sum(one.share for one in shares) == pytest.approx(1 if records else 0)
    assert sum(one.area_mm2 for one in shares) == pytest.approx(len(records) * 50 * 25e-6)
    for place, name in enumerate(names):
        sure = [r for r in records if r.answer == name and r.reliability.level != "none"]
        assert shares[place] == ClassShare(
            name,
            len(sure),
            sum(r.reliability.level == "uncertain" for r in sure),
            pytest.approx(len(sure) * 50 * 25e-6),
            pytest.approx(sum(tiles[r.index].tissue for r in sure) * 50 * 25e-6),
            pytest.approx(
                sum(tiles[r.index].tissue for r in sure)
                / (sum(tiles[r.index].tissue for r in records) or 1)
            ),
        )


@given(st.lists(st.text("abcdefgno ", min_size=1), min_size=2, max_size=60, unique_by=str.casefold))
def test_no_two_classes_have_one_colour(names):
    colours = class_colours(names)
    assert len(set(colours)) == len(names) == len(colours)
    assert all(0 <= value <= 255 for colour in colours for value in colour)


def test_what_is_absent_is_dull():
    yes, no = class_colours(("yes", "no"))
    assert max(no) - min(no) < 60 < max(yes) - min(yes)
