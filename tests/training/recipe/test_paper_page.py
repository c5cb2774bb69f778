"""Commands of docs/paper_tables.md are ones that the shell takes, and hang together."""

import argparse
import re
from pathlib import Path

import pytest

from napari_pathreason.training import (
    add_data_parser,
    add_evaluate_parser,
    add_train_parser,
    load_recipe,
)

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/paper_tables.md").read_text(encoding="utf-8")
RECIPE = load_recipe(ROOT / "recipes/paper-qwen2.5-vl-7b.yaml")


def commands():
    """Words of each command behind ``pathreason``."""
    blocks = re.findall(r"```\n(.*?)```", PAGE, re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    shell = [line.split() for line in lines]
    return [words[words.index("-m") + 2 :] if "-m" in words else words[1:] for words in shell]


@pytest.fixture(scope="module")
def parsed():
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers(dest="command")
    for add in (add_data_parser, add_evaluate_parser, add_train_parser):
        add(subparsers)
    return [parser.parse_args(words) for words in commands()]


def test_the_shell_takes_all_of_them(parsed):
    told = [one.command for one in parsed]
    assert told == ["data"] * 2 + ["train"] * 3 + ["evaluate"] * 4
    assert [one.stage for one in parsed if one.command == "train"] == [
        "sft",
        "performer",
        "allocator",
    ]


def test_they_hang_together(parsed):
    convert, _, *rest = parsed
    assert str(convert.out) == RECIPE.data.folder
    for one in rest[:3]:
        assert (ROOT / one.recipe).is_file()
    base, sft, grpo, allocator = rest[3:]
    assert base.model == RECIPE.model.start
    assert sft.model == f"{RECIPE.output}/model"
    assert grpo.model == allocator.model == f"{RECIPE.output}/grpo/model"
    assert {str(one.data) for one in rest[3:]} == {f"{RECIPE.data.folder}/test.jsonl"}
    assert grpo.earlier == [base.json, sft.json]
    assert allocator.earlier == [base.json, sft.json, grpo.json]
    assert allocator.known == grpo.items


def test_the_hours_are_called_what_they_are():
    assert "**Not measured.**" in PAGE
    assert "None of it has been run here" in PAGE
