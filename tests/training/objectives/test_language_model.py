"""Several questions behind one picture are learnt just as each alone would be."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_pathreason.models import NORMALISATION, read_dims
from napari_pathreason.training.objectives import IGNORE, AnswerModel, TrainingQuestion, collate
from napari_pathreason.training.samples import Sample, View
from tests.support import byte_tokenizer, tiny_config


@pytest.fixture(scope="module", params=["qwen3_vl", "qwen2_5_vl"])
def taught(request):
    """A small model of either family, and its tokenizer."""
    from transformers import AutoModelForImageTextToText

    torch.manual_seed(0)
    tokenizer = byte_tokenizer()
    config = tiny_config(request.param, tokenizer)
    model = AutoModelForImageTextToText.from_config(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    return AnswerModel(model.eval()), tokenizer


def _question(side, text, target, seed, token_px):
    pixels = np.random.default_rng(seed).integers(0, 255, (token_px * side, token_px, 3), np.uint8)
    view = View(pixels, (1, side), target, (), (), (), (), (), None, (token_px, token_px * side))
    return TrainingQuestion(Sample(image="a.png", task="vqa", question=text), view, target)


def _both(question):
    """The same question about its picture and a smaller one, in one prompt."""
    views = [{"region": (0, 0, 8, 8), "caption": "Left."}, {"region": (8, 0, 8, 8)}]
    sample = Sample.model_validate(question.sample.model_dump() | {"views": views})
    small = replace(
        question.view, pixels=255 - question.view.pixels[: -question.view.pixels.shape[1]]
    )
    small = replace(small, grid=(1, question.view.grid[1] - 1))
    return TrainingQuestion(
        sample, replace(question.view, parts=(question.view, small)), question.target
    )


def test_questions_of_one_picture_do_not_see_each_other(taught):
    model, tokenizer = taught
    dims = read_dims(model.model.config.to_dict())
    pictures = [
        [
            _question(2, "How many?", "12", 1, dims.token_px),
            _question(2, "Any tumour at all?", "no", 1, dims.token_px),
        ],
        [_question(3, "Where is it?", "upper left", 2, dims.token_px)],
        [
            _both(_question(2, question, target, 3, dims.token_px))
            for question, target in (("Which one?", "the first"), ("How large?", "small"))
        ],
    ]

    def logits(asked):
        family = model.model.config.model_type
        batch = collate(asked, tokenizer, dims, NORMALISATION[family])
        return model(batch), batch.labels[batch.labels != IGNORE]

    with torch.no_grad():
        together, labels = logits(pictures)
        alone = [logits([[question]]) for picture in pictures for question in picture]
    assert torch.equal(labels, torch.cat([answer for _, answer in alone]))
    torch.testing.assert_close(together, torch.cat([each for each, _ in alone]), atol=1e-4, rtol=0)
