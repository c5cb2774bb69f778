"""Where its model is downloaded first, a slide run says its size and how far it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize("cancelled", [True, False])
def test_a_slide_run(
    dock: Any,
    viewer: Any,
    wait: Any,
    missing: Any,
    follow_download: Any,
    tmp_path: Path,
    messages: list[Any],
    cancelled: bool,
) -> None:
    made = missing(viewer)
    dock.start()
    follow_download(dock.progress, made, dock.cancel if cancelled else None)
    wait()
    assert made[0].cancelled is cancelled
    assert ("Cancelled" in dock.progress.label.text()) is cancelled, dock.progress.label.text()
    assert bool(dock.runner.so_far.records) is not cancelled
    assert (tmp_path / "dock" / "slide.tif").exists() is not cancelled
    assert messages == []
