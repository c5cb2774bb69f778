"""A model of the hub is downloaded: its size first, then how far it is; cut, and gone on with."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from napari_pathreason.errors import ModelError
from napari_pathreason.models import Fetched, ModelProcess, fetch

HUB_ID = "somebody/something"
COMMIT = "a" * 40


class Hub:
    """As much of the hub as its library asks about one model; ``hold`` stops its weights midway."""

    def __init__(self, folder):
        self.files = {file.name: file.read_bytes() for file in folder.iterdir()}
        self.hold = threading.Event()
        self.hold.set()
        self.began = threading.Event()
        self.ranges = []
        self.url = ""

    @property
    def size(self):
        wanted = (".json", ".safetensors", ".jinja")
        return sum(len(data) for name, data in self.files.items() if name.endswith(wanted))


@contextmanager
def serving(hub):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            """Nothing."""

        def do_HEAD(self):
            self.answer(False)

        def do_GET(self):
            self.answer(True)

        def answer(self, with_body):
            path = self.path.partition("?")[0]
            if path.startswith("/api/models/"):
                siblings = [{"rfilename": name, "size": len(d)} for name, d in hub.files.items()]
                body = json.dumps({"id": HUB_ID, "sha": COMMIT, "siblings": siblings}).encode()
                if "/tree/" in path:
                    body = json.dumps(
                        [
                            {"type": "file", "path": name, "size": len(d), "oid": oid(d)}
                            for name, d in hub.files.items()
                        ]
                    ).encode()
                return self.send(200, body, {"Content-Type": "application/json"}, with_body)
            name = path.rpartition("/")[2]
            data = hub.files.get(name)
            if data is None:
                return self.send(404, b"", {"X-Error-Code": "EntryNotFound"}, with_body)
            start = int(self.headers.get("Range", "bytes=0-")[6:].partition("-")[0])
            hub.ranges.append((name, start))
            headers = {"ETag": f'"{oid(data)}"', "X-Repo-Commit": COMMIT}
            return self.send(206 if start else 200, data[start:], headers, with_body, name)

        def send(self, status, body, headers, with_body, name=""):
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if not with_body:
                return
            middle = len(body) // 2 if name.endswith(".safetensors") else len(body)
            self.wfile.write(body[:middle])
            self.wfile.flush()
            if middle < len(body):
                hub.began.set()
                hub.hold.wait(60)
            self.wfile.write(body[middle:])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.hold.set()
        server.shutdown()
        server.server_close()


def oid(data):
    return hashlib.sha1(data).hexdigest()


@pytest.fixture
def hub(checkpoints):
    with serving(Hub(checkpoints["qwen3_vl"])) as hub:
        yield hub


@pytest.fixture
def environment(hub, tmp_path, monkeypatch):
    """What a child process finds: this hub and an empty cache."""
    values = {"HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(tmp_path / "cache")}
    values |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "60"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return dict(os.environ)


SCRIPT = """
import json, sys
from napari_pathreason.models import fetch, read_model_info
fetch(sys.argv[1], lambda f: print(json.dumps([f.hub_id, f.done, f.total]), flush=True))
print(json.dumps(read_model_info(sys.argv[1]).family))
assert "torch" not in sys.modules
"""


def run(environment, model=HUB_ID):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, model],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_size_is_told_before_anything_comes(hub, environment):
    first, *_, last, family = run(environment)
    assert first == [HUB_ID, 0, hub.size]
    assert last == [HUB_ID, hub.size, hub.size]
    assert family == "qwen3_vl"
    asked = len(hub.ranges)
    assert run(environment) == ["qwen3_vl"]  # whole, and nothing is asked of the hub
    assert len(hub.ranges) == asked


@pytest.mark.slow
def test_a_model_process_tells_and_a_cancel_ends_the_download(hub, environment):
    hub.hold.clear()
    cancel = threading.Event()
    with ModelProcess(HUB_ID, "cpu") as process:
        steps = process.loading(cancel)
        assert next(steps) == Fetched(HUB_ID, 0, hub.size)
        assert hub.began.wait(60)
        pid = process.pid
        cancel.set()
        began = time.monotonic()
        assert [*steps] == [] or cancel.is_set()
        assert time.monotonic() - began < 2
        assert process.pid != pid
        hub.hold.set()
        told = [*process.loading(threading.Event())]
        assert told[-1].done == told[-1].total == told[0].total
        assert process.performer.info.name == HUB_ID
        assert [*process.loading(threading.Event())] == []


@pytest.mark.parametrize("model", ["embedded", "no/folder/at/all", "http://127.0.0.1:1/v1#m", ""])
def test_other_models_are_not_looked_for(model):
    told = []
    fetch(model, told.append)
    assert told == []


def test_what_the_hub_does_not_have_is_one_line(hub, environment):
    done = subprocess.run(
        [sys.executable, "-m", "napari_pathreason.cli", "ask", __file__, "--model", "no/body"],
        env={**environment, "HF_ENDPOINT": "http://127.0.0.1:1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_words_of_a_download():
    assert Fetched("a/b", 3_100_000_000, 17_500_000_000).words == (
        "Downloading a/b: 3.1 of 17.5 GB"
    )
    assert Fetched("a/b", 0, 2_500_000).words == "Downloading a/b: 0.0 of 2.5 MB"
    assert issubclass(ModelError, Exception)
