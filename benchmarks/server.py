"""What asking a server costs beside the model: python benchmarks/server.py [--json FILE] [--quick].

A server in a process of its own, which speaks as vLLM does and writes a word every so many
milliseconds, stands for the model: what is measured is all that is ours. Wanted: at most 20 ms an
answer of CPU beyond what a bare request takes that sends the same body and reads the same lines,
and four requests in flight faster than one. Answers of both kinds take turns, and medians count:
seconds on the clock, and of this process on the CPU, which other work does not lengthen as much.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

from napari_pathreason.models.server import ServerPerformer, body_of, load_server
from napari_pathreason.tasks import TASKS
from napari_pathreason.types import GenerationSettings, Prompt, Query

WANTED_MS = 20.0
"""Of ours beyond a bare request."""
SIDE = 512
WORD_SECONDS = 0.01
BATCH = 16
QUERY = Query("vqa", "Is there tumour?", ("yes", "no"))
SERVE = """
import sys
sys.path.insert(0, {root!r})
from tests.support.servers import serving
with serving(delay={delay!r}) as server:
    print(server.address, flush=True)
    sys.stdin.read()
"""


@contextmanager
def served(delay: float) -> Iterator[str]:
    """Address of a server that waits so many seconds before each word."""
    root = str(Path(__file__).parents[1])
    code = SERVE.format(root=root, delay=delay)
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        yield child.stdout.readline().strip()
    finally:
        child.kill()
        child.wait()


def prompt(number: int = 0) -> Prompt:
    """A picture of noise, which cannot be packed, and a question."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    return Prompt((pixels,), TASKS["vqa"].messages(QUERY), QUERY.options)


Times = tuple[float, float]
"""Seconds on the clock, and of this process on the CPU."""


def timed(steps: Callable[[], Iterable[object]]) -> Times:
    """What it takes to go through some steps."""
    began, cpu = time.perf_counter(), time.process_time()
    for _ in steps():
        pass
    return time.perf_counter() - began, time.process_time() - cpu


def answer(performer: ServerPerformer, one: Prompt) -> Iterable[object]:
    """An answer, from its picture as an array to its text."""
    return performer.generate(one, GenerationSettings(), threading.Event())


def bare(client: httpx2.Client, url: str, body: dict[str, Any]) -> Iterator[str]:
    """A request whose body is ready, to its last line."""
    with client.stream("POST", f"{url}/chat/completions", json=body) as response:
        yield from response.iter_lines()


def overhead(rounds: int) -> dict[str, float]:
    """Milliseconds of an answer by us and by a bare request, and of each round's difference."""
    with served(0.0) as address:
        performer, one = load_server(address), prompt()
        url, _, model = address.partition("#")
        body = {
            "model": model,
            "stream": True,
            "messages": body_of(one.messages, one.pictures, near=True),
            "max_tokens": 256,
            "stream_options": {"include_usage": True},
            "logprobs": True,
            "top_logprobs": 20,
        }
        ours: list[Times] = []
        theirs: list[Times] = []
        with httpx2.Client(trust_env=False) as client:
            for _ in range(rounds + 2):
                ours.append(timed(lambda: answer(performer, one)))
                theirs.append(timed(lambda: bare(client, url, body)))
    found = {}
    for place, clock in enumerate(("", "cpu_")):
        mine, bares = ([1000 * one[place] for one in many[2:]] for many in (ours, theirs))
        found[f"ours_{clock}ms"] = statistics.median(mine)
        found[f"bare_{clock}ms"] = statistics.median(bares)
        beyond = (a - b for a, b in zip(mine, bares, strict=True))
        found[f"overhead_{clock}ms"] = statistics.median(beyond)
    return found


def in_flight(rounds: int) -> dict[str, float]:
    """Seconds of a batch of questions, one request at a time and four."""
    spent: dict[int, list[float]] = {1: [], 4: []}
    with served(WORD_SECONDS) as address:
        prompts = [prompt(number) for number in range(BATCH)]
        performers = {count: load_server(address, at_once=count) for count in spent}
        for performer in performers.values():
            timed(partial(answer, performer, prompts[0]))
        for _ in range(rounds):
            for count, performer in performers.items():
                began = time.perf_counter()
                performer.generate_batch(prompts, GenerationSettings(), threading.Event())
                spent[count].append(time.perf_counter() - began)
    one, four = (statistics.median(values) for values in spent.values())
    return {"one_s": one, "four_s": four, "times": one / four}


def main() -> int:
    """Measure, print a table, and return 1 where it is slower than wanted."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
            os.environ[name] = folder
        cost = overhead(5 if args.quick else 40)
        flight = in_flight(1 if args.quick else 5)
    print(f"| an answer about {SIDE} x {SIDE} px | ms | of the CPU |\n|---|---|---|")
    for name, words in (("ours", "ours"), ("bare", "a bare request"), ("overhead", "beyond it")):
        print(f"| {words} | {cost[f'{name}_ms']:.1f} | {cost[f'{name}_cpu_ms']:.1f} |")
    print()
    print(f"| {BATCH} questions, {1000 * WORD_SECONDS:.0f} ms a word | s |\n|---|---|")
    print(f"| one in flight | {flight['one_s']:.2f} |\n| four | {flight['four_s']:.2f} |")
    if args.json is not None:
        values = {"machine": platform.platform(), **cost, **flight}
        args.json.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    good = cost["overhead_cpu_ms"] <= WANTED_MS and flight["times"] > 1
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
