"""Make the pictures of the documentation: python docs/make_screenshots.py.

Opens napari on a virtual display, loads the samples, asks, and photographs each dock into
docs/images: as it is, in the light theme (NAME-light.png) and, without the rest of the window, at
200 % scaling (NAME-200.png). --kind makes one of these alone, --scene some of the
pictures, --output elsewhere. Needs Xvfb and the development dependencies; the user's settings are
left alone.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from pyvirtualdisplay import Display

IMAGES = Path(__file__).parent / "images"
KINDS = {"dark": ("dark", 1, ""), "light": ("light", 1, "-light"), "200": ("dark", 2, "-200")}
"""Theme, scale factor and ending of the file names."""
LEVELS = ["reliable", "uncertain", "no_answer"]
SHOWN = {"light": ["ask", "budget", "views", "windows", "project", *LEVELS], "200": ["budget"]}
"""What the documentation shows of the other kinds; of the dark one, all."""


def main() -> None:
    """Take every picture; each kind in a process of its own, as Qt scales once for all."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kind", choices=[*KINDS])
    options.add_argument("--scene", action="append", help="default: those that docs show")
    options.add_argument("--output", type=Path, default=IMAGES)
    chosen = options.parse_args()
    if chosen.kind is None:
        for kind in KINDS:
            again = [sys.executable, __file__, "--kind", kind, *sys.argv[1:]]
            subprocess.run(again, check=True)
        return
    theme, scale, ending = KINDS[chosen.kind]
    scenes = chosen.scene or SHOWN.get(chosen.kind)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["QT_SCALE_FACTOR"] = str(scale)
        os.environ["NAPARI_CONFIG"] = str(Path(folder) / "settings.yaml")
        with Display(visible=False, size=(1600 * scale, 1000 * scale)):
            from screenshots import take

            take(chosen.output, theme, ending, scenes, Path(folder), scale > 1)


if __name__ == "__main__":
    main()
