import dataclasses
import json

import pytest

from napari_pathreason.engine import Job, ask, result_to_dict, token_line
from napari_pathreason.geometry import Box, Region
from napari_pathreason.types import Request


@pytest.fixture
def result(slide, performer, allocator, find, whole):
    return ask(Job(slide, Request(whole, find)), performer, allocator)


def with_tokens(result, **values):
    return dataclasses.replace(result, tokens=dataclasses.replace(result.tokens, **values))


def test_the_line_sums_up(result):
    line = token_line(
        dataclasses.replace(
            with_tokens(result, allocator=0, realised=64, native_windows=1024),
            region=Region(0, 0, 2048, 2048),
            pixels_decoded=200_704,
            seconds={"read": 0.1, "generate": 0.3},
        )
    )
    assert line == "64 of 1,024 visual tokens (-94 %), 0.2 of 4.2 Mpx decoded, 0.4 s"


@pytest.mark.parametrize(
    ("looked", "realised", "native", "start"),
    [
        (16, 64, 1024, "64 + 16 of 1,024 visual tokens (-92 %)"),
        (0, 64, 64, "64 of 64 visual tokens (0 %)"),
        (16, 64, 64, "64 + 16 of 64 visual tokens (+25 %)"),
    ],
)
def test_the_line_counts_what_the_allocator_spent(result, looked, realised, native, start):
    counted = with_tokens(result, allocator=looked, realised=realised, native_windows=native)
    assert token_line(counted).startswith(start)


def test_windows_on_glass_have_no_native_size(result):
    listed = with_tokens(result, allocator=0, realised=81, native_windows=0)
    assert token_line(listed).startswith("81 visual tokens, ")


def test_small_areas_do_not_read_as_zero(result):
    small = dataclasses.replace(result, region=Region(0, 0, 112, 112), pixels_decoded=12_544)
    assert "0.01 of 0.01 Mpx" in token_line(small)


def test_whole_tiles_of_a_small_region_are_told_as_such(result):
    small = dataclasses.replace(
        result, region=Region(0, 0, 512, 512), pixels_decoded=1_400_000, seconds={"read": 0.1}
    )
    assert token_line(small).endswith(" 1.4 Mpx decoded for 0.3, 0.1 s")


def test_json_holds_the_whole_account(result, marker):
    told = json.loads(json.dumps(result_to_dict(result), allow_nan=False))
    assert told["answer"] == "1 lesion"
    assert told["rationale"] == "dark spot"
    assert told["well_formed"] is True
    (found,) = told["detections"]
    assert found["label"] == "lesion"
    assert Box(*found["box"]) == result.detections[0].box
    tokens = told["tokens"]
    assert tokens["requested"] == 64
    assert tokens["allocator"] == 8
    assert tokens["saved"] == tokens["native_windows"] - tokens["realised"] - tokens["allocator"]
    assert told["slide"] == {
        "name": "marked.svs",
        "width": 2000,
        "height": 1500,
        "mpp": [0.5, 0.5],
        "mpp_source": "file",
    }
    assert told["region"] == [0, 0, 2000, 1500]
    assert set(told["seconds"]) == {"overview", "allocate", "read", "generate", "parse"}
    assert told["model"]["name"] == "finder"
    assert told["allocation"]["source"] == "policy"
    assert told["seed"] == 0
    assert told["level"] == 0


def test_json_says_null_where_nothing_is_known(slide, performer, allocator, find, whole):
    slide.mpp = None
    told = result_to_dict(ask(Job(slide, Request(whole, find, "native")), performer, allocator))
    assert told["slide"]["mpp"] is None
    assert told["slide"]["mpp_source"] == "unknown"
    assert told["tokens"]["requested"] is None
    assert told["allocation"]["probabilities"] is None
