"""The allocator of windows learns what is worth reading, from a table of answers alone."""

import json
import math
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings as hypothesis_settings, strategies as st
from PIL import Image
from safetensors.numpy import load_file

from napari_pathreason.engine import Choice, Job, Pick, ask
from napari_pathreason.errors import QueryError
from napari_pathreason.models import FixedAllocator, WindowAllocator, load_models, near_windows
from napari_pathreason.tasks import TASKS
from napari_pathreason.training import Sample, read_samples, write_samples
from napari_pathreason.training.allocator import (
    Batch,
    Stakes,
    WindowNet,
    doubts_of_choice,
    draw_sets,
    greedy_figures,
    greedy_sets,
    log_probability,
    mean_centred,
    policy_loss,
    random_set,
    tabled,
    tabulate_windows,
    train_allocator,
    uniform_figures,
    warm_loss,
)
from napari_pathreason.training.evaluation import relative
from napari_pathreason.training.model import save_checkpoint, start_model
from napari_pathreason.training.recipe import AllocatorRecipe, WindowsRecipe
from napari_pathreason.training.run import fingerprint
from napari_pathreason.training.samples import Pictures, region_target
from napari_pathreason.types import (
    Completion,
    GenerationSettings,
    Metadata,
    ModelDims,
    ModelInfo,
    Request,
)
from tests.support.bandit import bandit

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

QUICK = WindowsRecipe(num_generations=8, batch_size=8, lr=6e-3, warm_steps=40, steps=60)
DIMS = ModelDims(16, 2, 2, 32, 64, 2, 32, 64, 2, 1, 16, 300)


def learn(train, settings=QUICK, seed=0):
    net = WindowNet(seed)
    optimizer = torch.optim.AdamW(net.parameters(), settings.lr)
    for step in range(settings.steps):
        rng = Random(f"{seed}-{step}")
        batch = Batch([rng.choice(train) for _ in range(settings.batch_size)])
        loss = warm_loss if step < settings.warm_steps else policy_loss
        optimizer.zero_grad()
        loss(net, batch, settings, rng)[0].backward()
        optimizer.step()
    return net


@pytest.fixture(scope="module")
def held_out():
    return tabled(bandit(30, 1))


@pytest.fixture(scope="module")
def learnt():
    return learn(tabled(bandit(60)))


def oracle(questions):
    """Mean score where the best single window is read, and what that costs at the least."""
    best = [
        max((one.question.score([pick]), -one.costs[pick[1]]) for pick in one.places)
        for one in questions
    ]
    return np.mean(best, axis=0) * (1, -1)


def test_a_bandit_with_known_best_windows_is_learnt(learnt, held_out):
    figures = greedy_figures(learnt, held_out, QUICK)
    score, cost = oracle(held_out)
    assert score == 1
    assert figures["score"] >= 0.95
    assert figures["cost"] < 5 * cost
    uniform = uniform_figures(held_out)
    assert uniform["uniform_score_0"] < 0.5  # all windows at 16 tokens see nothing
    assert figures["cost"] < uniform["uniform_cost_1"] / 3


def alike(questions, level):
    return [[(int(place), level) for place in one.question.scene.cover] for one in questions]


def test_what_was_learnt_well_is_not_doubted(learnt, held_out):
    assert doubts_of_choice(held_out, greedy_sets(learnt, held_out, QUICK, "balanced")) == []


def test_a_choice_that_never_looks_is_doubted(held_out):
    """One window, coarsely: right of all empty regions, and it finds nothing anywhere else."""
    sets = [picks[:1] for picks in alike(held_out, 0)]
    there = sum(one.question.sample.answer == "yes" for one in held_out)
    assert 3 <= there < len(held_out)
    (doubt,) = doubts_of_choice(held_out, sets)
    assert doubt.startswith("it has learnt not to look")
    assert f"{there} of {there} held-out regions" in doubt
    assert doubt.endswith(f"by all windows alike in {there}")
    few = [one for one in held_out if one.question.sample.answer == "yes"][:2]
    assert doubts_of_choice(few, sets[:2]) == []


def test_a_choice_that_is_no_better_than_all_windows_alike_is_doubted(held_out):
    (doubt,) = doubts_of_choice(held_out, alike(held_out, 2))
    assert "all windows alike, by 64 tokens, score 1.00" in doubt
    assert "--policy table" in doubt


@pytest.mark.slow
def test_a_lambda_of_nothing_climbs_to_the_oracle(held_out):
    free = QUICK.model_copy(update={"lambdas": {"low": 0.0, "balanced": 0.0, "high": 0.0}})
    net = learn(tabled(bandit(60)), free)
    figures = greedy_figures(net, held_out, free)
    assert figures["score_low"] == figures["score_high"] >= oracle(held_out)[0] - 0.04


def test_a_huge_lambda_reads_one_window_coarsely(learnt, held_out):
    dear = QUICK.model_copy(update={"lambdas": dict.fromkeys(QUICK.lambdas, 1e4)})
    for picks in greedy_sets(learnt, held_out, dear, "balanced"):
        assert [level for _, level in picks] == [0]


@pytest.mark.slow
def test_shuffled_pictures_lose_the_gain(learnt, held_out):
    blind = learn(tabled(bandit(60, seen=False)))
    shuffled = tabled(bandit(30, 1, seen=False))
    lost = greedy_figures(blind, shuffled, QUICK)["reward"]
    assert lost < greedy_figures(learnt, held_out, QUICK)["reward"] - 0.08
    # and what was learnt from true pictures is worth nothing on others
    assert greedy_figures(learnt, shuffled, QUICK)["score"] < 0.75


@pytest.mark.slow
def test_a_second_round_uses_the_answers_of_the_first():
    """Pictures are all alike there: only a doubtful answer tells which window to read again."""
    settings = QUICK.model_copy(update={"warm_steps": 120, "steps": 120})
    net = learn(tabled(bandit(60, doubtful=True)), settings)
    held_out = [o for o in tabled(bandit(30, 1, doubtful=True)) if o.question.target.text == "yes"]
    margins, news = [], []
    for one in held_out:
        (spot,) = [p for p, level in one.places if level == 1 and one.question.score([(p, 1)]) == 1]
        cover = [(int(place), 0) for place in one.question.scene.cover]
        batch = Batch([one])
        with torch.no_grad():
            each, _ = batch.gains(net, batch.see(net), [0, 0], [(), cover])
        before, after = each[0, :, 1], each[1, :, 1]
        others = [place for place, _ in cover if place != spot]
        margins.append(float(after[spot] - after[others].max()))
        news.append(float(after[spot] - before[spot]))
    assert np.mean(margins) > 0.1
    assert np.mean(news) > 0.1


def test_figures_are_of_what_the_engine_would_choose(learnt, held_out):
    own = WindowAllocator(learnt.as_arrays(), QUICK.lambdas, QUICK.levels)
    for one, picks in zip(
        held_out[:8], greedy_sets(learnt, held_out[:8], QUICK, "balanced"), strict=True
    ):
        state, chosen = one.question.state, []
        grid = one.question.scene.grid
        places = {grid.window(place): place for place in range(len(grid))}
        for _ in range(2):
            readings = one.question.read(chosen)
            taken = tuple(reading.view.region for reading in readings)
            for pick in own.choose(replace(state, readings=readings, taken=taken)).picks:
                chosen.append((places[pick.region], one.question.tokens.index(pick.tokens)))
        assert chosen == list(picks)


def stakes(seed, rows=6, windows=5, levels=2, lambda_=0.3):
    rng = np.random.default_rng(seed)
    near = torch.arange(windows)[None, :, None].repeat(rows, 1, 1)
    return Stakes(
        torch.from_numpy(rng.normal(0, 0.1, (rows, windows, levels))).float(),
        torch.from_numpy(rng.uniform(1, 3, rows)).float(),
        torch.tensor([[0.05, 0.2]]).repeat(rows, 1),
        torch.full((rows,), lambda_),
        torch.from_numpy(rng.random((rows, windows, levels)) < 0.8),
        near,
        torch.from_numpy(rng.random(rows) < 0.5),
        0.1,
    )


@hypothesis_settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_log_probabilities_are_those_of_the_choices_one_by_one(seed):
    own = stakes(seed)
    drawn = draw_sets(own, 5, torch.Generator().manual_seed(seed))
    log_p, entropy = log_probability(own, drawn)
    assert (entropy >= -1e-5).all()
    for row in range(len(own.gains)):
        free, total, expected = own.allowed[row].clone(), 0.0, 0.0
        picks = drawn.picks(row, 2)
        assert len({place for place, _ in picks}) == len(picks)
        assert all(own.allowed[row][pick] for pick in picks)
        for number in range(len(picks) + 1):
            if number == 5 or not free.any():
                break
            rho = float(own.saturation[row])
            added = (math.exp(-rho * total) - torch.exp(-rho * (total + own.gains[row]))) / rho
            net = added - own.lambdas[row] * own.costs[row]
            scores = net.masked_fill(~free, -1e9) / 0.1
            on = torch.sigmoid(scores.max())
            must = bool(own.must[row]) and number == 0
            if number == len(picks):
                expected += 0.0 if must else math.log(1 - on)
                break
            expected += 0.0 if must else math.log(on)
            place, level = picks[number]
            expected += float(scores.flatten().log_softmax(0)[place * 2 + level])
            total += float(own.gains[row, place, level])
            free[place] = False
        assert float(log_p[row]) == pytest.approx(expected, abs=1e-3)


def test_likelier_sets_are_drawn_more_often():
    one = stakes(3, rows=1)
    many = Stakes(
        *(getattr(one, name).repeat(2000, *[1] * (getattr(one, name).dim() - 1)) for name in (
            "gains", "saturation", "costs", "lambdas", "allowed", "near", "must"
        )),
        0.1,
    )  # fmt: skip
    drawn = draw_sets(many, 5, torch.Generator().manual_seed(0))
    log_p, _ = log_probability(many, drawn)
    sets = [drawn.picks(row, 2) for row in range(2000)]
    for picks in set(sets):
        share = sets.count(picks) / 2000
        expected = float(log_p[sets.index(picks)].exp())
        assert share == pytest.approx(expected, abs=4 * math.sqrt(expected / 2000) + 0.002)


def test_advantages_keep_what_lambda_taxes():
    returns = torch.tensor([[1.0, 0.9], [1.0, 0.0]])
    torch.testing.assert_close(mean_centred(returns), torch.tensor([[0.05, -0.05], [0.5, -0.5]]))


@given(st.integers(0, 40), st.integers(0, 1000))
def test_random_sets_show_little_twice(size, seed):
    (one,) = tabled(bandit(1))
    picks = random_set(one, size, (), Random(seed))
    assert len(picks) <= size
    near = near_windows(one.question.scene.grid)
    places = [place for place, _ in picks]
    assert all(other not in near[place] for place in places for other in places if other != place)
    again = random_set(one, size, picks, Random(seed + 1))
    read = dict(picks)
    assert all(level > read.get(place, -1) for place, level in again)


class ColourReader:
    """Boxes the magenta of a window that is read finely enough, and counts its prompts."""

    def __init__(self, least=40):
        metadata = Metadata(labels=("tumour",), window=256)
        self.info = ModelInfo("colours", "qwen3_vl", "relative", DIMS, metadata=metadata)
        self.least, self.prompts, self.dies_after = least, 0, None

    def generate(self, prompt, settings, cancel):
        (pixels,) = prompt.pictures
        if self.prompts == self.dies_after:
            raise KeyboardInterrupt
        self.prompts += 1
        rows, columns = np.nonzero(pixels[..., 1] < 120)
        visual = pixels.shape[0] * pixels.shape[1] // 32**2
        boxes = []
        if rows.size and visual >= self.least:
            height, width = pixels.shape[:2]
            corners = [
                columns.min() * 1000 / width, rows.min() * 1000 / height,
                (columns.max() + 1) * 1000 / width, (rows.max() + 1) * 1000 / height,
            ]  # fmt: skip
            boxes = [{"bbox_2d": corners, "label": "tumour"}]
        text = f"<think></think><answer>{json.dumps(boxes)}</answer>"
        yield Completion(text, 30 + visual, visual, 9, "stop", 0.1)


@pytest.fixture
def regions(tmp_path):
    """Two regions of 768 px with a lesion each, and a small one."""
    samples = []
    for number, (x, y) in enumerate([(300, 300), (520, 40)]):
        pixels = np.full((768, 768, 3), (230, 170, 200), np.uint8)
        pixels[y : y + 120, x : x + 100, 1] = 60
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        box = {"label": "tumour", "corners": (x, y, x + 100, y + 120)}
        samples.append(
            Sample(
                image=f"{number}.png",
                task="detection",
                question="Find each tumour.",
                choices=("tumour",),
                boxes=(box,),
            )
        )
    Image.fromarray(pixels[:256, :256]).save(tmp_path / "small.png")
    samples.append(samples[0].model_copy(update={"image": "small.png", "boxes": ()}))
    return samples, Pictures(tmp_path)


def test_every_window_is_answered_once_at_each_budget(regions, tmp_path):
    performer = ColourReader()
    table = tabulate_windows(*regions, performer, tmp_path / "run/windows.jsonl", (16, 36, None))
    assert len(table) == 2  # a small region has no windows
    assert performer.prompts == 2 * 25 * 3
    assert all(len(one.readings) == 75 for one in table)
    again = tabulate_windows(*regions, performer, tmp_path / "run/windows.jsonl", (16, 36, None))
    assert performer.prompts == 150
    samples, pictures = regions
    mended = [one.model_copy(update={"answer": "", "topic": "spots"}) for one in samples]
    tabulate_windows(mended, pictures, performer, tmp_path / "run/windows.jsonl", (16, 36, None))
    assert performer.prompts == 150  # answers do not hang on labels
    assert [one.readings for one in again] == [one.readings for one in table]
    spot = table[0].scene.grid.window(12)
    assert (spot.x, spot.y) == (256, 256)
    assert table[0].score([(12, 2)]) > 0.8
    assert table[0].score([(12, 0)]) == 0
    assert table[0].score([(12, 0), (12, 2)]) > 0.8  # read again, it counts as it was read last


def test_answers_hang_on_pixels_that_no_overview_shows(regions, tmp_path):
    performer, file = ColourReader(), tmp_path / "run/windows.jsonl"
    samples, pictures = regions
    before = tabulate_windows(samples, pictures, performer, file, (16, 36, None))
    assert performer.prompts == 150
    with Image.open(tmp_path / "0.png") as image:
        pixels = np.array(image)
    pixels[4, 4] += 1
    Image.fromarray(pixels).save(tmp_path / "0.png")
    after = tabulate_windows(samples, Pictures(tmp_path), performer, file, (16, 36, None))
    assert np.array_equal(before[0].scene.overview, after[0].scene.overview)
    assert performer.prompts == 225  # the other picture's are known


def test_a_table_that_was_cut_goes_on(regions, tmp_path):
    whole = tabulate_windows(*regions, ColourReader(), tmp_path / "a/windows.jsonl")
    dying = ColourReader()
    dying.dies_after = 70
    with pytest.raises(KeyboardInterrupt):
        tabulate_windows(*regions, dying, tmp_path / "b/windows.jsonl")
    path = tmp_path / "b/windows.jsonl"
    path.write_bytes(path.read_bytes() + b'{"key": "torn')
    rest = ColourReader()
    table = tabulate_windows(*regions, rest, path)
    assert 0 < rest.prompts <= 50  # the first question is not asked again
    assert [one.readings for one in table] == [one.readings for one in whole]


@dataclass(frozen=True)
class Fixed:
    """Reads windows that are chosen already."""

    picks: tuple[Pick, ...]
    name: str = "fixed"
    rounds: int = 1

    def choose(self, state):
        return Choice(() if state.readings else self.picks)


def test_a_score_is_that_of_the_engines_answer(regions, tmp_path):
    samples, pictures = regions
    performer = ColourReader()
    table = tabulate_windows(samples, pictures, performer, tmp_path / "windows.jsonl")
    rng = Random(0)
    for one in tabled(table) * 4:
        picks = random_set(one, rng.randint(1, 9), (), rng)

        grid, tokens = one.question.scene.grid, one.question.tokens
        fixed = Fixed(tuple(Pick(grid.window(place), tokens[level]) for place, level in picks))
        sample = one.question.sample
        region = pictures.region(sample)
        request = Request(region, sample.query, settings=GenerationSettings(zoom=False))
        job = Job(pictures.slide(sample), request, policy=fixed)
        result = ask(job, performer, FixedAllocator())
        target = region_target(sample, region)
        score = TASKS["detection"].score(relative(result), target)
        assert one.question.score(picks) == pytest.approx(score, abs=1e-9)


def test_without_a_large_region_it_is_said_what_to_do(regions, tmp_path):
    samples, pictures = regions
    with pytest.raises(QueryError, match=r"allocator\.form to head"):
        tabulate_windows(samples[2:], pictures, ColourReader(), tmp_path / "windows.jsonl")


@pytest.fixture
def begun(recipe, monkeypatch):
    """A run of some steps on the bandit, beside a checkpoint of no use."""
    model, tokenizer = start_model(recipe)
    save_checkpoint(Path(recipe.output) / "model", model, tokenizer, "begun")

    def tabulate(samples, pictures, performer, file, levels, name):
        assert samples
        return bandit(12, name == "windows of val")

    monkeypatch.setattr("napari_pathreason.training.allocator._windows.tabulate_windows", tabulate)
    windows = {
        "steps": 6, "warm_steps": 3, "batch_size": 2, "num_generations": 4,
        "validate_every": 2, "checkpoint_every": 2,
    }  # fmt: skip
    allocator = AllocatorRecipe.model_validate({"form": "windows", "windows": windows})
    return recipe.model_copy(update={"allocator": allocator})


def test_a_run_leaves_an_allocator_beside_the_model(begun, capsys):
    folder = train_allocator(begun)
    out = Path(begun.output)
    assert folder == out / "model"
    models = load_models(folder, "cpu")
    assert models.allocator.windows.lambdas == {"low": 2.0, "balanced": 0.5, "high": 0.1}
    assert models.allocator.overview_budget == 0  # one picture gets a fixed budget, as before
    records = [json.loads(line) for line in (out / "allocator/windows/log.jsonl").open()]
    assert [record["step"] for record in records] == list(range(7))
    assert "val_uniform_score_1" in records[0]
    assert "val_reward" in records[2]
    assert (out / "allocator/windows/curve.png").is_file()
    held_out = json.loads((out / "allocator/windows/held_out.json").read_text())
    assert held_out["uniform_score_1"] == records[0]["val_uniform_score_1"]
    assert held_out["reward"] == max(record.get("val_reward", -9) for record in records)
    told = capsys.readouterr().err
    assert all(f"what was learnt of windows: {doubt}" in told for doubt in held_out["doubts"])


def test_a_run_names_the_data_that_it_read(begun, monkeypatch):
    """Also where they were replaced while the performer was asked about them."""
    folder = Path(begun.data.folder)
    train, read = folder / "train.jsonl", fingerprint(folder)
    samples = train.read_bytes()

    def tabulate(asked, pictures, performer, file, levels, name):
        write_samples(train, read_samples(train)[1:])
        return bandit(12, name == "windows of val")

    monkeypatch.setattr("napari_pathreason.training.allocator._windows.tabulate_windows", tabulate)
    try:
        train_allocator(begun)
        record = json.loads(Path(begun.output, "allocator/windows/run.json").read_text())
        assert record["data_sha256"] == read != fingerprint(folder)
    finally:
        train.write_bytes(samples)


@pytest.mark.slow
def test_a_run_that_was_killed_and_resumed_equals_an_undisturbed_one(begun, tmp_path, dies_at):
    shutil.copytree(Path(begun.output) / "model", tmp_path / "cut/model")
    cut = begun.model_copy(update={"output": str(tmp_path / "cut")})
    train_allocator(begun)
    with dies_at(5):
        train_allocator(cut)
    train_allocator(cut)
    file = "model/windows_allocator.safetensors"
    whole, resumed = (load_file(Path(one.output) / file) for one in (begun, cut))
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.slow
def test_other_lambdas_begin_anew(begun):
    train_allocator(begun)
    windows = begun.allocator.windows.model_copy(
        update={"lambdas": {"low": 9.0, "balanced": 0.5, "high": 0.1}}
    )
    allocator = begun.allocator.model_copy(update={"windows": windows})
    folder = train_allocator(begun.model_copy(update={"allocator": allocator}))
    settings = json.loads((folder / "windows_allocator.json").read_text())
    assert settings["lambdas"]["low"] == 9.0


@pytest.mark.parametrize(
    "wrong", [{"budgets": [64, 16, "native"]}, {"budgets": [16, 64]}, {"lambdas": {"low": 1}}]
)
def test_a_recipe_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="give"):
        WindowsRecipe.model_validate(wrong)
