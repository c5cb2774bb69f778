"""Lists that training alone asks for."""

from demonstrator.objective import auxiliary_prompts
from napari_pathreason.training import Area, Facts, Sample

RED = Area(label="red cell", corners=(0, 0, 9, 9))
WHITE = Area(label="white cell", corners=(20, 20, 60, 60))


def _count(areas, known=("white cell", "red cell")):
    facts = Facts(known=known, areas=areas)
    asked = Sample(
        image="a.png",
        task="vqa",
        question="How many?",
        answer="1",
        region=(0, 0, 90, 90),
        facts=facts,
    )
    return [asked, asked.model_copy(update={"question": "Any?"})]


def test_a_list_of_each_label_is_asked_of_the_same_picture():
    asked = _count((RED, WHITE, RED))
    red, white = auxiliary_prompts(asked[0], ["red cell", "white cell"])
    assert (red.task, red.boxes, red.answer) == ("detection", (RED, RED), "")
    assert (white.choices, white.boxes) == (("white cell",), (WHITE,))
    for one in (red, white):
        assert (one.image, one.region, one.facts) == ("a.png", (0, 0, 90, 90), asked[0].facts)
        assert one == Sample.model_validate(one.model_dump())


def test_nothing_is_asked_of_a_picture_without_such_a_thing():
    for asked in (_count((WHITE,)), _count((RED,), known=("white cell",)), _count(())):
        assert auxiliary_prompts(asked[0], ["red cell"]) == []
    assert auxiliary_prompts(_count((RED,))[0], []) == []
