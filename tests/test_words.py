"""The words of docs/glossary.md that have a better one stay out of the code."""

import io
import re
import tokenize
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
GLOSSARY = ROOT / "docs" / "glossary.md"
TEXT = (tokenize.STRING, tokenize.COMMENT)
# names of others, called as they are
FOREIGN = {"find_spec", "ModuleSpec", "spec_from_file_location", "zip_longest"}


class Word(NamedTuple):
    pattern: re.Pattern[str]
    better: str
    where: str


def read_words(table: str) -> list[Word]:
    words = []
    for line in table.splitlines():
        if not re.match(r"\| `", line):
            continue
        out, better, where = (cell.strip() for cell in line.strip("|").split("|"))
        for term in re.findall(r"`([^`]+)`", out):
            pattern = re.escape(term).replace(r"\*", r"\w*")
            words.append(Word(re.compile(pattern, re.IGNORECASE), better, where))
    return words


def parts_of(name: str) -> list[str]:
    """Words of an identifier: ``read_JSON2Rung`` -> read, JSON2, Rung."""
    return re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+[0-9]*(?![a-z])", name)


def in_name(name: str, words: list[Word]) -> list[tuple[str, Word]]:
    """Parts of an identifier that should not stand there, each with the word that it is."""
    whole, parts = [name.strip("_")], parts_of(name)
    return [
        (part, word)
        for word in words
        if "names" in word.where
        for part in (whole if word.where == "whole names" else parts)
        if word.pattern.fullmatch(part)
    ]


def found_in(text: str, words: list[Word]) -> list[str]:
    """``line: what (better)`` for each word that should not stand there."""
    found, known = [], {name: [] for name in FOREIGN}
    in_text = [
        (re.compile(rf"(?i)\b{word.pattern.pattern}\b"), word)
        for word in words
        if "text" in word.where
    ]
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        hits: list[tuple[str, Word]] = []
        if token.type == tokenize.NAME:
            if token.string not in known:  # most of them come again and again
                known[token.string] = in_name(token.string, words)
            hits = known[token.string]
        elif token.type in TEXT:
            hits = [(hit, word) for out, word in in_text for hit in out.findall(token.string)]
        found += [f"{token.start[0]}: {hit} ({word.better})" for hit, word in hits]
    return found


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("budget = 4", 0),
        ("rung = 4", 1),
        ("by_rung = RungTable()", 2),
        ('"""Each rung of the ladder."""', 2),
        ("x = 1  # allotted", 1),
        ("told = ask(asked)", 2),
        ("asked_of = 1", 0),
        ('"""The price of a closer look."""', 2),
    ],
)
def test_the_check_sees_names_and_text(text: str, count: int) -> None:
    assert len(found_in(text + "\n", read_words(GLOSSARY.read_text("utf-8")))) == count


def test_the_code_speaks_in_the_words_of_the_glossary() -> None:
    words = read_words(GLOSSARY.read_text("utf-8"))
    assert len(words) > 20
    files = [file for room in ("src", "demonstrator") for file in (ROOT / room).rglob("*.py*")]
    assert len(files) > 100
    found = [
        f"{file.relative_to(ROOT)}:{line}"
        for file in sorted(files)
        if file.suffix in (".py", ".pyi")
        for line in found_in(file.read_text("utf-8"), words)
    ]
    assert not found, "see docs/glossary.md:\n" + "\n".join(found)
