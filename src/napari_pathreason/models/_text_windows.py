"""An allocator that writes which windows of a large region to read, and how finely.

The paper's text form (Xu et al. 2025, arXiv:2505.15687), extended from one number of visual tokens
to windows with theirs: the performer's own weights, with a second adapter, see the whole region
coarsely and write the windows that deserve to be read. It chooses once, so that a model that takes
several pictures in one prompt gets all of them in one. No torch: the writer may be in another
process.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from napari_pathreason.budgets import flops
from napari_pathreason.engine import (
    LEARNED,
    Choice,
    Performer,
    Pick,
    State,
    policy_named,
    view_of,
)
from napari_pathreason.errors import ModelError, QueryError
from napari_pathreason.tasks import WrittenWindows, parse_windows, windows_messages
from napari_pathreason.types import Completion, GenerationSettings, Prompt

from ._allocators import SETTINGS, WRITTEN, TextForm, read_form
from ._config import read_json

FORM = WRITTEN[1]
"""How ``allocator.json`` names this form."""
MOST_NAMED = 256
"""Windows of a region beyond which none is named to the model: the list alone would be longer than
what it reads of them. The rules choose there."""
CHOSEN = "the model asked for it"
UNNAMED = "the model named no window"


@dataclass(frozen=True, slots=True)
class TextWindows:
    """Reads the windows that a model writes; satisfies `engine.Policy`.

    It decodes greedily. Where it names no window that there is, the rules choose
    (`engine.Table`), and each window says so. It knows the trade-off that it was trained at alone.

    Parameters
    ----------
    writer : Performer
        Whose passes are taken with the adapter on.
    form : TextForm
    """

    writer: Performer
    form: TextForm
    name: str = LEARNED
    rounds: int = 1

    def choose(self, state: State) -> Choice:
        """See `engine.Policy.choose`; FLOPs of overview, prompt and text are counted.

        Raises
        ------
        ModelError, OutOfMemoryError
            If the model fails.
        """
        if state.readings or not state.scene.worth.any():
            return Choice(())
        if not can_name(state):
            return chosen(WrittenWindows((), False), state)
        dims = self.writer.info.dims
        prompt = windows_prompt(state, self.form.overview, dims.token_px)
        settings = GenerationSettings(max_new_tokens=self.form.max_completion_length)
        pieces = self.writer.generate(prompt, settings, threading.Event())
        done = next(piece for piece in pieces if isinstance(piece, Completion))
        written = parse_windows(done.text, len(state.scene.cover))
        words = done.prompt_tokens - done.visual_tokens
        own = flops(dims, done.visual_tokens, words, done.new_tokens)
        choice = chosen(written, state)
        return replace(choice, flops=choice.flops + own)


@dataclass(frozen=True, slots=True)
class UnloadedWindows:
    """What is known of `TextWindows` before its model is loaded: that it alone can choose.

    Parameters
    ----------
    form : TextForm
    """

    form: TextForm
    name: str = LEARNED
    rounds: int = 1

    def choose(self, state: State) -> Choice:
        """Nothing.

        Raises
        ------
        QueryError
            Always.
        """
        raise QueryError("the model itself chooses the windows of a large region; ask to see them")


def can_name(state: State) -> bool:
    """Whether the windows of a region are few enough to be named to a model."""
    return 0 < len(state.scene.cover) <= MOST_NAMED


def windows_prompt(state: State, overview: int, token_px: int) -> Prompt:
    """What the model is asked: the whole region coarsely, and a plan of its windows.

    Parameters
    ----------
    state : State
    overview : int
        Visual tokens of the region, at the most.
    token_px : int
        Side of a visual token in pixels.
    """
    grid, scene = state.scene.grid, state.scene
    view = view_of(grid.region, overview, token_px, "overview")
    look = Image.fromarray(scene.overview).resize(view.size, Image.Resampling.LANCZOS)
    worth = scene.worth.reshape(grid.rows, grid.columns)[::2, ::2].tolist()
    messages = windows_messages(state.query, view.tokens, state.budgets[-1], worth)
    return Prompt((np.asarray(look),), messages)


def chosen(written: WrittenWindows, state: State) -> Choice:
    """The windows that were written, as far as the budget goes; those of the rules where none was.

    Parameters
    ----------
    written : WrittenWindows
        Of the windows that cover the region.
    state : State
    """
    scene, left = state.scene, state.allowance
    picks: list[Pick] = []
    for number, tokens in written.windows:
        window = scene.cover_windows[number - 1]
        fitting = state.affordable(min(tokens, left))
        if window not in state.taken and fitting <= left:
            picks.append(Pick(window, fitting, CHOSEN))
            left -= fitting
    if not written.windows:
        choice = policy_named("table").choose(state)
        return replace(choice, picks=tuple(replace(pick, why=UNNAMED) for pick in choice.picks))
    picked = {pick.region for pick in picks} | set(state.taken)
    rest = tuple(window for window in scene.cover_windows if window not in picked)
    return Choice(tuple(picks), rest, scene.flops)


def unloaded_windows(folder: Path, name: str) -> UnloadedWindows | None:
    """What a model's files say of windows that it writes; None where it writes none.

    Raises
    ------
    ModelError
        If they are damaged.
    """
    settings = read_json(folder / SETTINGS, name) if (folder / SETTINGS).is_file() else {}
    if settings.get("form") != FORM:
        return None
    try:
        return UnloadedWindows(read_form(settings))
    except (LookupError, TypeError, ValueError) as error:
        raise ModelError(
            f"the allocator of the model {name} is damaged; fetch the whole model, or train the "
            "allocator again"
        ) from error
