"""A slide run that dies by SIGKILL before the n-th thing that it does to its folder.

``python _dying.py SLIDE FOLDER N``; with N = 0 it lives, and prints all of these things in order.
"""

import os
import signal
import sys
from dataclasses import replace

from conftest import SETTINGS, BatchFinder, detect
from napari_pathreason.slide_run import RunFinished

TOUCHES = ("open", "os.chmod", "os.mkdir", "os.remove", "os.rename", "tempfile.mkstemp")
steps = []


def watch(event, arguments):
    """An audit hook: Python tells it of each file before it touches it."""
    if event not in TOUCHES or not isinstance(arguments[0], str | os.PathLike):
        return
    if not os.fspath(arguments[0]).startswith(folder):
        return
    steps.append(f"{event} {os.path.basename(arguments[0])[:12]}")
    if len(steps) == last:
        # where there is no such signal, SIGTERM ends a process in the same way
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))


slide, folder, last = sys.argv[1], sys.argv[2], int(sys.argv[3])
sys.addaudithook(watch)
*_, end = detect(slide, folder, BatchFinder(), replace(SETTINGS, tile=128))
if not isinstance(end, RunFinished):
    sys.exit(end.reason)
sys.stdout.write("\n".join(steps))
