import pytest
from hypothesis import given, strategies as st

from napari_pathreason.geometry import Box, Region
from napari_pathreason.tasks import PLACES, THROUGHOUT, cited_places, cited_views, citing

REGION = Region(100, 200, 900, 600)


def test_places_of_the_evidence_phrases():
    cited = cited_places("upper left: tumour; centre: crowded nuclei; throughout: no tumour")
    assert [one.place for one in cited] == ["upper left", "centre", "throughout"]
    assert [one.text for one in cited] == [
        "upper left: tumour",
        "centre: crowded nuclei",
        "throughout: no tumour",
    ]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("A nest in the Top Left, and one at the bottom-right.", ["upper left", "lower right"]),
        ("Necrosis in the middle center.", ["centre"]),
        ("The center is pale", ["centre"]),
        ("concentric lamellae, left of the vessel", []),
        ("", []),
    ],
)
def test_places_of_free_prose(text, places):
    assert [one.place for one in cited_places(text)] == places


@given(st.text(alphabet="uprlowe centrft;:.\n", max_size=80))
def test_any_text_is_read(text):
    for one in cited_places(text):
        assert text[one.start :].startswith(one.text)


def test_places_tile_a_region():
    (cited,) = cited_places("upper right: tumour")
    assert cited.region_in(REGION) == Region(700, 200, 300, 200)
    areas = [cited_places(place)[0].region_in(Region(0, 0, 100, 50)).box.area for place in PLACES]
    assert sum(areas) == 100 * 50
    assert cited_places(THROUGHOUT)[0].region_in(REGION) == REGION
    assert cited_places("centre")[0].region_in(Region(5, 5, 1, 1)).width == 1


def test_what_is_said_of_a_box():
    rationale = "throughout: pale; upper left: crowded nuclei; upper left: tumour"
    box = Box(150, 250, 40, 40)
    assert citing(rationale, REGION, box, "tumour").text == "upper left: tumour"
    assert citing(rationale, REGION, box, "vessel").text == "upper left: crowded nuclei"
    assert citing(rationale, REGION, Box(900, 700, 10, 10), "tumour").text == "throughout: pale"
    assert citing("lower left: tumour", REGION, box, "tumour") is None


def test_places_in_a_line_of_a_view_are_the_places_of_that_view():
    rationale = "overview: centre: pale\nwindow 12: upper left: tumour; lower right: vessel"
    views = {"overview": REGION, "window 12": Region(5000, 6000, 300, 300)}
    assert [one.view for one in cited_places(rationale)] == ["overview", *["window 12"] * 2]
    regions = [one.region_in(REGION, views) for one in cited_places(rationale)]
    assert regions == [
        cited_places("centre")[0].region_in(REGION),
        Region(5000, 6000, 100, 100),
        Region(5200, 6200, 100, 100),
    ]
    assert citing(rationale, REGION, Box(5010, 6010, 9, 9), "x", views).text == "upper left: tumour"
    names = cited_views(rationale)
    assert [rationale[one.start :].startswith(f"{one.text}: ") for one in names] == [True, True]
    assert [one.region_in(REGION, views) for one in names] == list(views.values())


def test_a_rationale_of_one_picture_cites_no_view():
    rationale = "In window 3: centre: tumour"
    assert cited_views(rationale) == ()
    assert cited_places(rationale)[0].view == ""
