"""Commands that meet a fault at each thing that they do to files, and what becomes of them.

``python -m tests.faults._faults COMMAND FOLDER EVENTS SEED``: COMMAND is one of `COMMANDS`, EVENTS
says at how many of a command's file events each fault is tried (``all``: at every one). Which those
are is found by an audit hook, to which Python tells of each file before it touches it, in an
undisturbed run. What libraries in C and Rust write is not told of: that is what a torn write is
for, which the system itself ends at a byte. Prints a line for each trial that went wrong, then the
counts as JSON.

The faults: ``kill``; ``tear``, a death in the midst of a write; ``fill``, a full disk; ``other``, a
kill and then another input; ``freeze``, a stop while another process begins; ``swap``, another
input in the place of the first one while that is read.

Each trial is a process of its own, forked where all is imported, so that it costs no start. Where
nothing on the disk has changed since the event before, a death or a full disk finds what it found
there, and is not tried again; nor is it seen twice how a command goes on from one and the same
state of the disk. What is frozen or swapped is tried at every event.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import threading
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.faults._commands import COMMANDS, Command, content

DEATHS = ("kill", "tear", "fill", "other")
"""Faults of which only the disk knows when they come."""
STOPS = ("freeze", "swap")
GONE = 137
"""Code of what was killed."""
REFUSED = ("holds a run", "keeps the readings", "holds answers")
"""What is said where a folder belongs to another input."""
DRAWN = re.compile(r"(\.pathreason-|\.tmp)\w+")
"""Names that are drawn by chance."""


def state_of(folder: Path) -> str:
    """What tells one state of a trial's folder from another: all that a new process could see.

    Left out are times, and the names of drafts, which are drawn.
    """
    digest = hashlib.sha256()
    found = []
    for path in folder.rglob("*"):
        name = DRAWN.sub(r"\1", path.relative_to(folder).as_posix())
        with contextlib.suppress(FileNotFoundError):
            mode = path.stat().st_mode
            held = content(path) if path.is_file() else b""
            held = held if isinstance(held, bytes) else repr(held).encode()
            found.append((name, mode, hashlib.sha256(held).digest()))
    for one in sorted(found):
        digest.update(repr(one).encode())
    return digest.hexdigest()


def touches(event: str, arguments: tuple[Any, ...], folder: str) -> bool:
    """Whether an audit event is about a file in a folder; whatever it does there."""
    for one in arguments:
        if isinstance(one, str | bytes | os.PathLike):
            with contextlib.suppress(ValueError, TypeError):
                if os.fsdecode(one).startswith(folder):
                    return True
    return False


def start(
    command: Command, folder: Path, fault: str = "", at: int = 0, most: int = 0
) -> tuple[int, int]:
    """Begin a command in a process of its own; its id, and where it says what.

    ``most`` is the size of a file, bytes, from the event on: more does not fit on a full disk, and
    kills where a write is to be torn.
    """
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        return pid, read
    os.close(read)
    os.dup2(write, 1)
    os.dup2(write, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    count, place = 0, str(folder)
    states: list[str] = []
    inside: set[int] = set()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if fault == "tear":
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it otherwise

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        thread = threading.get_ident()
        if thread in inside or not touches(event, arguments, place):
            return
        count += 1
        number = count
        inside.add(thread)  # what a fault itself does is no event
        if fault == "count":
            states.append(state_of(folder))
        if number == at:
            if fault in ("kill", "other"):
                os.kill(os.getpid(), signal.SIGKILL)
            elif fault in ("fill", "tear"):
                resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
            elif fault == "freeze":
                os.kill(os.getpid(), signal.SIGSTOP)
            elif fault == "swap":
                command.swap(folder)
        inside.discard(thread)

    sys.addaudithook(hook)
    try:
        code = command.run(command.words(folder)) or 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException as error:
        sys.stderr.write(f"Traceback: {type(error).__name__}: {error}")
        code = 1
    if fault == "count":
        told = {"states": states, "modules": [*sys.modules]}
        sys.stdout.write(f"\nEVENTS {json.dumps(told)}\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def end(process: tuple[int, int]) -> tuple[int, str]:
    """Code of a process and what it said."""
    pid, read = process
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read().decode(errors="replace")
    _, status = os.waitpid(pid, 0)
    return (GONE if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)), said


def stopped(process: tuple[int, int]) -> bool:
    """Whether it froze; False where it ended before."""
    _, status = os.waitpid(process[0], os.WUNTRACED)
    return os.WIFSTOPPED(status)


class Trials:
    """Trials of a command, each in a folder of its own.

    Parameters
    ----------
    command : Command
    root : Path
    """

    def __init__(self, command: Command, root: Path) -> None:
        self.command, self.root = command, root
        self.wrong: list[str] = []
        self.right: set[str] = set()
        self.counts: Counter[str] = Counter()
        folder = self.fresh()
        code, said = end(start(command, folder, "count"))
        assert code == 0, said
        found = json.loads(said.rpartition("EVENTS ")[2])
        states = found["states"]
        self.events = len(states)
        self.changes = [
            at for at, state in enumerate(states, 1) if at == 1 or states[at - 2] != state
        ]
        for module in found["modules"]:  # what is imported here, no trial has to
            if module != "__main__":
                with contextlib.suppress(ImportError):
                    import_module(module)
        self.whole = self.other = command.result(folder)
        self.sizes = [f.stat().st_size for f in folder.rglob("*") if f.is_file()]
        if command.swap is not None:
            folder = self.fresh()
            command.swap(folder)
            code, said = end(start(command, folder))
            assert code == 0, said
            self.other = command.result(folder)
            assert self.other != self.whole

    def fresh(self) -> Path:
        """A new folder, always under the same name."""
        folder = self.root / "trial"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.command.make(folder)
        return folder

    def check(self, told: str, folder: Path) -> None:
        """Run a command again, as its user would, and compare what it leaves."""
        state = state_of(folder)
        if state in self.right:
            self.counts["gone on from such a state before"] += 1
            return
        before = len(self.wrong)
        code, said = end(start(self.command, folder))
        if code != 0:
            self.wrong.append(f"{told}: run again ended with {code}: {said[-300:]!r}")
        else:
            self.ended(f"{told}: run again", folder, code, said)
        if left := [path.name for path in folder.rglob(".pathreason-*")]:
            self.wrong.append(f"{told}: drafts are left: {left}")
        if len(self.wrong) == before:
            self.right.add(state)

    def ended(self, told: str, folder: Path, code: int, said: str, *, other: bool = False) -> None:
        """Hold an ending against what is promised: all is there, or one line says what is wrong."""
        if code not in (0, 2) or "Traceback" in said:
            self.wrong.append(f"{told} ended with {code}: {said[-300:]!r}")
        elif code == 0:
            found, wanted = self.command.result(folder), self.other if other else self.whole
            if found != wanted:
                names = (n for n in {*found, *wanted} if found.get(n) != wanted.get(n))
                self.wrong.append(f"{told} ended well, but left other {', '.join(sorted(names))}")

    def put_back(self, folder: Path) -> None:
        """Put the first input in its place again, beside what a command has left."""
        out, kept = folder / "out", self.root / "kept"
        if out.exists():
            out.replace(kept)
        self.fresh()
        if kept.exists():
            kept.replace(out)

    def refused(self, folder: Path, code: int, said: str) -> bool:
        """Whether a folder was refused because it belongs to another input; it is emptied then."""
        if code != 2 or not any(words in said for words in REFUSED):
            return False
        self.counts["refused as another's"] += 1
        shutil.rmtree(folder / "out")
        return True

    def try_fault(self, fault: str, at: int, draw: random.Random) -> None:
        """One trial; a death is followed by a kill at any event of the second run."""
        folder = self.fresh()
        again = draw.randint(1, self.events)
        most = int(draw.random() * draw.choice(self.sizes))
        if fault == "fill" and draw.random() < 0.5:
            most = 0  # nothing fits any more
        told = f"{fault} at event {at} of {self.events} (again at {again}, {most} bytes)"
        self.counts[fault] += 1
        process = start(self.command, folder, fault, at, most)
        if fault == "freeze":
            if stopped(process):
                self.ended(f"{told}: another one", folder, *end(start(self.command, folder)))
                os.kill(process[0], signal.SIGCONT)
                self.ended(f"{told}: thawed, it", folder, *end(process))
            else:
                os.close(process[1])
            self.check(told, folder)
            return
        code, said = end(process)
        if fault in ("kill", "other") and code != GONE:
            self.wrong.append(f"{told}: it lived")
        if fault == "swap":
            self.after_swap(told, folder, code, said)
        elif fault == "other":
            self.command.swap(folder)
            code, said = end(start(self.command, folder))
            if not self.refused(folder, code, said):
                if code != 0:
                    self.wrong.append(f"{told}: the other ended with {code}: {said[-300:]!r}")
                self.ended(f"{told}: the other", folder, code, said, other=True)
                self.put_back(folder)
                self.refused(folder, *end(start(self.command, folder)))
            else:
                self.put_back(folder)
        elif code == GONE:
            end(start(self.command, folder, "kill", again))  # it may end before
        else:
            self.ended(f"{told}: it", folder, code, said)
        self.check(told, folder)

    def after_swap(self, told: str, folder: Path, code: int, said: str) -> None:
        """What was swapped belongs to one of both, and is known for what it is afterwards."""
        result = self.command.result(folder) if code == 0 else None
        if "Traceback" in said or code not in (0, 2):
            self.wrong.append(f"{told}: it ended with {code}: {said[-300:]!r}")
        elif code == 0 and result not in (self.whole, self.other):
            self.wrong.append(f"{told}: what it left belongs to neither of both")
        self.put_back(folder)
        code, said = end(start(self.command, folder))
        if not self.refused(folder, code, said) and code != 0:
            self.wrong.append(f"{told}: put back, it ended with {code}: {said[-300:]!r}")


def some(places: list[int], events: str, draw: random.Random) -> list[int]:
    """As many places as are to be tried, spread over all of them."""
    if events == "all":
        return places
    number = min(int(events), len(places))
    share = len(places) / number
    return [places[int(share * (n + draw.random()))] for n in range(number)]


def run(name: str, root: Path, events: str, seed: int) -> Trials:
    """All trials of a command."""
    trials = Trials(COMMANDS[name], root)
    draw = random.Random(seed)
    for faults, places in ((DEATHS, trials.changes), (STOPS, [*range(1, trials.events + 1)])):
        for at in some(places, events, draw):
            before = len(trials.wrong)
            for fault in faults:
                if trials.command.swap is not None or fault not in ("swap", "other"):
                    trials.try_fault(fault, at, draw)
            told = "; ".join(trials.wrong[before:]) or "right"
            sys.stderr.write(f"{name}, event {at} of {trials.events}: {told}\n")
    return trials


def begin() -> None:
    """Prepare a command, try it, and say what came of it."""
    name, root, events, seed = sys.argv[1], Path(sys.argv[2]).resolve(), sys.argv[3], sys.argv[4]
    root.mkdir(parents=True, exist_ok=True)
    COMMANDS[name].prepare(root)
    trials = run(name, root, events, int(seed))
    for line in trials.wrong:
        print(line)  # noqa: T201
    counts = {"events": trials.events, "changes": len(trials.changes), "wrong": len(trials.wrong)}
    print(json.dumps({**counts, **trials.counts}))  # noqa: T201


if __name__ == "__main__":
    begin()
