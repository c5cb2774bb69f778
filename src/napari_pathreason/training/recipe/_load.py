"""Recipes from YAML: one may extend another, and single keys may be set at the command line.

A recipe that extends another is that one with some keys changed. Sections (mappings whose keys are
fields of `Recipe` and its parts) are merged key by key. Everything else is replaced whole: numbers,
lists, and mappings of weights such as ``data.weights``, ``sft.budgets`` and ``allocator.lambdas``,
for weights mean something beside each other alone, and an entry that is left out is meant to go.
Options of an objective are a section, too, as long as the objective stays the same.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from napari_pathreason.errors import OWN_WORDS, QueryError, reading
from napari_pathreason.files import name_of, plain_text, resolved

from ._recipe import Recipe

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

EXTENDS = "extends"
"""Key of the recipe that another one changes, a path seen from its folder."""
MOST_BYTES, DEPTH = 2**16, 32
"""Bytes of a recipe and levels within it: the longest that ships has 3,000 and 4. The parser takes
a second for each 100,000 bytes, and more than a minute for as many levels."""
_GLUED = re.compile(r"\d+:[\d.]+$")
"""A budget and its weight without the blank that parts them."""
_OCTAL = re.compile(r"[-+]?0[0_]*[1-7][0-7_]*$")
_NUMBERS = {f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool")}
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_OPENING = (
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.FlowMappingStartToken,
    yaml.FlowSequenceStartToken,
)
_CLOSING = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)
OPTIONS, OBJECTIVE = "objective_options", "objective"
"""Keys of `SFTRecipe`: options, and what they are options of."""


def load_recipe(path: Path, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe, those that it extends, and what is set besides.

    Parameters
    ----------
    path : Path
    changes : sequence of str
        Each ``section.key=value``, the value YAML, as of ``--set``: as if a recipe that extends
        this one said so. The last one of a key counts.

    Raises
    ------
    QueryError
        If a file is missing, is not YAML, extends itself, or holds an unknown key or a wrong type;
        in one line that names the file.
    """
    chain = _read_chain(path)
    values: dict[str, Any] = {}
    for _, keys in reversed(chain):
        values = _merge(values, keys, Recipe)
    for change in changes:
        values = _merge(values, _parse_change(change), Recipe)
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        file = next((file for file, keys in chain if _holds(keys, first["loc"])), path)
        keys_of = plain_text(".".join(map(str, first["loc"])))
        where = ": ".join([name_of(file), *filter(None, [keys_of])])
        raise QueryError(f"{where}: {_why(first)}") from None
    return recipe.beside_folders([file.parent for file, _ in chain])


def _why(error: ErrorDetails) -> str:
    """What is wrong with a value; of an unknown key the known one that is most like it."""
    if error["type"] != "extra_forbidden":
        return error["msg"].removeprefix("Value error, ")
    *sections, key = error["loc"]
    model: type[BaseModel] | None = Recipe
    for section in sections:
        model = None if model is None else _section(model, str(section))
    known = [] if model is None else [*model.model_fields]
    like = get_close_matches(str(key), known, 1)
    return f"there is no such key; {f'did you mean {like[0]}?' if like else 'leave it out'}"


def _read_chain(path: Path) -> list[tuple[Path, dict[str, Any]]]:
    """A recipe and those that it extends, the one that extends none last, without that key."""
    chain: list[tuple[Path, dict[str, Any]]] = []
    file: Path | None = path
    while file is not None:
        if resolved(file) in [resolved(before) for before, _ in chain]:
            way = " -> ".join(each.name for each in (*(f for f, _ in chain), file))
            raise QueryError(f"{path.name} extends itself: {way}; let one of them extend no other")
        values = _read_file(file, chain[-1][0] if chain else None)
        base = values.pop(EXTENDS, None)
        if base is not None and not (isinstance(base, str) and base):
            raise QueryError(f"{file.name}: {EXTENDS}: give the path of one recipe")
        chain.append((file, values))
        file = None if base is None else file.parent / base
    return chain


def _read_file(file: Path, extended_by: Path | None) -> dict[str, Any]:
    if not os.path.isfile(file):  # also where the name is too long for any file's
        if extended_by is not None:
            raise QueryError(
                f"the recipe {file.name[:100]}, which {extended_by.name} extends, is not there; "
                f"give its path as seen from the folder of {extended_by.name}"
            )
        raise QueryError(f"the recipe {file.name} is not there; see recipes/qwen3-vl-2b.yaml")
    name = name_of(file)
    with reading(name, QueryError, "write it as YAML in UTF-8"):
        with file.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise QueryError(f"{name} is longer than any recipe; give the path of one")
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise QueryError(
                f"{name} is not UTF-8 (byte {error.start + 1:,}); save it in that encoding"
            ) from None
        values = _parse(text, name)
    if not isinstance(values, dict):
        raise QueryError(f"{name} is no recipe: it has no keys")
    if not all(isinstance(key, str) for key in values):
        raise QueryError(f"{name} is no recipe: its keys must be names")
    return values


def _parse(text: str, where: str) -> Any:
    """The value of a YAML text of few levels, without aliases: they grow without end.

    Raises
    ------
    QueryError
        If it is none.
    """
    depth = 0
    try:
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            if isinstance(token, yaml.AliasToken):
                raise QueryError(f"{where} has aliases (*{token.value}), which recipes do without")
            if isinstance(token, yaml.ScalarToken) and _NO_TEXT.search(token.value):
                raise QueryError(
                    f"{where} holds a zero byte or half a character, which no name has; leave it "
                    "out"
                )
            if isinstance(token, yaml.ScalarToken) and token.plain and _OCTAL.match(token.value):
                raise QueryError(
                    f"{where} says {token.value[:20]}, which YAML takes for a number of base 8; "
                    "leave out the 0 before it"
                )
            if isinstance(token, yaml.ScalarToken) and token.plain and _GLUED.match(token.value):
                raise QueryError(
                    f"{where} says {token.value}, which YAML takes for one number of base 60; "
                    "write a blank behind the colon"
                )
            depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
            if depth > DEPTH:
                raise QueryError(f"{where} is nested too deeply; recipes have few levels")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if twice := _twice(node):
            raise QueryError(f"{where} says {plain_text(twice)} twice; leave one of them out")
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        what = plain_text(" ".join(str(error).split()))[:OWN_WORDS]
        raise QueryError(f"{where} is not YAML: {what}") from None


def _twice(node: yaml.Node | None) -> str:
    """A key that stands twice in one table, of which YAML takes the last; empty for none."""
    if isinstance(node, yaml.MappingNode):
        keys = [str(key.value) for key, _ in node.value]
        meant = [_meant(key) for key, _ in node.value]
        twice = next(
            (k for at, k in enumerate(keys) if k in keys[:at] or meant[at] in meant[:at]), ""
        )
        return twice or next(filter(None, (_twice(value) for _, value in node.value)), "")
    if isinstance(node, yaml.SequenceNode):
        return next(filter(None, map(_twice, node.value)), "")
    return ""


def _meant(key: yaml.Node) -> object:
    """What a key is once it is read, such as 4 of ``4.0``; of one that is no number its node."""
    if key.tag not in _NUMBERS:
        return key
    return yaml.SafeLoader("").construct_object(key)


def _parse_change(change: str) -> dict[str, Any]:
    """What ``section.key=value`` sets, as a recipe would say it."""
    key, _, text = change.partition("=")
    parts = key.strip().split(".")
    if "=" not in change or not all(parts):
        raise QueryError(f"--set takes KEY=VALUE, such as sft.lr=1e-4, not {change!r}")
    with reading(f"--set {key}", QueryError, "give a value as in a recipe"):
        value = _parse(text, f"--set {key}: the value")
    model: type[BaseModel] | None = Recipe
    for at, part in enumerate(parts[:-1]):
        if part == OPTIONS:
            break
        known = model is not None and part in model.model_fields
        model = None if model is None else _section(model, part)
        if known and model is None:
            whole = ".".join(parts[: at + 1])
            raise QueryError(f"--set {key}: {whole} is set whole, as in --set '{whole}=VALUE'")
    for part in reversed(parts):
        value = {part: value}
    return dict(value)


def _merge(
    base: Mapping[str, Any], over: Mapping[str, Any], model: type[BaseModel]
) -> dict[str, Any]:
    """What a recipe says that changes another one, section by section."""
    merged, same = dict(base), base.get(OBJECTIVE)
    if over.get(OBJECTIVE, same) != same:
        merged.pop(OPTIONS, None)  # they are options of another
    for key, value in over.items():
        section, before = _section(model, key), merged.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            if section is not None:
                value = _merge(before, value, section)
            elif key == OPTIONS:
                value = before | value
        merged[key] = value
    return merged


def _section(model: type[BaseModel], key: str) -> type[BaseModel] | None:
    """The part of a recipe that a key holds; None where it holds a value, or is unknown."""
    field = model.model_fields.get(key)
    kinds = () if field is None else (field.annotation, *get_args(field.annotation))
    parts = (k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel))
    return next(parts, None)


def _holds(values: Any, keys: Sequence[Any]) -> bool:
    """Whether a file itself says what lies at some keys."""
    for key in keys:
        if not isinstance(values, dict):
            return values is not None  # a value where keys are wanted, or an item of a list
        if key not in values:
            return False
        values = values[key]
    return bool(keys)
