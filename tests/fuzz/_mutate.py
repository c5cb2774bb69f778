"""Changes at random to good files, and what a reader may make of them."""

from __future__ import annotations

import copy
import json
import os
import resource
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from napari_pathreason.errors import PathreasonError

MUTATIONS = int(os.environ.get("PATHREASON_MUTATIONS", "300"))
SEED = 2029
SECONDS = 5
BYTES = 2 * 2**30
LARGE = [2**31 - 1, 2**32 - 1, 0, 1, 0x80000000, 0x10000]
ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    2**63,
    10**400,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "a/b",
]
ODD += ["\x1b[2J\n", [], {}, [None], [[[]]], {"": {}}, "9" * 5000]
"""Values of json where others belong."""

HOSTILE = [
    b"",
    b"\0" * 100,
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"9" * 10_000,
    b"a" * 300_000,
    b'"' + b"a" * 300_000,
    b"slide,annotations\n" + b"b" * 300_000 + b",c\n",
    b"tile,budget\n1," + b"b" * 300_000 + b"\n",
    b"slide\n\0.svs\n../" + b"c" * 300 + b"\n",
    b"- " * 20_000,
    b"\xff\xfe\x00a",
    b"\r\r\r,\r\n;;;\n",
]
"""What chance does not make: nothing, zeros, depth, lengths, another encoding."""


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes of a file changed; its first kilobytes more often, where structure stands."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 6))):
        if not data:
            break
        reach = len(data) if rng.random() < 0.5 else min(len(data), 2048)
        at = int(rng.integers(0, reach))
        kind = int(rng.integers(0, 6))
        if kind == 0:
            data[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            data[at : at + 4] = int(rng.choice(LARGE)).to_bytes(4, "little")
        elif kind == 2:
            del data[at : at + int(rng.integers(1, 64))]
        elif kind == 3:
            data[at:at] = data[at : at + int(rng.integers(1, 64))]
        elif kind == 4:
            data[at : at + 16] = bytes(rng.integers(0, 256, 16, dtype=np.uint8))
        else:
            del data[max(at, 16) :]
    return bytes(data)


def mutated_json(content: bytes, rng: np.random.Generator) -> bytes:
    """One to three values of a json file replaced, left out, or moved elsewhere."""
    whole = json.loads(content)
    for _ in range(int(rng.integers(1, 4))):
        places = list(_places(whole))
        if not places:
            break
        holder, key = places[int(rng.integers(len(places)))]
        if rng.random() < 0.2:
            del holder[key]
        else:
            other, from_key = places[int(rng.integers(len(places)))]
            values = [*ODD, other[from_key]] if from_key in _keys(other) else ODD
            # a copy: a value within itself is no json
            holder[key] = copy.deepcopy(values[int(rng.integers(len(values)))])
    return json.dumps(whole, default=str).encode()


def _keys(holder: Any) -> Any:
    return holder.keys() if isinstance(holder, dict) else range(len(holder))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every value within another one, by what holds it and under which key."""
    for key in list(_keys(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


class Hang(Exception):
    """A target took too long."""


@contextmanager
def watched(which: str) -> Iterator[None]:
    """End what takes more than `SECONDS` of a processor, or a minute of the clock."""

    def stop(*_: Any) -> None:
        raise Hang(which)

    before = {kind: signal.signal(kind, stop) for kind in (signal.SIGPROF, signal.SIGALRM)}
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(12 * SECONDS)
    start = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        for kind, handler in before.items():
            signal.signal(kind, handler)
        assert time.process_time() - start < 2 * SECONDS, which


def attempt(read: Callable[[Path], object], path: Path, which: str) -> str:
    """What came of a read: "read" or the error's line; anything else fails the test."""
    try:
        with watched(which):
            read(path)
        return "read"
    except PathreasonError as error:
        line = str(error)
        assert "\n" not in line, which
        assert "\x1b" not in line, which
        assert str(path.parent) not in line, which
        return line
    except AssertionError:
        raise
    except BaseException as error:  # a panic of Rust is no Exception
        raise AssertionError(f"{which}: {type(error).__name__}: {error}") from error


def check_memory() -> None:
    """Fail where the process has ever had too much."""
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 < BYTES


def attempt_hostile(read: Callable[[Path], object], path: Path) -> None:
    """Read each of `HOSTILE` in place of a file, which is whole again behind them."""
    content = path.read_bytes()
    try:
        for number, hostile in enumerate(HOSTILE):
            path.write_bytes(hostile)
            attempt(read, path, f"{path.name} hostile {number}")
    finally:
        path.write_bytes(content)
