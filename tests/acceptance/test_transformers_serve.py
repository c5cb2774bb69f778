"""The embedded model behind a real server gives the answers that it gives here.

Run by `make acceptance`: it installs what `transformers serve` needs beside this package.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest

from napari_pathreason import ask
from napari_pathreason.models import EMBEDDED, load_models
from napari_pathreason.models.server import load_server
from napari_pathreason.sample_data import samples
from napari_pathreason.tasks import TASKS
from napari_pathreason.types import GenerationSettings, Prompt, Query

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.usefixtures("own_folders"),
    pytest.mark.skipif(not EMBEDDED.is_dir(), reason="asks the embedded model"),
]
ROOT = Path(__file__).parents[2]
UP_WITHIN = 240
"""Seconds in which the server must listen, and its model be loaded."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of `transformers serve` of the embedded folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("serve") / "log.txt"
    words = ["-m", "tests.support.serve_folder", str(EMBEDDED), "--host", "127.0.0.1"]
    words += ["--port", str(port), "--device", "cpu"]
    with log.open("w") as out:
        child = subprocess.Popen(
            [sys.executable, *words],
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        )
    try:
        address = f"http://127.0.0.1:{port}/v1#{EMBEDDED}"
        deadline = time.monotonic() + UP_WITHIN
        while True:
            assert child.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            try:
                httpx2.get(f"http://127.0.0.1:{port}/health", timeout=2)
                break
            except httpx2.TransportError:
                time.sleep(0.5)
        yield address
    finally:
        child.kill()
        child.wait()


def test_what_the_server_does_is_found_out(server: str) -> None:
    found = load_server(server).capabilities
    assert (found.token_px, found.marks) == (32, 2)
    assert found.usage
    assert not found.logprobs
    assert found.pictures > 1
    assert found.pixels == "chat_template_kwargs"
    assert found.least == 1
    assert found.structured == ""
    assert found.counts  # its template writes how many visual tokens there are


@pytest.mark.parametrize("budget", [16, 64, 256])
def test_answers_are_those_of_the_model_here(server: str, budget: int) -> None:
    here, there = load_models("embedded", "cpu"), load_models(server)
    same = total = 0
    for sample in samples():
        for wanted in sample.questions:
            results = [
                ask(
                    sample.path,
                    region=(0, 0, 512, 480),
                    question=wanted.query.question,
                    task=wanted.query.task,
                    choices=wanted.query.options,
                    budget=budget,
                    model=model,
                    policy="one_view",
                    zoom=False,
                )
                for model in (here, there)
            ]
            one, other = results
            assert other.tokens.realised == one.tokens.realised
            total += 1
            same += (one.answer.text, one.answer.rationale) == (
                other.answer.text,
                other.answer.rationale,
            )
    print(f"{same} of {total} answers are the same at {budget} tokens")  # noqa: T201
    assert total >= 4
    assert same >= total - 1  # its pictures are normalised in another precision


def test_a_follow_up_is_sent_with_all_that_was_said(server: str) -> None:
    sample = samples()[0]
    words = {"model": server, "policy": "one_view"}
    place = (0, 0, 256, 256)
    question = "How many nuclei are there?"
    first = ask(sample.path, region=place, question=question, budget=64, **words)  # type: ignore[arg-type]
    second = ask(sample.path, question="Why?", after=first, model=server)
    assert second.answer.reply
    assert second.tokens.realised == first.tokens.realised == 64
    assert second.tokens.prompt_tokens > first.tokens.prompt_tokens + first.tokens.new_tokens
    assert not [note for note in second.warnings if "new question" in note]


def test_a_cancel_frees_the_server(server: str) -> None:
    performer = load_server(server)
    query = Query("detection", options=("platelet",))
    pictures = (np.random.default_rng(0).integers(0, 255, (512, 512, 3), np.uint8),)
    prompt = Prompt(pictures, TASKS["detection"].messages(query))
    cancel = threading.Event()
    pieces = performer.generate(prompt, GenerationSettings(), cancel)
    next(pieces)
    cancel.set()
    assert list(pieces)[-1].finish == "cancelled"
    began = time.perf_counter()
    quick = Prompt(
        (np.full((64, 64, 3), 255, np.uint8),), TASKS["vqa"].messages(Query("vqa", "What?"))
    )
    *_, done = performer.generate(quick, GenerationSettings(max_new_tokens=2), threading.Event())
    print(f"the next answer came after {time.perf_counter() - began:.2f} s")  # noqa: T201
    assert done.finish in ("length", "stop")


def test_the_shell_asks_it(server: str, tmp_path: Path) -> None:
    sample = samples()[0]
    words = ["ask", str(sample.path), "--question", "How many nuclei are there?"]
    words += ["--region", "0", "0", "256", "256", "--budget", "64", "--json", "-"]
    done = subprocess.run(
        [sys.executable, "-m", "napari_pathreason.cli", *words, "--model", server],
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout)
    assert told["tokens"]["realised"] == 64
    assert told["model"]["name"] == EMBEDDED.name
