"""Views on the command line: how a region is read, shown before it is spent, and taken from a file.

A file of views is JSON, ``{"windows": [{"region": [x, y, w, h], "tokens": 64}, ...]}``: 0 tokens
leave a window out, null gives it as many as the policy gives one. `--show-views` writes such a
file, to be changed by hand. A plan takes no weights: it follows from what a model says of itself.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from napari_pathreason import engine, exports, models
from napari_pathreason.budgets import budget_of
from napari_pathreason.errors import PathreasonError, QueryError
from napari_pathreason.geometry import Region
from napari_pathreason.types import Allocation, PolicyName, WindowChoice

from ._options import Options, check_writable, write_json
from ._text import printable

if TYPE_CHECKING:
    import threading

    import numpy as np
    from numpy.typing import NDArray

    from napari_pathreason.engine import Models, Planned, Policy
    from napari_pathreason.slides import Slide
    from napari_pathreason.types import (
        Completion,
        Effort,
        GenerationSettings,
        ModelInfo,
        Prompt,
        Query,
        View,
    )

NO_OTHERS: Mapping[str, Slide] = {}
"""A question about one slide alone."""
MOST_LINES = 60
"""Views of one plan that are printed."""
MOST_SIDE = 1 << 31
"""Pixels, beyond any slide."""
_ASKING = (
    "json",
    "figure",
    "geojson",
    "csv",
    "views_csv",
    "report",
    "manifest",
    "transcript",
    "then",
)
"""Options of what only an answer gives."""


def add_views(options: Options) -> None:
    """Add the policy, the file of views and the plan."""
    options.add_argument(
        "--policy",
        choices=[name for name in get_args(PolicyName) if name != engine.TOGETHER],
        default="auto",
        help="how a large region is read: as one picture (one_view), or which windows of it; auto "
        "decides by its size and the kind of question",
    )
    options.add_argument(
        "--views",
        type=Path,
        metavar="FILE",
        help="windows to read first, or to leave out, as --show-views writes them; with --policy "
        "listed nothing else is read",
    )
    options.add_argument(
        "--show-views",
        nargs="?",
        const="-",
        metavar="FILE.json",
        help="show which views would be read and what they cost, and write them as JSON where a "
        "file is given; nothing is asked",
    )


def check_views(args: argparse.Namespace) -> None:
    """Refuse options of views that say two things at once.

    Raises
    ------
    QueryError
        Names what to leave out or to give.
    """
    if args.show_views is not None:
        asking = [f"--{name.replace('_', '-')}" for name in _ASKING if getattr(args, name)]
        if asking:
            raise QueryError(f"--show-views asks nothing; leave out {', '.join(asking)}")
        if args.show_views != "-":
            # the word behind it may be the slide, which must not be written over
            if not args.show_views.lower().endswith(".json"):
                raise QueryError(
                    f"--show-views writes JSON, and {Path(args.show_views).name} does not end in "
                    ".json; give such a name, or put SLIDE before the options"
                )
            check_writable(Path(args.show_views))
    if args.views is not None and args.policy == "one_view":
        raise QueryError(
            "--policy one_view reads one picture, and --views lists windows; leave one of them out"
        )
    if args.views is None and args.policy == "listed" and args.from_ is None:
        raise QueryError(
            "--policy listed reads what --views lists; give --views, or another policy"
        )


def read_views(path: Path) -> tuple[WindowChoice, ...]:
    """Windows out of a file.

    Raises
    ------
    QueryError
        If it cannot be read or is no file of views.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise QueryError(f"{path.name} cannot be read ({why}); check --views") from error
    except (ValueError, RecursionError) as error:
        raise QueryError(f"{path.name} is not JSON; --show-views writes such a file") from error
    windows = value.get("windows") if isinstance(value, dict) else None
    if not isinstance(windows, list):
        raise QueryError(f"{path.name} holds no windows; --show-views writes such a file")
    choices = tuple(_window(one, number, path.name) for number, one in enumerate(windows, 1))
    numbers: dict[Region, int] = {}
    for number, choice in enumerate(choices, 1):
        first = numbers.setdefault(choice.region, number)
        if first != number:
            raise QueryError(
                f"windows {first} and {number} of {path.name} are the same region; leave one out"
            )
    return choices


def _window(value: Any, number: int, name: str) -> WindowChoice:
    region = value.get("region") if isinstance(value, dict) else None
    if (
        not isinstance(region, list)
        or len(region) != 4
        or not all(map(_is_whole, region))
        or min(region[2:]) < 1
        or max(map(abs, region)) > MOST_SIDE
    ):
        raise QueryError(f"window {number} of {name} has no region [x, y, w, h] in whole pixels")
    tokens = value.get("tokens")
    if tokens is not None and (not _is_whole(tokens) or tokens < 0):
        raise QueryError(
            f"window {number} of {name} has {json.dumps(tokens)[:40]} tokens; give a whole number, "
            "0 to leave it out, or null"
        )
    return WindowChoice(Region(*region), tokens)  # words of a file stay in it


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def windows_in(
    regions: Sequence[Region], windows: Sequence[WindowChoice], path: Path
) -> list[tuple[WindowChoice, ...]]:
    """Windows of each region: those whose middle lies in it.

    Raises
    ------
    QueryError
        If one lies in no region.
    """
    for number, one in enumerate(windows, 1):
        if not any(_holds(region, one.region) for region in regions):
            r = one.region
            raise QueryError(
                f"window {number} of {path.name}, {r.x} {r.y} {r.width} {r.height}, does not lie "
                "in what is asked about; move it, or give the --region that it belongs to"
            )
    return [tuple(one for one in windows if _holds(region, one.region)) for region in regions]


def _holds(region: Region, window: Region) -> bool:
    """Whether a region holds the middle of a window."""
    x, y = 2 * (window.x - region.x) + window.width, 2 * (window.y - region.y) + window.height
    return 0 <= x < 2 * region.width and 0 <= y < 2 * region.height


class _Unasked:
    """A model that nobody has loaded: it says of itself what its files say, and answers nothing.

    ``chooses`` turns true where its allocator is wanted, as of one picture at the budget auto, or
    where the model writes its windows: then no plan can be had without it.
    """

    overview_budget = 0
    name, rounds = engine.LEARNED, 1

    def __init__(self, info: ModelInfo, windows: Policy | None) -> None:
        self.info = info
        written = isinstance(windows, models.UnloadedWindows)
        self.windows: Policy | None = self if written else windows
        self.chooses = False

    def generate(
        self, prompt: Prompt, settings: GenerationSettings, cancel: threading.Event
    ) -> Iterator[str | Completion]:
        raise NotImplementedError("a plan asks nothing")

    def allocate(
        self, overview: NDArray[np.uint8] | None, query: Query, native: int, effort: Effort
    ) -> Allocation:
        """Anything, as the plan is made again."""
        self.chooses = True
        return Allocation(1, "fixed")

    def choose(self, state: engine.State) -> engine.Choice:
        """Nothing, of a model that writes its windows; as the plan is made again."""
        self.chooses = True
        return engine.Choice(())


@dataclass(slots=True)
class Planner:
    """Plans requests of one model, which is loaded only where a plan needs it.

    Parameters
    ----------
    model : str
        As it was chosen.
    load : callable
        Loads it.
    journal : bool
        Whether what would be read is kept, so that there may be more of it.
    """

    model: str
    load: Callable[[], Models]
    journal: bool = False
    _loaded: Models | None = None
    _info: ModelInfo | None = None
    _windows: tuple[Policy | None] | None = None

    @property
    def info(self) -> ModelInfo:
        """What the model says of itself."""
        if self._info is None:
            self._info = models.read_model_info(self.model)
        if self._info is None:  # not on this machine yet, or the hub must say
            self._info = self._models().performer.info
        return self._info

    def plan(
        self,
        entry: exports.ManifestEntry,
        slide: Slide,
        others: Mapping[str, Slide] = NO_OTHERS,
    ) -> Planned:
        """The first plan of a request; nothing of it is spent.

        Of one that was answered before it is what was read then.

        Raises
        ------
        PathreasonError
            If it is refused.
        """
        if self._windows is None:  # of all requests, it is read once
            self._windows = (models.find_windows(self.model),)
        unasked = _Unasked(self.info, *self._windows)
        job = replace(job_of(entry, slide, others), journal=() if self.journal else None)
        try:
            plan = _plan(job, unasked, unasked)
        except PathreasonError:
            if not unasked.chooses:
                raise
        if not unasked.chooses:
            return plan
        loaded = self._models()
        return _plan(job, loaded.performer, loaded.allocator)

    def _models(self) -> Models:
        if self._loaded is None:
            self._loaded = self.load()
        return self._loaded


def job_of(
    entry: exports.ManifestEntry, slide: Slide, others: Mapping[str, Slide] = NO_OTHERS
) -> engine.Job:
    """The job of a request; where it was answered before, with the windows that were read then."""
    policy = engine.repeated_views(entry.views)
    return engine.Job(slide, entry.request, policy=policy, others=others)


def _plan(job: engine.Job, performer: engine.Performer, allocator: engine.Allocator) -> Planned:
    events = engine.run_job(job, performer, allocator)
    try:
        for event in events:
            if isinstance(event, engine.Planned):
                return event
            if isinstance(event, engine.Failed):
                raise event.error
    finally:
        events.close()
    raise KeyboardInterrupt  # a job without a plan was cancelled


def show_plans(
    entries: Sequence[exports.ManifestEntry],
    slide: Slide,
    planner: Planner,
    file: str,
    others: Mapping[str, Slide] = NO_OTHERS,
) -> int:
    """Print what would be read, and write it where ``file`` is not ``-``.

    Returns
    -------
    int
        2 where one of several could not be planned.
    """
    windows: list[dict[str, Any]] = []
    failed = 0
    for number, entry in enumerate(entries, 1):
        which = f"region {number} of {len(entries)}: " if len(entries) > 1 else ""
        try:
            plan = planner.plan(entry, slide, others)
        except PathreasonError as error:
            if len(entries) == 1:
                raise
            failed += 1
            print(f"pathreason: {which}{printable(str(error))}", file=sys.stderr)
            continue
        if which:
            print(f"{which}{_place(entry.request.region)}")
        print(plan_table(plan), flush=True)
        windows += _windows(plan)
    if file != "-" and failed < len(entries):
        write_json(file, {"windows": windows})
        if not windows:
            print(
                f"pathreason: {Path(file).name} holds no windows, as none would be read; "
                "--policy uniform cuts a region into windows",
                file=sys.stderr,
            )
    return 2 if failed else 0


def _windows(plan: Planned) -> list[dict[str, Any]]:
    """Windows of a plan, with the tokens at which `--views` reads each just so."""
    return [
        {
            "region": [r.x, r.y, r.width, r.height],
            "tokens": budget_of(view),
            "why": view.why,
        }
        for view in plan.views.views
        if (r := view.region) and view.role == "window"
    ]


def plan_table(plan: Planned) -> str:
    """Views of a plan, a line each, and their cost; a second round cannot be planned yet."""
    views, cost = plan.views, plan.cost
    lines = [_line(view) for view in views.views[:MOST_LINES]]
    if len(views.views) > MOST_LINES:
        rest = len(views.views) - MOST_LINES
        lines.append(f"and {rest:,} more; --show-views FILE.json writes all of them")
    tokens = f"{cost.tokens:,} visual tokens"
    if native := views.native_windows:  # none of glass alone
        tokens = (
            f"{cost.tokens:,} of {native:,} visual tokens ({100 * views.tokens / native:.0f} %)"
        )
    lines.append(
        f"{views.policy}: {tokens}, {gflops(cost.flops)}, "
        f"{cost.pixels / 1e6:,.1f} Mpx to decode, "
        f"{max(cost.memory / 1e6, 0.1):,.1f} MB of pictures"
    )
    if views.policy in ("again", "table", "learned") and not views.joint:
        lines.append("windows may then be read again, where their answers ask for it")
    return "\n".join(lines)


def gflops(flops: float) -> str:
    """FLOPs in words; of a model on a server nobody knows them."""
    return f"about {flops / 1e9:,.1f} GFLOPs" if flops else "FLOPs not known"


def _line(view: View) -> str:
    line = f"{view.name:<10} {view.tokens:>6,} tokens  {_place(view.region)}"
    return f"{line}  {view.why}" if view.why else line


def _place(region: Region) -> str:
    return f"x {region.x:,} y {region.y:,} {region.width:,} x {region.height:,} px"
