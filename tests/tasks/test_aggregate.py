"""Windows together say what one view of the whole region says."""

import random

import pytest
from hypothesis import example, given, strategies as st

from napari_pathreason.geometry import Box, Region
from napari_pathreason.tasks import Aggregate, aggregate, is_vote
from napari_pathreason.types import Answer, Detection, Query, Reading, View

REGION = Region(2000, 1000, 1200, 900)
FIND = Query("detection", "", ("tumour", "cell"))
COUNT = Query("vqa", "How many nuclei are there?")
PRESENT = Query("vqa", "Is there tumour?", ("yes", "no"))
KIND = Query("subtyping", "", ("adenocarcinoma", "squamous cell carcinoma", "normal"))


def reading(region, text, number=0, role="window", boxes=(), **more):
    view = View(region, (64, 64), more.pop("tokens", 4), role, number)
    answer = Answer(more.pop("rationale", ""), text, (), bool(text), f"wrote {text}")
    return Reading((view,), answer, tuple(boxes), visual_tokens=view.tokens, **more)


def windows(columns, rows, overlap=0):
    """Windows over the region, row by row, each ``overlap`` px larger than its place."""
    w, h = REGION.width // columns, REGION.height // rows
    return [
        Region(
            REGION.x + min(x * w, REGION.width - w - overlap),
            REGION.y + min(y * h, REGION.height - h - overlap),
            w + overlap,
            h + overlap,
        )
        for y in range(rows)
        for x in range(columns)
    ]


def part_of(box, region):
    x1, y1, x2, y2 = box.corners
    left, top, right, bottom = region.box.corners
    x1, y1, x2, y2 = max(x1, left), max(y1, top), min(x2, right), min(y2, bottom)
    return Box(x1, y1, x2 - x1, y2 - y1) if x1 < x2 and y1 < y2 else None


def readings_of(query, regions, boxes, **more):
    """What a performer that makes no mistake answers in each window."""
    made = []
    for number, region in enumerate(regions, 1):
        parts = [part for box in boxes if (part := part_of(box, region))]
        middles = [(box.x + box.w / 2, box.y + box.h / 2) for box in boxes]
        inside = sum(
            region.x <= x < region.x + region.width and region.y <= y < region.y + region.height
            for x, y in middles
        )
        text = {
            FIND: f"{len(parts)} tumour" if parts else "none found",
            COUNT: str(inside),
            PRESENT: "yes" if parts else "no",
            KIND: "adenocarcinoma" if parts else "normal",
        }[query]
        found = [Detection("tumour", part, 0.9) for part in parts] if query == FIND else []
        made.append(reading(region, text, number, boxes=found, confidence=0.9, **more))
    return made


@st.composite
def lesions(draw):
    """Boxes in the region, some across borders of windows, well apart from each other."""
    boxes = []
    for x in range(0, REGION.width, 300):
        for y in range(0, REGION.height, 300):
            if draw(st.booleans()):
                left, top = draw(st.integers(1, 120)), draw(st.integers(1, 120))
                w, h = draw(st.integers(5, 155)), draw(st.integers(5, 155))
                boxes.append(Box(REGION.x + x + left, REGION.y + y + top, w, h))
    return boxes


def by_place(detections):
    return sorted(detections, key=lambda one: (one.box.y, one.box.x))


GRIDS = st.builds(windows, st.integers(1, 6), st.integers(1, 5), st.sampled_from((0, 40)))


@given(lesions(), GRIDS, st.sampled_from((FIND, PRESENT, KIND)))
def test_tiled_equals_untiled(boxes, regions, query):
    tiled = aggregate(query, readings_of(query, regions, boxes), REGION)
    whole = aggregate(query, readings_of(query, [REGION], boxes, role="picture"), REGION)
    assert tiled.answer.text == whole.answer.text
    assert tiled.confidence == pytest.approx(whole.confidence)
    assert by_place(tiled.detections) == by_place(whole.detections)
    assert len(regions) == 1 or list(tiled.detections) == by_place(tiled.detections)
    assert tiled.notes == whole.notes == ()


@given(lesions(), st.integers(1, 6), st.integers(1, 5))
def test_a_count_over_tiles_is_that_of_the_whole(boxes, columns, rows):
    regions = windows(columns, rows)
    regions = [
        Region(
            r.x,
            r.y,
            r.width if (i + 1) % columns else REGION.x + REGION.width - r.x,
            r.height if i < columns * (rows - 1) else REGION.y + REGION.height - r.y,
        )
        for i, r in enumerate(regions)
    ]
    readings = readings_of(COUNT, regions, boxes)
    told = aggregate(COUNT, readings, REGION)
    assert told.answer.text == str(len(boxes))
    assert told.estimate.total == len(boxes)
    assert told.estimate.read_share == 1


@pytest.mark.parametrize("query", [FIND, COUNT, PRESENT, KIND, Query("vqa", "What is it?")])
def test_a_picture_is_its_own_answer(query):
    one = reading(
        REGION, "3", role="picture", confidence=0.4, boxes=[Detection("cell", REGION.box)]
    )
    told = aggregate(query, [one], REGION)
    assert told.answer is one.answer
    assert told.confidence == 0.4
    assert told.detections == one.detections
    assert (told.support, told.notes) == ((0,), ())
    assert (told.estimate is not None) == (query == COUNT)


def test_boxes_cite_the_windows_that_saw_them():
    left, right, other = Region(0, 0, 100, 100), Region(80, 0, 100, 100), Region(160, 0, 100, 100)
    readings = [
        reading(left, "none found", 1, rationale="throughout: no tumour"),
        reading(other, "1 cell", 3, boxes=[Detection("cell", Box(170, 5, 5, 5))], rationale="a"),
        reading(right, "1 cell", 2, boxes=[Detection("cell", Box(170, 5, 5, 5))], rationale="b"),
    ]
    told = aggregate(FIND, readings, Region(0, 0, 260, 100))
    assert told.answer.text == "1 cell"
    assert told.answer.rationale == "window 3: a\nwindow 2: b"
    assert told.sources == ((1, 2),)
    assert told.support == (1, 2)
    assert told.confidence is None


def test_small_things_are_not_joined():
    left, right = Region(0, 0, 100, 100), Region(100, 0, 100, 100)
    boxes = [Detection("cell", Box(80, 0, 20, 20)), Detection("cell", Box(100, 5, 20, 20))]
    readings = [
        reading(left, "1 cell", 1, boxes=boxes[:1]),
        reading(right, "1", 2, boxes=boxes[1:]),
    ]
    assert aggregate(FIND, readings, Region(0, 0, 200, 100)).answer.text == "1 cell"
    assert aggregate(FIND, readings, Region(0, 0, 200, 100), apart=["cell"]).answer.text == "2 cell"


def test_a_zoom_that_does_not_see_a_thing_takes_it_away():
    window, zoom = Region(0, 0, 400, 400), Region(100, 100, 100, 100)
    first = reading(window, "1 cell", 1, boxes=[Detection("cell", Box(120, 120, 40, 40), 0.7)])
    again = reading(zoom, "none found", 1, "zoom", confidence=0.8)
    told = aggregate(FIND, [first, again], window)
    assert (told.answer.text, told.detections) == ("none found", ())
    unreadable = reading(zoom, "", 1, "zoom")
    told = aggregate(FIND, [first, unreadable], window)
    assert told.answer.text == "1 cell"
    assert told.notes == ("the reply of 1 of 2 views could not be read",)


def test_a_count_of_a_part_is_an_estimate_that_says_so():
    regions = windows(4, 3)
    readings = [reading(r, "12", n, rationale=f"r{n}") for n, r in enumerate(regions[:6], 1)]
    told = aggregate(COUNT, readings, REGION, regions[6:])
    assert told.answer.text == "144"
    (note,) = told.notes
    assert note.startswith("about 140 (95 % interval ")
    assert note.endswith("; 50 % of the specimen was read)")
    assert 72 <= told.estimate.low < 144 < told.estimate.high
    assert told.confidence is None
    assert told.support == (0, 1, 2, 3, 4, 5)
    assert "window 3: r3" in told.answer.rationale.splitlines()


def test_windows_without_a_number_are_not_read_and_not_none():
    regions = windows(4, 3)
    readings = [reading(r, "10", n) for n, r in enumerate(regions[:10], 1)]
    readings += [reading(regions[10], "", 11), reading(regions[11], "more than 9", 12)]
    told = aggregate(COUNT, readings, REGION)
    assert told.answer.text == "120"
    assert told.estimate.low >= 100
    assert told.estimate.read_share == pytest.approx(10 / 12)
    assert told.notes[1:] == (
        "window 12 says: more than 9",
        "the reply of 1 of 12 views could not be read",
    )
    assert told.answer.reply == "window 11: wrote "


def test_what_most_windows_cannot_count_is_not_counted():
    regions = windows(4, 3)
    silent = [reading(r, "cannot tell", n, confidence=0.9) for n, r in enumerate(regions[:10], 1)]
    numbers = [reading(r, "30", n, confidence=0.9) for n, r in enumerate(regions[10:], 11)]
    told = aggregate(COUNT, [*silent, *numbers], REGION)
    assert (told.answer.text, told.estimate) == ("cannot tell", None)
    assert told.confidence == pytest.approx(0.9 * 10 / 12)
    assert told.notes == ("2 of 12 views give a number",)
    assert set(told.support) == set(range(10))
    nobody = aggregate(COUNT, silent, REGION, regions[10:])
    assert nobody.answer.text == "cannot tell"
    assert nobody.answer.well_formed
    assert nobody.confidence == pytest.approx(0.9)
    assert nobody.notes == ("83 % of the specimen was read",)


def test_a_few_windows_that_cannot_count_are_as_if_not_read():
    regions = windows(4, 3)
    numbers = [reading(r, "10", n) for n, r in enumerate(regions[:8], 1)]
    silent = [reading(r, "cannot tell", n) for n, r in enumerate(regions[8:], 9)]
    told = aggregate(COUNT, [*numbers, *silent], REGION)
    assert told.answer.text == "120"
    assert told.notes[1:] == ("4 views say: cannot tell",)


def test_strata_belong_to_their_windows():
    """Empty windows and full ones, told apart; the lost one is among the full."""
    regions = windows(4, 3)
    strata = [0, 0, 0, 5, 5, 5]
    readings = [reading(r, "0", n) for n, r in enumerate(regions[:3], 1)]
    readings += [
        reading(regions[3], "50", 4),
        reading(regions[4], "50", 5),
        reading(regions[5], "", 6),
    ]
    told = aggregate(COUNT, readings, REGION, regions[6:], [*strata, *[0] * 6])
    assert told.answer.text == "150"


def test_zooms_and_overviews_count_nothing_twice():
    regions = windows(4, 3)
    overview = reading(REGION, "31", role="overview")
    readings = [reading(r, "10", n) for n, r in enumerate(regions, 1)]
    zoom = reading(Region(REGION.x + 5, REGION.y + 5, 90, 90), "7", 1, "zoom")
    again = reading(regions[0], "14", 2, "zoom", tokens=64)
    assert aggregate(COUNT, [overview, *readings, zoom], REGION).answer.text == "120"
    assert aggregate(COUNT, [overview, *readings, again], REGION).answer.text == "124"
    lost = [reading(r, "", n) for n, r in enumerate(regions, 1)]
    assert aggregate(COUNT, [overview, *lost], REGION).answer.text == "31"


def test_the_confidence_of_a_count_is_that_of_a_fifth():
    regions = windows(4, 3)
    readings = [reading(r, "10", n, confidence=0.8) for n, r in enumerate(regions, 1)]
    told = aggregate(COUNT, readings, REGION)
    assert told.confidence == pytest.approx(0.8)
    assert told.notes[0].startswith("120 (95 % interval 83 to 160; by the confidence of the win")
    part = aggregate(COUNT, readings[:6], REGION, regions[6:])
    assert part.confidence < told.confidence
    nothing = [reading(r, "0", n, confidence=0.7 + n / 100) for n, r in enumerate(regions)]
    assert aggregate(COUNT, nothing, REGION).confidence == 0.7
    assert aggregate(COUNT, nothing[:6], REGION, regions[6:]).confidence is None


def test_contradictions_are_said():
    regions = windows(4, 4)
    texts = ["adenocarcinoma"] * 3 + ["squamous cell carcinoma"] * 2 + ["normal"] * 10 + [""]
    readings = [
        reading(r, text, n, confidence=0.6, rationale=f"sees {text}")
        for n, (r, text) in enumerate(zip(regions, texts, strict=True), 1)
    ]
    told = aggregate(KIND, readings, REGION)
    assert told.answer.text == "adenocarcinoma"
    assert told.answer.rationale.splitlines()[0] == "window 1: sees adenocarcinoma"
    assert told.notes == (
        "10 of 16 windows say normal, 3 say adenocarcinoma, 2 say squamous cell carcinoma",
        "the reply of 1 of 16 views could not be read",
    )
    assert not told.answer.well_formed


def test_an_absence_in_a_part_says_how_much_was_read():
    regions = windows(4, 3)
    readings = [reading(r, "no", n, confidence=0.9) for n, r in enumerate(regions[:3], 1)]
    told = aggregate(PRESENT, readings, REGION, regions[3:])
    assert (told.answer.text, told.notes) == ("no", ("25 % of the specimen was read",))


@pytest.mark.parametrize(
    ("question", "texts", "text"),
    [
        ("Is there tumour?", ["No.", "Yes, at the left", "no"], "yes"),
        ("Is the tissue normal?", ["Yes", "no, tumour", "yes"], "no"),
        ("What tissue is this?", ["lung", "liver", "Lung"], "lung"),
    ],
)
def test_questions_without_choices(question, texts, text):
    regions = windows(3, 1)
    readings = [reading(r, t, n) for n, (r, t) in enumerate(zip(regions, texts, strict=True), 1)]
    assert aggregate(Query("vqa", question), readings, REGION).answer.text == text


@pytest.mark.parametrize("query", [FIND, COUNT, PRESENT, KIND])
def test_replies_that_cannot_be_read_are_no_answer(query):
    readings = [reading(r, "", n) for n, r in enumerate(windows(3, 2), 1)]
    told = aggregate(query, readings, REGION)
    assert not told.answer.readable
    assert not told.answer.well_formed
    assert told.notes == ("the reply of no view could be read",)
    assert told.confidence is None
    with pytest.raises(ValueError, match="no reading"):
        aggregate(query, [], REGION)


@example(4_228_695_844, COUNT)  # seven and a half
@given(st.integers(0, 2**32 - 1), st.sampled_from((FIND, COUNT, PRESENT, KIND)))
def test_the_order_of_reading_does_not_matter(seed, query):
    draw = random.Random(seed)
    boxes = [Box(2000 + draw.randrange(1100), 1000 + draw.randrange(800), 50, 60) for _ in range(9)]
    readings = readings_of(query, windows(4, 3, 60), boxes)
    one = aggregate(query, readings, REGION)
    other = aggregate(query, draw.sample(readings, len(readings)), REGION)
    assert isinstance(one, Aggregate)
    assert (one.answer.text, one.detections) == (other.answer.text, other.detections)
    assert one.confidence == pytest.approx(other.confidence)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("query", [COUNT, PRESENT, FIND, KIND])
def test_a_slide_of_twenty_thousand_windows_is_put_together_in_seconds(query):
    texts = {COUNT: "3", PRESENT: "no", FIND: "1 tumour", KIND: "normal"}
    grid = [Region(512 * x, 512 * y, 512, 512) for y in range(150) for x in range(140)]
    readings = []
    for number, region in enumerate(grid, 1):
        box = Detection("tumour", Box(region.x + 100, region.y + 100, 60, 80), 0.9)
        boxes = (box,) if query is FIND else ()
        text = "" if number % 500 == 0 else texts[query]  # some replies cannot be read
        readings.append(reading(region, text, number, boxes=boxes, confidence=0.9))
    whole = Region(0, 0, 140 * 512, 150 * 512)
    result = aggregate(query, readings, whole)
    if query is COUNT:
        assert int(result.answer.text) == 3 * len(grid)
    elif query is FIND:
        assert result.answer.text == f"{len(grid) - len(grid) // 500} tumour"
    else:
        assert result.answer.text == texts[query]


@given(st.lists(st.tuples(*[st.integers(0, 6)] * 2, *[st.integers(1, 4)] * 2), min_size=1))
def test_of_windows_within_others_the_wider_one_counts(places):
    """Held against each pair by itself."""
    regions = [Region(100 * x, 100 * y, 100 * w, 100 * h) for x, y, w, h in places]
    readings = [reading(region, "1", n, confidence=1.0) for n, region in enumerate(regions, 1)]
    order = sorted(
        range(len(regions)), key=lambda i: (-regions[i].box.area, -readings[i].visual_tokens, -i)
    )
    used = []
    for index in order:
        own = regions[index]
        for other in used:
            part = part_of(own.box, regions[other])
            if part is not None and part.area >= 0.9 * own.box.area:
                break
        else:
            used.append(index)
    result = aggregate(COUNT, readings, Region(0, 0, 1000, 1000))
    if len(readings) > 1:
        assert sorted(result.support) == sorted(used)


@pytest.mark.parametrize(
    ("query", "votes"),
    [
        (Query("vqa", "Are the nuclei dense or sparse?", ("dense", "sparse")), True),
        (Query("vqa", "Dense or sparse?", ("dense", "sparse", "cannot tell")), True),
        (Query("vqa", "What is this?", ("normal", "adenocarcinoma")), False),
        (Query("subtyping", "", ("adenocarcinoma", "squamous cell carcinoma")), False),
        (Query("vqa", "Is there tumour?", ("yes", "no")), False),
        (Query("vqa", "Where is it?", ("upper left", "lower right")), False),
        (COUNT, False),
        (FIND, False),
    ],
)
def test_windows_vote_on_what_each_tells_of_the_whole(query, votes):
    assert is_vote(query) is votes
