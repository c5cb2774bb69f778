"""Threads sleep at their barriers, unless the user or an earlier torch decided otherwise."""

import gc
import os
import subprocess
import sys

import pytest

from napari_pathreason import models
from napari_pathreason.errors import ModelError

ASK = (
    "import os; import napari_pathreason.models as m; {}; "
    "m.wait_passively(); print(os.environ.get('OMP_WAIT_POLICY'))"
)


def _policy(first="pass", **set_by_user):
    known = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    words = [sys.executable, "-c", ASK.format(first)]
    done = subprocess.run(
        words, env=known | set_by_user, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("first", "user", "policy"),
    [
        ("pass", {}, "PASSIVE"),
        ("pass", {"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"),
        ("import sys; sys.modules['torch'] = None", {}, "None"),
    ],
    ids=["default", "user", "too-late"],
)
def test_policy(first, user, policy):
    assert _policy(first, **user) == policy


@pytest.mark.slow
def test_loading_asks_for_it_before_torch(tmp_path):
    code = (
        "import sys;"
        "from napari_pathreason.models import _loading, load_performer;"
        "seen = []; wait = _loading.wait_passively;"
        "_loading.wait_passively = lambda: (seen.append('torch' in sys.modules), wait());"
        "load_performer(sys.argv[1], 'cpu'); print(seen)"
    )
    from tests.support import make_tiny_checkpoint

    folder = make_tiny_checkpoint(tmp_path / "tiny")
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[False]"


@pytest.mark.parametrize("was", [True, False])
def test_garbage_is_not_collected_while_a_model_loads_and_then_as_before(
    checkpoints, monkeypatch, was
):
    seen = []

    def watch(*words):
        seen.append(gc.isenabled())
        return load_weights(*words)

    load_weights = models.load_weights
    monkeypatch.setattr("napari_pathreason.models._loading.load_weights", watch)
    (gc.enable if was else gc.disable)()
    try:
        models.load_performer(checkpoints["qwen3_vl"], "cpu")
        assert (seen, gc.isenabled()) == ([False], was)
        with pytest.raises(ModelError):
            models.load_performer("nowhere at all", "cpu")
        assert gc.isenabled() is was
    finally:
        gc.enable()
