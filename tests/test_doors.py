"""A module with a leading underscore is imported by its own folder alone."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
PLACES = ("src", "tests", "docs", "benchmarks", "demonstrator")


def _python_files() -> list[Path]:
    return sorted(file for place in PLACES for file in (ROOT / place).rglob("*.py*"))


def _package_of(file: Path) -> list[str]:
    return list(file.relative_to(SRC).parent.parts) if file.is_relative_to(SRC) else []


def _imported(file: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Line and full dotted name, as parts, of everything that a file imports."""
    package = _package_of(file)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name.split(".")) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            inside = package[: len(package) - node.level + 1] if node.level else []
            module = inside + (node.module.split(".") if node.module else [])
            yield from ((node.lineno, [*module, *name.name.split(".")]) for name in node.names)


def _is_module(parts: list[str]) -> bool:
    place = SRC.joinpath(*parts)
    return place.is_dir() or place.with_suffix(".py").is_file()


def foreign_private_imports(file: Path, text: str) -> list[str]:
    """``line: name`` of each private module of this package that another folder owns."""
    found = []
    for line, parts in _imported(file, text):
        if parts[0] != "napari_pathreason":
            continue
        for place, part in enumerate(parts):
            private = part.startswith("_") and not part.startswith("__")
            if private and _is_module(parts[: place + 1]) and _package_of(file) != parts[:place]:
                found.append(f"{line}: {'.'.join(parts)}")
    return found


@pytest.mark.parametrize(
    ("file", "text", "count"),
    [
        ("engine/_run.py", "from ._job import Job", 0),
        ("engine/_run.py", "from napari_pathreason.models import Models", 0),
        ("engine/_run.py", "from napari_pathreason.models._adapter import CONFIG", 1),
        ("engine/_run.py", "from ..models import _adapter", 1),
        ("engine/_run.py", "import napari_pathreason.models._adapter as a", 1),
        ("training/run/_log.py", "def f():\n    from .. import _commands", 1),
    ],
)
def test_the_check_sees_each_form_of_import(file: str, text: str, count: int) -> None:
    assert len(foreign_private_imports(SRC / "napari_pathreason" / file, text)) == count


def test_no_module_is_imported_past_its_door() -> None:
    files = _python_files()
    assert len(files) > 300
    found = [
        f"{file.relative_to(ROOT)}:{name}"
        for file in files
        for name in foreign_private_imports(file, file.read_text())
    ]
    assert not found, "import these through the folder's `__init__.pyi`:\n" + "\n".join(found)


def _room_of(parts: list[str]) -> str:
    """Folder of a dotted name; a public module stands for itself."""
    for count in range(len(parts), 0, -1):
        place = SRC.joinpath(*parts[:count])
        public = not parts[count - 1].startswith("_")
        if place.is_dir() or (public and place.with_suffix(".py").is_file()):
            return ".".join(parts[:count])
    return parts[0]


def test_rooms_import_each_other_in_no_circle() -> None:
    below: dict[str, set[str]] = {}
    for file in SRC.rglob("*.py"):
        own = [*_package_of(file), file.stem]
        for _, parts in _imported(file, file.read_text()):
            if parts[0] == "napari_pathreason" and _room_of(parts) != _room_of(own):
                below.setdefault(_room_of(own), set()).add(_room_of(parts))
    assert len(below) > 15
    TopologicalSorter(below).prepare()  # raises CycleError, which names the circle


def test_every_name_of_a_door_is_there() -> None:
    doors = [
        ".".join(door.relative_to(SRC).parent.parts)
        for door in sorted((SRC / "napari_pathreason").rglob("__init__.pyi"))
    ]
    code = (
        "import importlib, sys\n"
        "for door in sys.argv[1:]:\n"
        "    room = importlib.import_module(door)\n"
        "    for name in room.__all__:\n"
        "        getattr(room, name)\n"
    )
    subprocess.run([sys.executable, "-c", code, *doors], check=True)
