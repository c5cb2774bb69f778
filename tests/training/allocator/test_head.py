"""The allocator's loop: s(N) once, a policy that learns, a kill that changes nothing."""

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from pydantic import ValidationError
from safetensors.torch import load_file

from napari_pathreason.cli import main
from napari_pathreason.errors import ExportError, QueryError
from napari_pathreason.models import (
    BUDGETS,
    EFFORTS,
    AllocatorNet,
    load_models,
    load_performer,
    word_ids,
)
from napari_pathreason.training import read_samples, write_samples
from napari_pathreason.training.allocator import (
    Overviews,
    Returns,
    Scored,
    entropy,
    expected_gain,
    figures,
    gather_shares,
    identity,
    ranking_loss,
    read_overviews,
    returns,
    tabulate,
    tabulate_share,
    train_allocator,
    train_val_tables,
)
from napari_pathreason.training.evaluation import pick
from napari_pathreason.training.model import save_checkpoint, start_model
from napari_pathreason.training.recipe import AllocatorRecipe
from napari_pathreason.training.run import RunLog, fingerprint
from napari_pathreason.training.samples import Pictures

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

TINY = {
    "questions": 2,
    "validate_questions": 1,
    "steps": 8,
    "warm_steps": 3,
    "checkpoint_every": 3,
    "validate_every": 2,
}


@pytest.fixture
def begun(recipe):
    model, tokenizer = start_model(recipe)
    save_checkpoint(Path(recipe.output) / "model", model, tokenizer, "begun")
    return recipe.model_copy(update={"allocator": AllocatorRecipe.model_validate(TINY)})


@pytest.mark.slow
def test_a_run_that_was_killed_and_resumed_equals_an_undisturbed_one(
    begun, tmp_path, monkeypatch, at_every_budget, dies_at
):
    monkeypatch.setattr("napari_pathreason.training.allocator._tables.tabulate", at_every_budget)
    shutil.copytree(Path(begun.output) / "model", tmp_path / "cut/model")
    whole = load_file(train_allocator(begun) / "allocator.safetensors")
    cut = begun.model_copy(update={"output": str(tmp_path / "cut")})

    with dies_at(5):  # two after the last checkpoint
        train_allocator(cut)
    again = load_file(train_allocator(cut) / "allocator.safetensors")
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    logs = [
        (Path(one.output) / "allocator/log.jsonl").read_text().splitlines() for one in (begun, cut)
    ]
    assert logs[0] == logs[1]
    assert [json.loads(line)["step"] for line in logs[0]] == list(range(1, 9))
    assert (Path(begun.output) / "allocator/curve.png").stat().st_size > 0


@pytest.mark.slow
def test_the_shell_trains_one_that_the_main_job_uses(begun, tmp_path, capsys, monkeypatch):
    """All real: the performer answers at every budget, once for each size; few small pictures."""
    monkeypatch.setattr(
        "napari_pathreason.training.allocator._tables.pick",
        lambda samples, each, seed: [s for s in samples if s.source == "lung"][:each],
    )
    file = tmp_path / "recipe.yaml"
    file.write_text(json.dumps(begun.model_dump(mode="json")))
    assert main(["train", "allocator", "--recipe", str(file)]) == 0
    folder = Path(begun.output) / "model"
    assert str(folder) in capsys.readouterr().out
    allocator = load_models(folder).allocator
    overview = np.full((64, 64, 3), 200, np.uint8)
    query = read_samples(Path(begun.data.folder, "val.jsonl"))[0].query
    given = allocator.allocate(overview, query, 64, "low")
    assert given.source == "policy"
    tables = list((Path(begun.output) / "allocator").glob("scores-*.jsonl"))
    assert len(tables) == 2
    before = [table.read_bytes() for table in tables]
    assert main(["train", "allocator", "--recipe", str(file)]) == 0  # finished: asks nothing anew
    assert [table.read_bytes() for table in tables] == before


def test_killed_while_its_last_curve_is_drawn_a_run_draws_it_again(
    begun, monkeypatch, at_every_budget
):
    """Behind the last state nothing goes on, so the curve comes before it."""
    monkeypatch.setattr("napari_pathreason.training.allocator._tables.tabulate", at_every_budget)
    drawn = []

    def draw(log, panels):
        drawn.append(len(log.records()))
        if drawn.count(8) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(RunLog, "draw", draw)
    with pytest.raises(KeyboardInterrupt):
        train_allocator(begun)
    train_allocator(begun)
    assert drawn == [3, 6, 8, 8]


def test_a_damaged_state_is_one_line(begun, monkeypatch, at_every_budget):
    monkeypatch.setattr("napari_pathreason.training.allocator._tables.tabulate", at_every_budget)
    train_allocator(begun)
    state = Path(begun.output) / "allocator/checkpoint.pt"
    whole = state.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"x" * len(whole)):
        state.write_bytes(content)
        with pytest.raises(ExportError, match=r"checkpoint\.pt in the folder allocator is damaged"):
            train_allocator(begun)


@pytest.mark.slow
def test_other_prices_and_another_performer_begin_anew(begun, monkeypatch, at_every_budget):
    monkeypatch.setattr("napari_pathreason.training.allocator._tables.tabulate", at_every_budget)
    folder = train_allocator(begun)
    first = load_file(folder / "allocator.safetensors")
    longer = begun.allocator.model_copy(update={"steps": 9})
    train_allocator(begun.model_copy(update={"allocator": longer}))
    log = Path(begun.output) / "allocator/log.jsonl"
    assert len(log.read_text().splitlines()) == 9  # goes on
    lambdas = {"low": 5.0, "balanced": 0.3, "high": 0.0}
    priced = begun.allocator.model_copy(update={"lambdas": lambdas})
    train_allocator(begun.model_copy(update={"allocator": priced}))
    assert len(log.read_text().splitlines()) == 8
    second = load_file(folder / "allocator.safetensors")
    assert any(not torch.equal(first[name], second[name]) for name in first)
    tables = tuple(Path(f"scores-{split}-old.jsonl") for split in ("train", "val"))
    newer = tuple(Path(f"scores-{split}-new.jsonl") for split in ("train", "val"))
    assert identity(begun, tables) != identity(begun, newer)


def _name_after(recipe, change):
    """Name of the table of ``train`` once something was changed."""
    folder = Path(recipe.output) / "model"
    change(folder)
    return train_val_tables(recipe, folder)[0].file.name


def test_a_table_is_called_by_all_that_changes_an_answer(
    begun, monkeypatch, at_every_budget, tmp_path, own_data
):
    monkeypatch.setattr("napari_pathreason.training.allocator._tables.tabulate", at_every_budget)
    data = own_data
    moved = begun.data.model_copy(update={"folder": str(data)})
    recipe = begun.model_copy(update={"data": moved})
    first = _name_after(recipe, lambda _: None)

    def edit(name, **values):
        def change(folder):
            file = folder / name
            before = json.loads(file.read_text()) if file.is_file() else {}
            file.write_text(json.dumps(before | values))

        return change

    def replace_picture(_):
        sample = next(s for s in read_samples(data / "train.jsonl") if isinstance(s.image, str))
        with Image.open(data / sample.image) as image:
            ImageOps.invert(image.convert("RGB")).save(data / sample.image)

    changes = [
        edit("tokenizer_config.json", model_max_length=77),
        lambda folder: (folder / "chat_template.jinja").open("a").write("{# #}"),
        edit("preprocessor_config.json", do_rescale=True),
        edit("calibration.json"),
        edit("pathreason.json", zoom_labels=["platelet"]),
        replace_picture,
    ]
    monkeypatch.setattr(
        "napari_pathreason.models.load_performer",
        lambda *_, real=load_performer: real(blank, "cpu"),
    )
    blank = tmp_path / "blank"
    shutil.copytree(Path(begun.output) / "model", blank)
    names = [_name_after(recipe, change) for change in changes]
    assert len({first, *names}) == 1 + len(changes)
    assert _name_after(recipe, edit("allocator.json")) == names[-1]  # which is what is trained


def test_a_picture_that_is_replaced_meanwhile_is_not_learnt_from(
    begun, monkeypatch, at_every_budget, own_data
):
    data = own_data
    moved = begun.data.model_copy(update={"folder": str(data)})
    recipe = begun.model_copy(update={"data": moved})

    def tabulate(*args):
        for sample in args[0]:
            if isinstance(sample.image, str):
                with Image.open(data / sample.image) as image:
                    ImageOps.invert(image.convert("RGB")).save(data / sample.image)
        return at_every_budget(*args)

    monkeypatch.setattr("napari_pathreason.training.allocator._tables.tabulate", tabulate)
    with pytest.raises(QueryError, match="changed while this run"):
        train_allocator(recipe)


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.slow
def test_a_run_names_the_data_that_it_read(begun, monkeypatch, at_every_budget, split):
    """What replaces them while the performer is asked is neither learnt from nor named."""
    folder = Path(begun.data.folder)
    train, read = folder / "train.jsonl", fingerprint(folder)
    samples = train.read_bytes()

    def tabulate(*args):
        if args[-1].endswith(split):
            write_samples(train, read_samples(train)[1:])
        return at_every_budget(*args)

    monkeypatch.setattr("napari_pathreason.training.allocator._tables.tabulate", tabulate)
    try:
        if split == "train":  # so that those of val would be others than it began with
            with pytest.raises(QueryError, match="other data"):
                train_allocator(begun)
        else:
            train_allocator(begun)
            record = json.loads(Path(begun.output, "allocator/run.json").read_text())
            assert record["data_sha256"] == read != fingerprint(folder)
    finally:
        train.write_bytes(samples)


def test_it_learns_from_pictures_that_the_performer_does_not_know(
    begun, monkeypatch, at_every_budget
):
    monkeypatch.setattr("napari_pathreason.training.allocator._tables.tabulate", at_every_budget)
    settings = begun.allocator.model_copy(update={"learn_from": "val", "questions": 6})
    recipe = begun.model_copy(update={"allocator": settings})
    train, held = train_val_tables(recipe, Path(begun.output) / "model")
    shown, kept = ({str(s.image) for s in part.samples} for part in (train, held))
    assert shown
    assert kept
    assert not shown & kept
    val = read_samples(Path(begun.data.folder, "val.jsonl"))
    assert shown | kept <= {str(sample.image) for sample in val}
    asked = pick(val, 7, recipe.seed)
    assert len(train.rows) + len(held.rows) == len(asked)
    assert identity(recipe, (train.file, held.file)) != identity(begun, (train.file, held.file))
    assert (train_allocator(recipe) / "allocator.safetensors").is_file()


class CountingEvaluator:
    def __init__(self):
        self.asked = []

    def windows(self, questions, sizes):
        assert len(questions) == len(sizes)
        return (questions[at : at + 2] for at in range(0, len(questions), 2))

    def ask(self, indexes, budget):
        self.asked += [(index, budget) for index in indexes]
        return [Scored(0.5, budget or 0, 1.0, 9, 2.0) for _ in indexes]


def test_sizes_that_rungs_share_are_asked_once_and_a_cut_table_goes_on(begun, tmp_path):
    data = Path(begun.data.folder)
    samples, pictures = read_samples(data / "val.jsonl")[:3], Pictures(data)
    file, evaluator = tmp_path / "scores.jsonl", CountingEvaluator()
    table = tabulate(samples, pictures, evaluator, 32, file)
    assert [len(row) for row in table] == [len(BUDGETS)] * 3
    assert len(evaluator.asked) < 3 * len(BUDGETS)
    lines = file.read_bytes().splitlines(keepends=True)
    assert len(lines) == len(evaluator.asked) == len(set(evaluator.asked))
    file.write_bytes(b"".join(lines[:-2]) + lines[-2][:7])
    again = CountingEvaluator()
    assert tabulate(samples, pictures, again, 32, file) == table
    assert again.asked == evaluator.asked[-2:]
    assert sorted(file.read_bytes().splitlines(keepends=True)) == sorted(lines)


def test_a_score_that_is_not_as_it_was_written_is_asked_again(begun, tmp_path):
    data = Path(begun.data.folder)
    samples, pictures = read_samples(data / "val.jsonl")[:3], Pictures(data)
    file, evaluator = tmp_path / "scores.jsonl", CountingEvaluator()
    table = tabulate(samples, pictures, evaluator, 32, file)
    text = file.read_text()
    file.write_text(text.replace('"score": 0.5', '"score": 0.9', 1))
    again = CountingEvaluator()
    assert tabulate(samples, pictures, again, 32, file) == table
    assert again.asked == evaluator.asked[:1]


def test_processes_ask_a_share_each_and_one_table_holds_all(begun, tmp_path):
    data = Path(begun.data.folder)
    samples, pictures = read_samples(data / "val.jsonl")[:5], Pictures(data)
    alone, file = CountingEvaluator(), tmp_path / "scores.jsonl"
    whole = tabulate(samples, pictures, alone, 32, tmp_path / "alone.jsonl")
    cut = CountingEvaluator()
    tabulate_share(samples, pictures, cut, 32, file, 1, 3)  # of three, two of which were killed
    shares = [CountingEvaluator() for _ in range(2)]
    for rank, evaluator in enumerate(shares):
        tabulate_share(samples, pictures, evaluator, 32, file, rank, 2)
    asked = [one for each in (cut, *shares) for one in each.asked]
    assert Counter(asked) == Counter(alone.asked)  # each once, whoever asked
    asked_at = Counter(budget for _, budget in alone.asked)
    for evaluator in shares:  # none has the large pictures to itself
        for budget, number in Counter(budget for _, budget in evaluator.asked).items():
            assert number <= -(-asked_at[budget] // 2)
    gather_shares(file)
    assert [one.name for one in tmp_path.glob("scores*")] == ["scores.jsonl"]
    nobody = CountingEvaluator()
    assert tabulate(samples, pictures, nobody, 32, file) == whole
    assert nobody.asked == []


def _two_kinds(best):
    """Dark pictures do best at one budget, bright ones at another."""
    n = len(best)
    shades = torch.tensor([-0.8 if i % 2 else 0.8 for i in range(n)])
    pictures = shades[:, None, None, None].expand(n, 3, 64, 64)
    words = [word for _ in range(n) for word in (1, 2)]
    seen = Overviews(
        ((torch.arange(n), pictures),),
        torch.tensor(words),
        torch.arange(0, 2 * n, 2),
        torch.full((n,), 2000),
    )
    scores = torch.zeros(n, len(BUDGETS))
    for row, budget in enumerate(best):
        scores[row, BUDGETS.index(budget) :] = 1.0
    costs = torch.linspace(0.01, 1, len(BUDGETS)).expand(n, -1)
    return seen, Returns(scores, torch.zeros(n, len(BUDGETS)), costs, seen.native)


def _learn(seen, text_rewards, settings, steps=150):
    torch.manual_seed(0)
    net = AllocatorNet()
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    rewards = text_rewards.rewards(settings)
    for step in range(steps):
        logits = seen.logits(net)
        loss = -(expected_gain(logits, rewards) + 1e-3 * entropy(logits)).mean()
        if step < 30:
            loss = ranking_loss(logits.flatten(0, 1), rewards.flatten(0, 1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return seen.logits(net).detach()


def test_pictures_that_differ_get_the_rung_that_each_deserves():
    best = [16 if i % 2 else 256 for i in range(8)]
    seen, text_rewards = _two_kinds(best)
    logits = _learn(seen, text_rewards, AllocatorRecipe())
    chosen = [BUDGETS[int(at)] for at in logits[:, EFFORTS.index("balanced")].argmax(-1)]
    assert chosen == best
    told = figures(logits, text_rewards, text_rewards.rewards(AllocatorRecipe()))
    assert told["score"] == 1.0
    assert told["cost"] == pytest.approx(float(text_rewards.costs[0, [2, 6]].mean()), abs=1e-4)


def test_a_higher_price_buys_fewer_tokens():
    """Every budget a little better than the last: what it is worth depends on the price alone."""
    seen, text_rewards = _two_kinds([4] * 4)
    scores = torch.linspace(0.6, 0.9, len(BUDGETS)).expand(4, -1)
    text_rewards = Returns(scores, text_rewards.tokens, text_rewards.costs, text_rewards.native)
    chosen = _learn(seen, text_rewards, AllocatorRecipe())[0].argmax(-1).tolist()
    assert chosen[0] < chosen[2]
    assert chosen[2] == len(BUDGETS) - 1


def test_looks_and_earnings_follow_the_samples(begun, at_every_budget):
    data = Path(begun.data.folder)
    samples, pictures = read_samples(data / "val.jsonl"), Pictures(data)
    seen = read_overviews(samples, pictures, 32)
    assert sorted(int(at) for places, _ in seen.overviews for at in places) == [
        *range(len(samples))
    ]
    assert seen.words[seen.offsets[-1] :].tolist() == word_ids(samples[-1].query)
    table = at_every_budget(samples, pictures, None, 32, None)
    text_rewards = returns(seen, table, "share")
    assert text_rewards.costs.shape == (len(samples), len(BUDGETS))
    assert (text_rewards.costs[:, -1] > 1).all()  # native, and the look on top
    assert (text_rewards.costs[:, -1] < 1.05).all()
    natives = torch.tensor([row[0].flops_native for row in table])
    together = returns(seen, table, "flops").costs * natives.mean()
    assert torch.allclose(together, text_rewards.costs * natives[:, None])


def test_the_papers_reward_knows_no_price():
    _, text_rewards = _two_kinds([16] * 2)
    rewards = text_rewards.rewards(AllocatorRecipe(reward="paper"))
    assert torch.equal(rewards[:, 0], rewards[:, 2])


def test_wrong_lambdas_and_a_missing_performer_are_named(recipe):
    with pytest.raises(ValidationError, match="lambda for each of low, balanced, high"):
        AllocatorRecipe(lambdas={"low": 1.0})
    with pytest.raises(QueryError, match="train sft"):
        train_allocator(recipe)
