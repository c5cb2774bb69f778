"""Views on the command line: how a region is read, shown before it is spent, and taken from a file.

A file of views is JSON, ``{"windows": [{"region": [x, y, w, h], "tokens": 64}, ...]}``: 0 tokens
leave a window out, null gives it as many as the policy gives one. `--show-views` writes such a
file, to be changed by hand.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from napari_pathreason import engine
from napari_pathreason.errors import QueryError
from napari_pathreason.geometry import Region
from napari_pathreason.types import PolicyName, Request, WindowChoice

from ._options import Options, write_json

if TYPE_CHECKING:
    from napari_pathreason.engine import Models, Planned
    from napari_pathreason.slides import Slide
    from napari_pathreason.types import Views


def add_views(options: Options) -> None:
    """Add the policy, the file of views and the plan."""
    options.add_argument(
        "--policy",
        choices=get_args(PolicyName),
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
        metavar="FILE",
        help="show which views would be read and what they cost, and write them as JSON where a "
        "file is given; nothing is asked",
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
    return tuple(_window(one, number, path.name) for number, one in enumerate(windows, 1))


def _window(value: Any, number: int, name: str) -> WindowChoice:
    region = value.get("region") if isinstance(value, dict) else None
    tokens = value.get("tokens") if isinstance(value, dict) else None
    if (
        not isinstance(region, list)
        or len(region) != 4
        or not all(map(_is_whole, region))
        or min(region[2:]) < 1
    ):
        raise QueryError(f"window {number} of {name} has no region [x, y, w, h] in whole pixels")
    if tokens is not None and (not _is_whole(tokens) or tokens < 0):
        raise QueryError(
            f"window {number} of {name} has {tokens!r} tokens; give a whole number, 0 to leave it "
            "out or null"
        )
    return WindowChoice(Region(*region), tokens)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def plan_of(request: Request, slide: Slide, loaded: Models) -> Planned:
    """The first plan of a request; nothing of it is spent.

    Raises
    ------
    PathreasonError
        If it is refused.
    """
    job = engine.Job(slide, request)
    events = engine.run_job(job, loaded.performer, loaded.allocator)
    try:
        for event in events:
            if isinstance(event, engine.Planned):
                return event
            if isinstance(event, engine.Failed):
                raise event.error
    finally:
        events.close()  # type: ignore[attr-defined]
    raise KeyboardInterrupt  # a job without a plan was cancelled


def show_plans(plans: Sequence[Planned], file: str) -> None:
    """Print what would be read, and write it where ``file`` is not ``-``."""
    for plan in plans:
        print(plan_table(plan))
    if file != "-":
        windows = [one for plan in plans for one in _windows(plan.views)]
        write_json(file, {"windows": windows})


def _windows(views: Views) -> list[dict[str, Any]]:
    return [
        {"region": [r.x, r.y, r.width, r.height], "tokens": view.tokens, "why": view.why}
        for view in views.views
        if (r := view.region) and view.role == "window"
    ]


def plan_table(plan: Planned) -> str:
    """Views of a plan, a line each, and their cost."""
    views, cost = plan.views, plan.cost
    lines = [
        f"{view.name:<10} {view.tokens:>6,} tokens  "
        f"x {view.region.x:,} y {view.region.y:,} {view.region.width:,} x {view.region.height:,} px"
        + (f"  {view.why}" if view.why else "")
        for view in views.views
    ]
    share = views.tokens / max(views.native_windows, 1)
    tokens = f"{cost.tokens:,} of {views.native_windows:,} visual tokens ({share:.0%})"
    lines.append(
        f"{views.policy}: {tokens}, about {cost.flops / 1e9:,.1f} GFLOPs, "
        f"{cost.pixels / 1e6:,.1f} Mpx to decode, "
        f"{cost.memory / 1e6:,.0f} MB of pictures"
    )
    return "\n".join(lines)
