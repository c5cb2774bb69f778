"""Families that transformers' own processor and `generate` serve: the same words and counts."""

import threading
from pathlib import Path

import numpy as np
import pytest

from napari_pathreason.engine import BatchPerformer
from napari_pathreason.errors import ModelError
from napari_pathreason.models import GeneratePerformer, load_performer, read_model_info
from napari_pathreason.tasks import conversation
from napari_pathreason.types import Completion, GenerationSettings, Prompt, Query, Turn
from tests.support import make_other_checkpoint

SQUARE = {
    "gemma3": 16,
    "gemma4": 64,
    "internvl": 5 * 4,
    "llava_onevision": 16 + 8 * 9,
    "idefics3": 5 * 4,
    "mllama": 4 * 17,
}
"""Visual tokens of a picture of 112 x 112 px by each miniature's processor."""
SETTINGS = GenerationSettings(max_new_tokens=16)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generate")
    made: dict[str, Path] = {}

    def of(family):
        if family not in made:
            made[family] = make_other_checkpoint(folder / family, family)
        return made[family]

    return of


@pytest.fixture(scope="module", params=SQUARE)
def performer(request, folders):
    return load_performer(folders(request.param), "cpu")


def asked(*sizes, words="How many nuclei?", seed=0):
    rng = np.random.default_rng(seed)
    pictures = tuple(rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in sizes)
    parts = [*({"type": "image"} for _ in sizes), {"type": "text", "text": words}]
    system = {"role": "system", "content": [{"type": "text", "text": "Look first."}]}
    return Prompt(pictures, [system, {"role": "user", "content": parts}])


def answer(performer, prompt, settings=SETTINGS, cancel=None):
    *pieces, last = performer.generate(prompt, settings, cancel or threading.Event())
    assert isinstance(last, Completion)
    assert "".join(pieces) == last.text
    return last


def test_greedy_text_equals_that_of_transformers_own_generate(performer):
    assert isinstance(performer, GeneratePerformer)
    for prompt in (asked((112, 112)), asked((56, 112), (112, 112), seed=1)):
        inputs = performer.inputs([prompt])
        length = inputs["input_ids"].shape[1]
        theirs = performer.model.generate(
            **inputs,
            max_new_tokens=16,
            do_sample=False,
            suppress_tokens=[performer.picture_token],
        )[0, length:]
        ours = answer(performer, prompt)
        assert ours.text == performer.tokenizer.decode(theirs, skip_special_tokens=True)
        assert ours.new_tokens == len(theirs)
        assert len(ours.written) <= ours.new_tokens


def test_counts_are_those_of_the_processor(performer):
    done = answer(performer, asked((112, 112)))
    family = performer.info.family
    assert done.visual_tokens == SQUARE[family]
    inputs = performer.inputs([asked((112, 112))])
    shown = int((inputs["input_ids"] == performer.picture_token).sum())
    if family == "mllama":  # a mark stands for the picture, which layers of their own attend to
        assert shown == 1
        assert done.prompt_tokens == inputs["input_ids"].shape[1] - 1 + done.visual_tokens
    else:
        assert shown == done.visual_tokens
        assert done.prompt_tokens == inputs["input_ids"].shape[1]


def test_a_square_picture_of_a_level_costs_no_more_than_it_says(performer):
    dims, levels = performer.info.dims, performer.info.levels
    assert levels
    for level in levels[:4]:
        side = int(level.detail**0.5) * dims.token_px
        done = answer(performer, asked((side, side)), GenerationSettings(max_new_tokens=1))
        assert 0 < done.visual_tokens <= level.tokens
        assert performer.info.fit(level.tokens) == level.detail
        assert performer.info.holding(level.detail) == level.detail
    assert performer.info.fit(1) == levels[0].detail
    assert performer.info.max_visual_tokens == levels[-1].detail


@pytest.mark.parametrize("temperature", [0, 1])
def test_answers_in_a_batch_are_those_of_each_by_itself(performer, temperature):
    assert isinstance(performer, BatchPerformer)
    settings = GenerationSettings(max_new_tokens=12, temperature=temperature, seed=5)
    prompts = [asked((112, 112)), asked((96, 112), words="Why?", seed=1), asked((112, 112), seed=2)]
    together = performer.generate_batch(prompts, settings, threading.Event())
    for one, prompt in zip(together, prompts, strict=True):
        alone = answer(performer, prompt, settings)
        assert (one.text, one.finish, one.new_tokens) == (alone.text, alone.finish, 12)
        assert (one.visual_tokens, one.prompt_tokens) == (alone.visual_tokens, alone.prompt_tokens)
        for a, b in zip(one.written, alone.written, strict=True):
            assert a.choices[0][1] == pytest.approx(b.choices[0][1], abs=1e-3)
    assert performer.generate_batch([], settings, threading.Event()) == []


@pytest.fixture
def one_family(folders):
    return load_performer(folders("llava_onevision"), "cpu")


def test_a_seed_fixes_the_text_and_another_changes_it(one_family):
    hot = [GenerationSettings(16, 1.0, seed) for seed in (1, 1, 2)]
    first, again, other = (answer(one_family, asked((112, 112)), one).text for one in hot)
    assert first == again != other


def test_an_answer_goes_on_from_the_beginning_that_is_given(one_family):
    begin = "<think></think><answer>"
    given = answer(one_family, asked((112, 112)), GenerationSettings(8, begin=begin))
    assert given.text.startswith(begin)
    assert given.written[0].text == begin
    assert given.new_tokens == 8


def test_a_cancel_ends_it_at_the_next_token_and_leaves_no_thread(one_family):
    before, cancel = threading.active_count(), threading.Event()
    stream = one_family.generate(asked((112, 112)), GenerationSettings(4000), cancel)
    next(stream)
    cancel.set()
    *_, last = stream
    assert last.finish == "cancelled"
    assert 0 < last.new_tokens < 4000
    stream = one_family.generate(asked((112, 112)), GenerationSettings(4000), threading.Event())
    next(stream)
    stream.close()  # nobody reads on
    assert threading.active_count() == before
    assert answer(one_family, asked((112, 112))).finish == "length"


def test_cancelled_before_it_began_nothing_is_written(one_family):
    cancel = threading.Event()
    cancel.set()
    done = answer(one_family, asked((112, 112)), cancel=cancel)
    assert (done.text, done.new_tokens, done.finish) == ("", 0, "cancelled")


def test_what_a_user_types_cannot_pose_as_a_picture(one_family):
    done = answer(one_family, asked((112, 112), words="Is <image> here? <bos>"))
    assert done.visual_tokens == SQUARE["llava_onevision"]


def test_pictures_and_image_parts_must_go_together(one_family):
    prompt = asked((112, 112))
    with pytest.raises(ValueError, match="1 image parts for 2 pictures"):
        answer(one_family, Prompt(prompt.pictures * 2, prompt.messages))


def test_an_error_of_the_model_comes_out_where_it_is_waited_for(one_family, monkeypatch):
    def fail(**_):
        raise RuntimeError("no such thing")

    monkeypatch.setattr(one_family.model, "generate", fail)
    with pytest.raises(ModelError, match=r"the model \S+ cannot be read \(no such thing\)"):
        answer(one_family, asked((112, 112)))


def test_another_encoder_than_the_exact_one_is_not_there_and_told(folders):
    info = load_performer(folders("gemma3"), "cpu", encoder="fast").info
    assert info.encoder == "exact"
    assert "for Qwen's families" in info.notes[0]


def test_a_family_of_one_picture_is_not_read_jointly(folders):
    info = read_model_info(folders("mllama"))
    assert info is not None
    assert not info.joint
    joint = read_model_info(folders("gemma3"))
    assert joint is not None
    assert joint.joint
    assert joint.box_space is None


def test_what_is_not_installed_is_told_with_the_line_that_installs_it(folders, monkeypatch):
    monkeypatch.setattr("napari_pathreason.models._processor.find_spec", lambda name: None)
    folder = make_other_checkpoint(folders("idefics3").parent / "small", "smolvlm")
    with pytest.raises(ModelError, match="pip install num2words"):
        load_performer(folder, "cpu")


def test_smolvlm_answers_where_its_package_is_installed(folders):
    pytest.importorskip("num2words")
    folder = make_other_checkpoint(folders("idefics3").parent / "whole", "smolvlm")
    assert answer(load_performer(folder, "cpu"), asked((112, 112))).visual_tokens == 5 * 4


def test_pictures_that_need_torchvision_are_told_with_the_line_that_installs_it(
    folders, monkeypatch
):
    from transformers import AutoImageProcessor

    def fail(*_, **__):
        raise ImportError("no torchvision")

    monkeypatch.setattr(AutoImageProcessor, "from_pretrained", fail)
    with pytest.raises(ModelError, match="pip install torchvision"):
        load_performer(folders("gemma3"), "cpu")


@pytest.mark.parametrize("spoil", ["absent", "damaged"])
def test_a_preprocessor_file_that_is_missing_or_damaged_is_named(folders, tmp_path, spoil):
    import shutil

    folder = Path(shutil.copytree(folders("internvl"), tmp_path / "copy"))
    for file in ("preprocessor_config.json", "processor_config.json"):
        if spoil == "absent":
            (folder / file).unlink(missing_ok=True)
        else:
            (folder / file).write_text('{"size": 3, "image_processor_type": "None"}')
    with pytest.raises(ModelError, match="fetch the whole model"):
        load_performer(folder, "cpu")


def test_a_conversation_is_read_whole_by_every_family(performer):
    """Pictures once, in the first turn; whatever the family's template does with the rest."""
    side = performer.info.dims.token_px
    rng = np.random.default_rng(0)
    shown = (rng.integers(0, 256, (4 * side, 4 * side, 3), np.uint8),)
    query = Query("vqa", "Is there tumour?", ("yes", "no"))
    turns = (Turn(query, "<think>dark</think><answer>yes</answer>"),)
    done = []
    for before in ((), turns, (*turns, *turns)):
        prompt = Prompt(shown, conversation(before, Query("vqa", "Why?")))
        *_, last = performer.generate(prompt, GenerationSettings(4), threading.Event())
        done.append(last)
    assert done[0].visual_tokens == done[1].visual_tokens == done[2].visual_tokens > 0
    assert done[0].prompt_tokens < done[1].prompt_tokens < done[2].prompt_tokens
    assert all(one.cached_tokens == 0 for one in done)
