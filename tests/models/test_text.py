from hypothesis import given, strategies as st

from napari_pathreason.models import TextStream
from tests.support import byte_tokenizer

TOKENIZER = byte_tokenizer()


def streamed(ids):
    stream = TextStream(TOKENIZER)
    pieces = [stream.push(token) for token in ids]
    return [*pieces, stream.close()]


@given(st.text(max_size=40).filter(lambda text: "<|" not in text))
def test_any_text_streams_back_whole(text):
    ids = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    pieces = streamed(ids)
    assert "".join(pieces) == text
    assert all("\ufffd" not in piece for piece in pieces[:-1] if "\ufffd" not in text)


@given(st.lists(st.integers(0, len(TOKENIZER) - 1), max_size=60))
def test_pieces_join_to_what_the_tokenizer_makes_of_any_ids(ids):
    assert "".join(streamed(ids)) == TOKENIZER.decode(ids, skip_special_tokens=True)


def test_plain_letters_come_at_once():
    ids = TOKENIZER("abc", add_special_tokens=False)["input_ids"]
    assert streamed(ids) == ["a", "b", "c", ""]
