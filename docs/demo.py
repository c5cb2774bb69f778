"""Ask the samples' questions as one would in a shell: python docs/demo.py, or make demo.

Prints each command, what it prints, and what the labels of the picture say; the answer need not
agree. Figures go to demo/. What the model was not trained on may be refused; that is no failure
of the demo, any other error is.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from napari_pathreason.sample_data import SamplePicture, SampleQuestion, samples

FIGURES = Path("demo")
PROGRAM = [sys.executable, "-m", "napari_pathreason.cli"]


def main() -> int:
    """Ask every question that is marked for the demo; 1 if one that should be answered is not."""
    FIGURES.mkdir(exist_ok=True)
    figures, failed = [], False
    for shown in samples():
        for place, question in enumerate((*shown.questions, *shown.beyond), 1):
            if question.demo:
                figure = FIGURES / f"{shown.key}-{place}.png"
                code = ask(shown, question, figure)
                figures += [figure.as_posix()] if code == 0 else []
                failed |= code != 0 and question not in shown.beyond
    print(f"Figures: {', '.join(figures)}")
    return int(failed)


def ask(shown: SamplePicture, question: SampleQuestion, figure: Path) -> int:
    """Show one command with what it says; its exit status."""
    words = ["ask", os.path.relpath(shown.path), *question.words, "--figure", str(figure)]
    print(f"{shown.title}\n$ pathreason {shlex.join(words)}", flush=True)
    done = subprocess.run([*PROGRAM, *words], stderr=subprocess.STDOUT, check=False)
    if question.truth is not None:
        print(f"Label      {question.truth}")
    if done.returncode:
        print(f"(no answer: exit status {done.returncode})")
    print(flush=True)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
