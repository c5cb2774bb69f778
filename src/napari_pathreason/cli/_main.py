"""Words to commands, and errors to one line; the command ``merge`` too, which needs no more."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn, TypeAlias

from napari_pathreason import PathreasonError, __version__, models

from ._streams import Terminated, ends_by_signals, guarded
from ._text import printable

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

TRACEBACK = "PATHREASON_TRACEBACK"
"""Environment variable that shows where an error came from, for reports."""

COMMANDS = {
    "ask": ("._ask", "add_parser", "answer a question about regions of a slide"),
    "detect": ("._slide_runs", "add_detect_parser", "find lesions on whole slides"),
    "classify": (
        "._slide_runs",
        "add_classify_parser",
        "ask one question over every tile of slides",
    ),
    "models": ("._models", "add_parser", "say which models there are and which lie here"),
    "doctor": ("._doctor", "add_parser", "say what is installed and what to do about the rest"),
    "data": (
        "napari_pathreason.training",
        "add_data_parser",
        "make training samples out of labelled folders",
    ),
    "train": (
        "napari_pathreason.training",
        "add_train_parser",
        "train a model on samples",
    ),
    "evaluate": (
        "napari_pathreason.training",
        "add_evaluate_parser",
        "score a model per task and per budget",
    ),
    "calibrate": (
        "napari_pathreason.training",
        "add_calibrate_parser",
        "fit confidence, and which pictures are unlike the training images",
    ),
    "reliability": (
        "napari_pathreason.training",
        "add_reliability_parser",
        "how often doubt is missed, and how often it is raised in vain",
    ),
    "merge": ("._main", "add_merge_parser", "write a LoRA adapter and its base as one model"),
}
"""Command -> (module, function that adds its parser, help); imported only when it is used."""


class _Parser(argparse.ArgumentParser):
    """Reports a wrong word in one line, as every other error."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"pathreason: {message}; see {self.prog} --help\n")


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    words : sequence of str, optional
        Arguments after the program's name; those of this process if not given.

    Returns
    -------
    int
        0; 1 where ``doctor`` finds something missing; 2 for an error, with one line on stderr;
        130 after Ctrl-C and 143 after SIGTERM, with a line too. What becomes of stdout and stderr
        changes nothing, but that 0 becomes 2 where a disk was too full for what was printed.
    """
    as_program = words is None
    words = sys.argv[1:] if words is None else list(words)
    with guarded() as (out, errors):
        with ends_by_signals():
            code = _run(words, as_program)
        if as_program:
            gc.freeze()  # at exit the collector would look through all of torch once more
        out.flush()
        if out.failed:
            print(f"pathreason: stdout cannot be written ({out.failed})", file=errors)
        return code or (2 if out.failed else 0)


def _run(words: list[str], as_program: bool) -> int:
    args = argparse.Namespace(as_program=as_program)  # which may import what it alone needs
    try:
        _parser(words).parse_args(words, args)
        run: Callable[[argparse.Namespace], int] = args.run
        return run(args)
    except KeyboardInterrupt as ended:
        again = "; the same command goes on from here" if getattr(args, "resumes", False) else ""
        print(f"pathreason: stopped{again}", file=sys.stderr)
        return 143 if isinstance(ended, Terminated) else 130
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        print(f"pathreason: {printable(_line(error))}", file=sys.stderr)
        return 2


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="pathreason",
        description="Ask questions of whole-slide images, at a visual-token budget you can see. "
        "For research use only.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    used = next((word for word in words if not word.startswith("-")), None)
    for command, (module, add, help_) in COMMANDS.items():
        if command == used:
            getattr(import_module(module, __package__), add)(commands)
        else:
            commands.add_parser(command, help=help_)
    return parser


def _line(error: Exception) -> str:
    if isinstance(error, PathreasonError):
        return str(error)
    if isinstance(error, MemoryError):
        return "there is not enough memory; choose a smaller model or budget"
    if isinstance(error, OSError) and error.strerror:  # its own words hold a path
        return f"a file cannot be read or written ({error.strerror}); check the disk and run again"
    if isinstance(error, ModuleNotFoundError):
        return f"the module {error.name} is missing; run pathreason doctor"
    return (
        f"unexpected {type(error).__name__}; run again with {TRACEBACK}=1 and report what it says"
    )


def add_merge_parser(subparsers: Subparsers) -> None:
    """``pathreason merge MODEL -o FOLDER``."""
    parser = subparsers.add_parser("merge", help="write an adapter and its base as one model")
    parser.add_argument("model", help="folder or hub id of an adapter")
    parser.add_argument("-o", "--out", type=Path, required=True, help="a new folder")
    parser.set_defaults(run=_merge)


def _merge(args: argparse.Namespace) -> int:
    print(models.write_merged(args.model, args.out))
    return 0
