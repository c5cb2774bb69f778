"""Code that a recipe names: beside it or installed, never out of a checkpoint's folder."""

import textwrap

import pytest

from napari_pathreason.errors import QueryError
from napari_pathreason.training.recipe import file_beside, load_object


def _write(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(textwrap.dedent(text))
    return file


def test_an_installed_module_is_found(tmp_path, monkeypatch):
    assert load_object("math:sqrt")(9) == 3
    assert load_object("os.path:basename", [tmp_path])("a/b") == "b"
    assert file_beside("math:sqrt", [tmp_path]) is None


def test_a_file_beside_the_recipe_comes_first_and_the_nearest_of_two(tmp_path):
    far = _write(tmp_path / "far/math.py", "def sqrt(x):\n    return 'far'\n").parent
    near = _write(tmp_path / "near/math.py", "def sqrt(x):\n    return 'near'\n").parent
    assert load_object("math:sqrt", [far])(9) == "far"
    assert load_object("math:sqrt", [near, far])(9) == "near"
    assert load_object("math:sqrt")(9) == 3  # the installed one is still itself
    assert file_beside("math:sqrt", [tmp_path, far]) == far / "math.py"


def test_a_file_is_imported_once_and_may_hold_dataclasses(tmp_path):
    _write(
        tmp_path / "mine.py",
        """\
        from __future__ import annotations
        from dataclasses import dataclass

        @dataclass(slots=True)
        class Reward:
            weight: float = 2.0
        """,
    )
    first, again = (load_object("mine:Reward", [tmp_path]) for _ in range(2))
    assert first is again
    assert first().weight == 2.0


@pytest.mark.parametrize(
    ("reference", "text", "message"),
    [
        ("reward", "", "'reward' names no code; write module:name"),
        (":reward", "", "names no code"),
        ("mine:", "", "names no code"),
        ("mine:reward", "x = 1", r"there is no reward in mine\.py"),
        ("mine:reward", "import not_installed", "needs the module not_installed"),
        ("mine:reward", "def reward(:", "cannot be imported: SyntaxError"),
        ("mine:reward", "1 / 0", "cannot be imported: ZeroDivisionError"),
        ("nowhere_at_all:reward", "", r"no nowhere_at_all\.py beside the recipe"),
        ("math:no_such", "", "no no_such in math"),
    ],
)
def test_what_is_not_there_is_one_line(tmp_path, reference, text, message):
    _write(tmp_path / "mine.py", text)
    for _ in range(2):  # a file that failed is no module afterwards
        with pytest.raises(QueryError, match=message) as caught:
            load_object(reference, [tmp_path])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mark", ["config.json", "adapter_config.json"])
def test_a_checkpoints_folder_is_refused_before_anything_runs(tmp_path, mark):
    _write(tmp_path / "mine.py", "from pathlib import Path\nPath(__file__ + '.ran').touch()\n")
    (tmp_path / mark).write_text("{}")
    with pytest.raises(QueryError, match="checkpoint's folder"):
        load_object("mine:reward", [tmp_path])
    assert not (tmp_path / "mine.py.ran").exists()
