"""What lies outside an outline is filled with the slide's background, and all of it is said."""

from dataclasses import replace

import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings, strategies as st

import napari_pathreason
from napari_pathreason.engine import (
    Job,
    ask,
    outline_at,
    read_masked,
    regions_together,
    result_to_dict,
)
from napari_pathreason.errors import QueryError, RegionError
from napari_pathreason.geometry import Box, Region, inside_outline
from napari_pathreason.models import LoadedModels
from napari_pathreason.slides import slide_from_arrays
from napari_pathreason.types import Query, Request
from tests.engine.test_several import JOINT, Comparer
from tests.support.windows import Seer, Tissue

GROUND, TISSUE = (240, 236, 238), (200, 120, 180)
REGION = Region(256, 128, 512, 512)
TRIANGLE = ((256.0, 128.0), (768.0, 128.0), (256.0, 640.0))
YES_NO = Query("vqa", "Is there a lesion?", ("yes", "no"))


@pytest.fixture
def stained():
    """Tissue in the middle of glass that is not quite white."""
    pixels = np.full((1024, 1024, 3), GROUND, np.uint8)
    pixels[100:900, 200:900] = TISSUE
    return slide_from_arrays([pixels], "stained.png")


@pytest.fixture
def looker(performer):
    return Seer(performer)


def shown(slide, looker, allocator, **more):
    request = Request(REGION, YES_NO, "native", **more)
    result = ask(Job(slide, request), looker, allocator)
    return looker.prompts[-1].pictures, result


def test_one_picture_shows_nothing_outside_the_outline(stained, looker, allocator):
    (picture,), result = shown(stained, looker, allocator, policy="one_view", outline=TRIANGLE)
    assert picture.shape == (512, 512, 3)
    rows, columns = np.mgrid[:512, :512]
    outside = rows + columns > 512
    inside = rows + columns < 510
    assert (picture[outside] == GROUND).all()
    assert (picture[inside] == TISSUE).all()
    assert result.views.fill == GROUND
    assert any("filled with the slide's background (rgb(240, 236, 238))" in w
               for w in result.warnings)  # fmt: skip
    told = result_to_dict(result)
    assert told["fill"] == list(GROUND)
    assert told["outline"] == [list(corner) for corner in TRIANGLE]


def test_what_a_model_is_shown_can_be_read_again(stained, looker, allocator):
    (picture,), result = shown(stained, looker, allocator, policy="one_view", outline=TRIANGLE)
    (view,) = result.views.views
    outline = outline_at(result.request, view.region)
    assert np.array_equal(read_masked(stained, view.region, view.size, outline).pixels, picture)


def test_without_an_outline_every_pixel_is_as_it_was_read(stained, looker, allocator):
    (picture,), result = shown(stained, looker, allocator, policy="one_view")
    assert np.array_equal(picture, stained.read_region(REGION, (512, 512)).pixels)
    assert result.views.fill is None
    assert stained.background is None  # nobody has looked for it
    assert not any("outline" in w for w in result.warnings)
    assert not {"fill", "outline"} & result_to_dict(result).keys()


def test_an_overview_of_one_picture_is_masked_too(stained, looker, allocator):
    looks = []

    class Overseer:
        overview_budget = 64

        def allocate(self, overview, query, native, effort):
            looks.append(overview)
            return allocator.allocate(overview, query, native, effort)

    request = Request(REGION, YES_NO, "auto", policy="one_view", outline=TRIANGLE)
    ask(Job(stained, request), looker, Overseer())
    (overview,) = looks
    assert (overview[-1, -1] == GROUND).all()


def test_windows_are_masked_and_what_is_outside_is_not_found(slide, performer, allocator, find):
    slide.marker = Box(1300, 300, 60, 60)
    tissue = Tissue(slide)
    seer = Seer(performer)
    whole = Region(0, 0, 2000, 1500)
    request = Request(whole, find, policy="uniform")
    free = ask(Job(tissue, request), seer, allocator)
    # a side runs through the windows that the marker lies in, and leaves it outside
    corners = ((0.0, 0.0), (1290.0, 0.0), (1290.0, 1500.0), (0.0, 1500.0))
    bound = ask(Job(tissue, replace(request, outline=corners)), seer, allocator)
    assert free.detections
    assert bound.readings
    assert not bound.detections
    assert bound.views.fill is not None


def test_each_of_several_regions_has_its_own_outline(stained, allocator):
    other = Region(300, 600, 256, 256)
    request = regions_together(Request(REGION, YES_NO, "native"), [REGION, other], [TRIANGLE, ()])
    comparer = Comparer(JOINT)
    result = ask(Job(stained, request), comparer, allocator)
    first, second = comparer.prompts[0].pictures
    assert (first[-1, -1] == GROUND).all()
    assert (second == TISSUE).all()
    assert result.views.fill == GROUND


@settings(max_examples=60, deadline=None)
@given(
    corners=st.lists(
        st.tuples(st.floats(-20, 120), st.floats(-20, 120)), min_size=3, max_size=7, unique=True
    ),
    size=st.tuples(st.integers(3, 24), st.integers(3, 24)),
)
def test_pixels_are_inside_where_their_centres_are(corners, size):
    polygon = shapely.Polygon(corners)
    assume(polygon.is_valid and polygon.area > 1)
    region = Region(0, 0, 100, 80)
    width, height = size
    inside = inside_outline(tuple(corners), region, size)
    x = (np.arange(width) + 0.5) * 100 / width
    y = (np.arange(height) + 0.5) * 80 / height
    grid = shapely.points(*np.meshgrid(x, y))
    near = shapely.distance(polygon.boundary, grid) < 1e-6  # a side itself is of either part
    expected = shapely.contains(polygon, grid)
    assert inside.shape == (height, width)
    assert (inside == expected)[~near].all()


def test_from_python_an_outline_is_asked_about_as_a_polygon_of_a_file(stained, looker, allocator):
    models = LoadedModels(looker, allocator)
    words = {"question": YES_NO.question, "choices": YES_NO.options, "budget": "native"}
    result = napari_pathreason.ask(
        stained, outline=TRIANGLE, policy="one_view", model=models, **words
    )
    (picture,) = looker.prompts[-1].pictures
    assert result.region == REGION  # its bounds
    assert result.request.outline == TRIANGLE
    (same,), _ = shown(stained, looker, allocator, policy="one_view", outline=TRIANGLE)
    assert np.array_equal(picture, same)
    wide = Region(200, 100, 600, 600)
    result = napari_pathreason.ask(stained, region=wide, outline=TRIANGLE, model=models, **words)
    assert (result.region, result.request.outline) == (wide, TRIANGLE)


@pytest.mark.parametrize(
    "outline",
    [((0, 0), (9, 9)), ((0, 0, 1), (9, 9, 1), (9, 0, 1)), ((0, 0), (9, 9), (9, float("nan")))],
)
def test_what_is_no_polygon_is_refused(stained, looker, allocator, outline):
    models = LoadedModels(looker, allocator)
    with pytest.raises(RegionError) as error:
        napari_pathreason.ask(stained, outline=outline, question="Is it?", model=models)
    assert "\n" not in str(error.value)


def test_an_outline_stands_beside_no_regions_and_no_earlier_answer(stained, looker, allocator):
    models = LoadedModels(looker, allocator)
    words = {"question": YES_NO.question, "outline": TRIANGLE, "model": models}
    with pytest.raises(QueryError, match="regions stand alone"):
        napari_pathreason.ask(stained, regions=[REGION, REGION], **words)
    _, first = shown(stained, looker, allocator, policy="one_view")
    with pytest.raises(QueryError, match="leave out region, outline"):
        napari_pathreason.ask(stained, after=first, **words)
