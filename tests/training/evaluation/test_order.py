"""The share of answers that flip when choices are reversed, of local models and of servers."""

import json

import pytest

from napari_pathreason.cli import main
from napari_pathreason.models import FixedAllocator
from napari_pathreason.training import read_samples
from napari_pathreason.training.evaluation import Evaluator, Run, table
from napari_pathreason.training.samples import Pictures
from napari_pathreason.types import Completion
from tests.support.servers import serving, transformers_serve, vllm


@pytest.fixture(scope="module")
def subtypes(converted):
    samples = read_samples(converted / "train.jsonl")
    return [s for s in samples if s.topic == "lung subtype"], Pictures(converted)


def choices_in(prompt):
    words = prompt.messages[-1]["content"][-1]["text"]
    return words.partition("Choices: ")[2].rstrip(".").split(", ")


@pytest.fixture
def chooser(always):
    class Chooser(always):
        """Takes the choice at a place, or always the same one."""

        def __init__(self, choose):
            super().__init__("")
            self.choose, self.calls = choose, 0

        def generate(self, prompt, settings, cancel):
            self.calls += 1
            text = f"<think>x</think><answer>{self.choose(choices_in(prompt))}</answer>"
            yield text
            yield Completion(text, 10, 4, 5, "stop", 0.0)

    return Chooser


@pytest.mark.parametrize(("choose", "share"), [(lambda c: c[0], 1.0), (lambda c: "normal", 0.0)])
@pytest.mark.parametrize("together", [1, 8])
def test_the_share_that_flips(subtypes, chooser, choose, share, together):
    samples, pictures = subtypes
    performer = chooser(choose)
    evaluator = Evaluator(
        samples, pictures, performer, FixedAllocator(), together=together, check_order=True
    )
    items = list(evaluator.run(4))
    assert performer.calls == 2 * len(samples)
    rows = table(items, Run("chooser"))
    (row,) = [row for row in rows if row.topic == "lung subtype"]
    assert row.values["flips"] == share
    list(evaluator.run(4))
    assert performer.calls == 2 * len(samples)  # what is known is not asked again


def test_it_is_reported_only_where_it_was_asked(subtypes, chooser):
    samples, pictures = subtypes
    evaluator = Evaluator(samples, pictures, chooser(lambda c: c[0]), FixedAllocator())
    items = list(evaluator.run(4))
    assert {item.other_order for item in items} == {None}
    assert not [row for row in table(items, Run("chooser")) if "flips" in row.values]


def place(first):
    def answer(words, pictures):
        choices = words.partition("Choices: ")[2].partition(".")[0].split(", ")
        if "white?" in words:
            return "", "yes"
        return "so", choices[0] if first else sorted(choices)[0]

    return answer


@pytest.mark.usefixtures("own_folders")
@pytest.mark.parametrize("dialect", [vllm(), transformers_serve()])
@pytest.mark.parametrize("first", [True, False])
def test_a_server_is_evaluated_as_any_model(converted, tmp_path, capsys, dialect, first):
    out = tmp_path / "out.json"
    with serving(dialect, answer=place(first)) as server:
        words = ["evaluate", server.address, "--data", str(converted / "test.jsonl")]
        words += ["--budgets", "4", "--per-topic", "2", "--check-order", "--json", str(out)]
        code = main(words)
        told = capsys.readouterr()
        assert code == 0, told.err
    page = told.out
    assert "flips" in page
    assert ("cannot go on with an answer that was begun" in page) is not dialect.continues
    rows = json.loads(out.read_text())["rows"]
    whole = [row for row in rows if row["topic"] == row["task"] == "all"][-1]
    assert whole["flips"] == (1.0 if first else 0.0)
    assert whole["tokens"] > 0
    assert whole["flops"] == 0


@pytest.mark.usefixtures("own_folders", "no_network")
def test_a_foreign_host_must_be_allowed_here_too(converted, capsys):
    words = ["evaluate", "http://lab.invalid/v1#m", "--data", str(converted / "test.jsonl")]
    assert main(words) == 2
    assert "--allow-host lab.invalid" in capsys.readouterr().err
