"""Damaged copies of what else is read: recipes, checkpoints, runs, replies of servers."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from napari_pathreason import models
from napari_pathreason.cli import main
from napari_pathreason.errors import QueryError
from napari_pathreason.exports import read_manifest
from napari_pathreason.models import load_models
from napari_pathreason.models.server import Client, ServerPerformer, load_server, parse_address
from napari_pathreason.tasks import TASKS, parse_allocation, parse_windows
from napari_pathreason.training import load_recipe, read_samples
from napari_pathreason.types import GenerationSettings, Prompt, Query
from tests.faults._commands import (
    ask_words,
    detect_words,
    files_in,
    load_reader,
    make_slide,
)
from tests.fuzz._mutate import (
    MUTATIONS,
    SEED,
    attempt,
    attempt_hostile,
    check_memory,
    mutated,
    mutated_json,
    watched,
)
from tests.support import make_tiny_checkpoint
from tests.support.servers import serving

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(3600)]
RECIPES = Path(__file__).parents[2] / "recipes"
PROMPT = Prompt(
    (np.zeros((64, 64, 3), np.uint8),),
    TASKS["vqa"].messages(Query("vqa", "Is there tumour?", ("yes", "no"))),
)


def damage(path: Path, read: Callable[[Path], object], which: str) -> list[str]:
    """Outcomes of a file's mutations; it is whole again behind them."""
    content = path.read_bytes()
    rng = np.random.default_rng(SEED)
    outcomes = []
    try:
        for number in range(MUTATIONS):
            change = mutated_json if number % 2 and path.suffix == ".json" else mutated
            path.write_bytes(change(content, rng))
            outcomes.append(attempt(read, path, f"{which} {number}"))
        attempt_hostile(read, path)
    finally:
        path.write_bytes(content)
    check_memory()
    return outcomes


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_damaged_recipe(tmp_path: Path, recipe: Path):
    for file in RECIPES.glob("*.yaml"):
        shutil.copy(file, tmp_path)
    outcomes = damage(tmp_path / recipe.name, load_recipe, recipe.name)
    assert len({*outcomes}) > 2


def test_damaged_samples(tmp_path: Path):
    line = (
        '{"image": "a.png", "task": "vqa", "question": "Is it?", "answer": "yes", '
        '"choices": ["yes", "no"], "source": "made"}\n'
    )
    (tmp_path / "train.jsonl").write_text(3 * line)
    assert len({*damage(tmp_path / "train.jsonl", read_samples, "samples")}) > 2


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_checkpoint(tmp_path_factory.mktemp("fuzz") / "tiny")


def answer(path: Path) -> None:
    """Load the model that a file belongs to, and let it write a little."""
    performer = load_models(path.parent, "cpu").performer
    list(performer.generate(PROMPT, GenerationSettings(2), threading.Event()))


@pytest.mark.parametrize(
    "file",
    [
        "config.json",
        "generation_config.json",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "model.safetensors",
    ],
)
def test_a_damaged_file_of_a_checkpoint(checkpoint: Path, file: str):
    outcomes = damage(checkpoint / file, answer, file)
    assert any(outcome != "read" for outcome in outcomes)
    answer(checkpoint / file)


def said_by(words: list[str]) -> tuple[int, str]:
    """Exit code of a command, and what it said of what went wrong."""
    stderr = io.StringIO()
    with contextlib.redirect_stderr(stderr), contextlib.redirect_stdout(io.StringIO()):
        code = main(words)
    return code, stderr.getvalue()


@pytest.mark.parametrize(
    ("words", "is_own"),
    [
        (detect_words, lambda name: name in ("plan.json", "manifest.json") or "jsonl" in name),
        (ask_words, lambda name: True),
    ],
    ids=["detect", "ask"],
)
def test_a_damaged_file_of_a_run(tmp_path: Path, monkeypatch, words, is_own):
    """Taken up again it ends in a line or well; what it only wrote is written as it was."""
    monkeypatch.setattr(models, "load_models", load_reader)
    make_slide(tmp_path)
    assert said_by(words(tmp_path))[0] == 0
    out = tmp_path / "out"
    whole = files_in(out)
    shutil.copytree(out, tmp_path / "kept")
    files = sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file())
    rng = np.random.default_rng(SEED)
    for number in range(MUTATIONS):
        shutil.rmtree(out)
        shutil.copytree(tmp_path / "kept", out)
        file = files[number % len(files)]
        content = (out / file).read_bytes()
        change = mutated_json if number % 2 and file.suffix == ".json" else mutated
        (out / file).write_bytes(change(content, rng))
        which = f"{file} {number}"
        with watched(which):
            code, said = said_by(words(tmp_path))
        assert code in (0, 2), (which, said)
        assert "Traceback" not in said, which
        if code == 0 and not is_own(file.name):
            assert files_in(out) == whole, which
    check_memory()


def test_a_damaged_file_of_views(tmp_path: Path):
    """Whatever it says, a plan is made, or one line says what is wrong; nothing is asked."""
    make_slide(tmp_path)
    slide, views = str(tmp_path / "slide.png"), tmp_path / "views.json"
    question = ["--task", "vqa", "--question", "Is there tumour?", "--choices", "yes,no"]
    words = ["ask", slide, *question, "--views", str(views), "--policy", "listed", "--show-views"]
    windows = [
        {"region": [0, 0, 128, 128], "tokens": 16, "why": "in the corner"},
        {"region": [128, 64, 128, 128], "tokens": 0},
        {"region": [256, 256, 64, 64], "tokens": None},
    ]
    views.write_text(json.dumps({"windows": windows}))

    def plan(_: Path) -> None:
        code, said = said_by(words)
        assert "Traceback" not in said
        assert code in (0, 2), said
        if code:
            *_, last = said.splitlines()
            assert last.startswith("pathreason: ")
            raise QueryError(last)

    assert attempt(plan, views, "views whole") == "read"
    outcomes = damage(views, plan, "views")
    assert "read" in outcomes
    assert len({*outcomes}) > 4


def test_what_a_model_writes_of_windows(tmp_path: Path):
    """Any text gives windows that there are, and a number of tokens."""
    good = b"<think>Windows 3 and 7 look odd.</think><answer>3: 64, 7: 1,256, 12: 16</answer>"
    assert parse_windows(good.decode(), 12).windows == ((3, 64), (7, 1256), (12, 16))

    def parse(path: Path) -> None:
        text = path.read_text(errors="replace")
        written = parse_windows(text, 12)
        assert all(1 <= number <= 12 and tokens > 0 for number, tokens in written.windows)
        assert len({number for number, _ in written.windows}) == len(written.windows)
        number = parse_allocation(text).number
        assert number is None or number > 0

    path = tmp_path / "answer.txt"
    path.write_bytes(good)
    assert {*damage(path, parse, "answer")} == {"read"}


def test_a_damaged_manifest(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(models, "load_models", load_reader)
    make_slide(tmp_path)
    manifest = tmp_path / "manifest.json"
    assert said_by([*ask_words(tmp_path), "--manifest", str(manifest)])[0] == 0
    read_manifest(manifest)
    assert any(outcome != "read" for outcome in damage(manifest, read_manifest, "manifest"))


class Proxy:
    """Stands before a server and damages what comes back.

    Parameters
    ----------
    port : int
        Of the server.
    rng : numpy.random.Generator
    """

    def __init__(self, port: int, rng: np.random.Generator) -> None:
        self._port, self._rng = port, rng
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.damages = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                for source, sink, back in ((client, server, False), (server, client, True)):
                    arguments = (source, sink, back)
                    threading.Thread(target=self._pump, args=arguments, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, back: bool) -> None:
        with contextlib.suppress(OSError), source, sink:
            while data := source.recv(65536):
                if back and self.damages and self._rng.random() < 0.5:
                    data = mutated(data, self._rng)
                sink.sendall(data)


@contextlib.contextmanager
def damaging(address: str) -> Iterator[tuple[Proxy, str]]:
    """A proxy before a server, and the address that it has."""
    port = int(address.partition("//")[2].partition("/")[0].rpartition(":")[2])
    proxy = Proxy(port, np.random.default_rng(SEED))
    try:
        yield proxy, address.replace(f":{port}", f":{proxy.port}")
    finally:
        proxy.close()


def ask(performer: ServerPerformer) -> None:
    list(performer.generate(PROMPT, GenerationSettings(), threading.Event()))


@pytest.mark.usefixtures("own_folders")
def test_damaged_replies_of_a_server(tmp_path: Path):
    with serving() as fake, damaging(fake.address) as (proxy, address):
        usual = load_server(address)
        client = Client(parse_address(address), timeout=0.5, waits=(0.01, 0.01))
        performer = ServerPerformer(client, usual.capabilities, usual.info)
        proxy.damages = True
        outcomes = []
        for number in range(MUTATIONS):
            which = f"reply {number}"
            outcomes.append(attempt(lambda _: ask(performer), tmp_path / "no/file", which))
        assert "read" in outcomes
        assert len({*outcomes}) > 1
    check_memory()
