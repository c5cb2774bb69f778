"""The program of the model's own process, spoken to by pipe: ``python -m`` this module.

Its main thread loads the model and answers one request after the other; a second thread reads the
pipe, so that a cancel arrives while an answer is being written. When the pipe ends, because the
parent closed it or died, the process ends at once.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from queue import SimpleQueue

from napari_pathreason.engine import Performer, generate_together, learned_windows
from napari_pathreason.errors import ModelError
from napari_pathreason.models import (
    Fetched,
    LoadedModels,
    TextWindows,
    fetch,
    load_models,
    use_threads,
    wait_passively,
)
from napari_pathreason.types import Completion

from . import _wire

FRAME = 0.02
"""Seconds between two pieces of text: a small model writes faster than anyone reads, and waking
the parent for each token costs a tenth of its speed."""

Requests = SimpleQueue[tuple[_wire.Request, threading.Event]]


def serve(
    wire: _wire.Wire,
    load_models: Callable[..., LoadedModels] = load_models,
    fetch: Callable[[str, Callable[[Fetched], object]], None] = fetch,
) -> None:
    """Load the model that the other end names first, and answer it until it is gone."""
    load: _wire.Load = wire.receive()
    requests: Requests = SimpleQueue()
    threading.Thread(target=_listen, args=(wire, requests), daemon=True).start()
    try:
        if load.offline:  # the hub's library looks at it once, when it is imported
            os.environ["HF_HUB_OFFLINE"] = "1"
        if load.threads:  # before the model: an encoder of OpenVINO is built for them
            wait_passively()
            use_threads(load.threads)
        fetch(load.model_id, lambda progress: wire.send(_wire.Fetching(progress)))
        models = load_models(
            load.model_id, load.device, load.encoder, load.precision, answers_only=True
        )
        ready = _wire.Ready(models.performer.info, models.allocator.overview_budget)
    except Exception as error:  # the border: whatever it was, the parent must hear of it
        traceback.print_exc()
        wire.send(_wire.Failure.of(0, error))
        return
    gc.freeze()  # what is imported stays: no collection need look through it any more
    wire.send(ready)
    while True:
        request, cancel = requests.get()
        try:
            _answer(models, wire, request, cancel)
        except Exception as error:
            traceback.print_exc()
            wire.send(_wire.Failure.of(request.run, error))


def _answer(
    models: LoadedModels, wire: _wire.Wire, request: _wire.Request, cancel: threading.Event
) -> None:
    if isinstance(request, _wire.Allocate):
        allocation = models.allocator.allocate(
            request.overview, request.query, request.native, request.effort
        )
        wire.send(_wire.Done(request.run, allocation))
        return
    if isinstance(request, _wire.GenerateBatch):
        answers = generate_together(models.performer, request.prompts, request.settings, cancel)
        wire.send(_wire.Done(request.run, answers))
        return
    held, sent = "", 0.0
    speaker = _writer(models) if isinstance(request, _wire.Write) else models.performer
    for item in speaker.generate(request.prompt, request.settings, cancel):
        if isinstance(item, str):
            held += item
        now = time.monotonic()
        if held and (now - sent >= FRAME or isinstance(item, Completion)):
            wire.send(_wire.Piece(request.run, held))
            held, sent = "", now
        if isinstance(item, Completion):
            wire.send(_wire.Done(request.run, item))


def _writer(models: LoadedModels) -> Performer:
    """What writes the windows of a large region."""
    windows = learned_windows(models.allocator)
    if not isinstance(windows, TextWindows):
        raise ModelError("the model no longer writes which windows it reads; choose it again")
    return windows.writer


def _listen(wire: _wire.Wire, requests: Requests) -> None:
    """Hand requests on; set the event of a run that is cancelled; end with the pipe."""
    run, cancel = 0, threading.Event()
    while True:
        try:
            message = wire.receive()
        except EOFError:
            os._exit(0)  # nothing to save, and the main thread may be deep in a forward pass
        if isinstance(message, _wire.Cancel):
            if message.run == run:
                cancel.set()
        else:
            cancel.set()  # whoever asks anew has given up the run before
            run, cancel = message.run, threading.Event()
            requests.put((message, cancel))


def _claim_stdio() -> _wire.Wire:
    """Keep the two pipes for the wire alone.

    What any library prints goes to stderr instead, and nobody else waits on stdin: on Windows a
    thread that does so blocks others in the C runtime.
    """
    wire = _wire.Wire(os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb"))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return wire


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is the parent's affair
    serve(_claim_stdio())
