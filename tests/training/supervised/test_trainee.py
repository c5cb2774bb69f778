"""Several questions behind one picture are learnt just as each alone would be."""

import numpy as np
import pytest
import torch

from napari_pathreason.models import NORMALISATION, byte_tokenizer, read_dims, tiny_config
from napari_pathreason.training.samples import Piece, Sample, View
from napari_pathreason.training.supervised import IGNORE, Question, Trainee, Writer, collate


@pytest.fixture(scope="module", params=["seeing", "qwen3_vl", "qwen2_5_vl"])
def trainee(request):
    """The small model with its heads, and plain ones of both families."""
    from transformers import AutoModelForImageTextToText

    torch.manual_seed(0)
    tokenizer = byte_tokenizer()
    seeing = request.param == "seeing"
    config = tiny_config("qwen3_vl" if seeing else request.param, tokenizer)
    model = AutoModelForImageTextToText.from_config(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    if seeing:
        return Trainee(model.eval(), 64, torch.arange(0, 101), 1), tokenizer
    return Writer(model.eval()), tokenizer


def _question(side, text, target, seed, cell):
    pixels = np.random.default_rng(seed).integers(0, 255, (cell * side, cell, 3), np.uint8)
    view = View(pixels, (1, side), target, (), (), (), (), (), None, (cell, cell * side))
    return Question(Sample(image="a.png", task="vqa", question=text), view, [Piece(target)])


def test_questions_of_one_picture_do_not_see_each_other(trainee):
    model, tokenizer = trainee
    dims = read_dims(model.model.config.to_dict())
    pictures = [
        [
            _question(2, "How many?", "12", 1, dims.token_px),
            _question(2, "Any tumour at all?", "no", 1, dims.token_px),
        ],
        [_question(3, "Where is it?", "upper left", 2, dims.token_px)],
    ]

    def logits(asked):
        family = model.model.config.model_type
        batch = collate(asked, tokenizer, dims, NORMALISATION[family], 10)
        said = model(batch)
        return getattr(said, "logits", said), batch.labels[batch.labels != IGNORE]

    with torch.no_grad():
        together, labels = logits(pictures)
        alone = [logits([[question]]) for picture in pictures for question in picture]
    assert torch.equal(labels, torch.cat([answer for _, answer in alone]))
    torch.testing.assert_close(together, torch.cat([each for each, _ in alone]), atol=1e-4, rtol=0)
