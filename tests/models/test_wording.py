from napari_pathreason.models import learn_wording, words_of
from napari_pathreason.tasks import TASKS
from napari_pathreason.types import Query

LYMPH, BLOOD, NUCLEI = range(3)
ASKED = [
    (LYMPH, Query("vqa", "Is there tumour in this field?", ("yes", "no"))),
    (LYMPH, Query("vqa", "Do you see any tumour here?", ("yes", "no"))),
    (LYMPH, Query("detection", "Mark every tumour.", ("tumour",))),
    (BLOOD, Query("vqa", "How many platelets are there in this field?")),
    (BLOOD, Query("detection", "Mark every cell.", ("white cell", "platelet"))),
    (BLOOD, Query("vqa", "Do you see any white cells here?", ("yes", "no"))),
    (NUCLEI, Query("vqa", "How many nuclei are there?")),
    (NUCLEI, Query("vqa", "Are the nuclei dense or sparse here?", ("dense", "sparse"))),
]


def words(query):
    return words_of(TASKS[query.task].messages(query))


def likely(query):
    wording = learn_wording([(kind, words(asked)) for kind, asked in ASKED], 3)
    return wording.likely(words(query), 3)


def test_words_are_those_of_the_user_alone():
    query = Query("vqa", "Is there Tumour?", ("yes", "no"))
    assert {"tumour", "yes", "no"} <= words(query)
    assert not {"pathologist", "assistant", "image"} & words(query)
    assert words_of([{"role": "user", "content": "Plain text"}]) == {"plain", "text"}


def test_a_question_is_known_by_its_subject_in_another_wording():
    assert likely(Query("vqa", "Could that be tumour at all?")) == [LYMPH]
    assert likely(Query("detection", options=("tumour",))) == [LYMPH]
    assert likely(Query("detection", options=("white cell",))) == [BLOOD]
    assert likely(Query("vqa", "Number of nuclei?")) == [NUCLEI]


def test_a_question_of_no_known_subject_may_be_about_anything():
    assert likely(Query("vqa", "Colour?")) == [LYMPH, BLOOD, NUCLEI]


def test_a_question_that_is_asked_more_often_counts_once():
    one = learn_wording([(kind, words(asked)) for kind, asked in ASKED], 3)
    again = learn_wording([(kind, words(asked)) for kind, asked in ASKED + ASKED[:1] * 9], 3)
    assert one == again
