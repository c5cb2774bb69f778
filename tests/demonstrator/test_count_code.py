"""Words of counts lie on a scale of their own, on which each can be the likeliest."""

from types import SimpleNamespace

import pytest
import torch

from demonstrator.codes import COUNT_WAVES, write_count_code
from demonstrator.losses import counts_to_write
from napari_pathreason.errors import QueryError

WIDTH = 8 * COUNT_WAVES
COUNTS = counts_to_write().nonzero().flatten()
UNLEARNT = 14 + 5
"""Row of 14, which is neither a count to be written nor a coordinate."""


def _model(width=WIDTH):
    words = torch.nn.Embedding(1010, width)
    torch.nn.init.zeros_(words.weight)
    with torch.no_grad():
        words.weight[:, : width // 2] = 0.5  # sines of coordinates
        words.weight[UNLEARNT] = 3.0
    return SimpleNamespace(get_input_embeddings=lambda: words), words.weight


def _tokenizer(numbers):
    return SimpleNamespace(get_vocab=lambda: {str(n): n + 5 for n in range(numbers)})


@pytest.fixture
def words():
    model, weight = _model()
    write_count_code(model, _tokenizer(1001), 10)
    return weight.detach()


def test_each_count_is_the_likeliest_where_it_is_meant(words):
    code = words[COUNTS + 5, WIDTH // 2 :]
    alike = code @ code.T
    assert (alike.argmax(dim=1) == torch.arange(len(COUNTS))).all()
    own = alike.diagonal()
    assert torch.allclose(own, own[:1].expand_as(own))  # none draws the others to itself
    other = (alike - torch.diag(own)).max(dim=1).values
    assert (other < 0.97 * own).all()


def test_a_ratio_is_as_far_wherever_it_lies(words):
    def apart(a, b):
        return float((words[a + 5] - words[b + 5]).norm())

    few, many = COUNTS[COUNTS >= 30][:2].tolist(), COUNTS[COUNTS >= 300][:2].tolist()
    assert apart(*few) == pytest.approx(apart(*many), rel=0.3)
    assert apart(1, 2) > 2 * apart(*few)


def test_coordinates_other_words_and_the_sines_of_all_stay(words):
    written = (words[:, WIDTH // 2 :] != 0).any(dim=1)
    coordinates = torch.arange(0, 1001, 10)
    alone = coordinates[~torch.isin(coordinates, COUNTS)]
    assert not written[alone + 5].any()
    assert not written[:5].any()
    assert not written[1006:].any()
    learnt = torch.arange(len(words)) != UNLEARNT
    assert (words[learnt, : WIDTH // 2] == 0.5).all()


def test_a_word_that_was_never_learnt_begins_anew(words):
    assert words[UNLEARNT, : WIDTH // 2].norm() == pytest.approx(0.5 * (WIDTH // 2) ** 0.5)
    code = words[:, WIDTH // 2 :]
    assert code[UNLEARNT].norm() == pytest.approx(float(code[COUNTS[3] + 5].norm()))


def test_numbers_of_several_tokens_are_refused():
    with pytest.raises(QueryError, match="one token each"):
        write_count_code(_model()[0], _tokenizer(10), 10)
    with pytest.raises(QueryError, match="at least"):
        write_count_code(_model(width=2 * COUNT_WAVES)[0], _tokenizer(1001), 10)
