"""Regions whose best window is known: a thing of one colour, which only a fine look tells."""

from random import Random

import numpy as np

from napari_pathreason.engine import Scene, State, lay_grid, overview_size
from napari_pathreason.geometry import Region
from napari_pathreason.tasks import Target
from napari_pathreason.training import Sample
from napari_pathreason.training.allocator import WindowQuestion
from napari_pathreason.types import Answer, Query, Reading, View

BUDGETS = (4, 8, 16, 32, 64, 128, 256)
TOKENS = (16, 64, 256)
FLOPS = tuple(one * 1e9 for one in BUDGETS)
THERE = Query("vqa", "Is there a dark spot?", ("yes", "no"))


def region_of(spot, rng, decoys=1, side=256, across=3):
    """A scene of pink tissue with a dark window at a place of the grid, and pale ones beside it."""
    grid = lay_grid(Region(0, 0, side * across, side * across), side, 32)
    width, height = overview_size(grid)
    noise = np.random.default_rng(rng.getrandbits(32))
    overview = noise.integers(170, 190, (height, width, 3)).astype(np.uint8)
    half = height // (grid.rows + 1)

    def paint(place, colour):
        row, column = divmod(place, grid.columns)
        part = overview[row * half : (row + 2) * half, column * half : (column + 2) * half]
        part[:] = np.array(colour, np.uint8)

    for _ in range(decoys):  # as unlike the rest as the thing itself
        paint(rng.choice(grid.cover.tolist()), (120, 190, 150))
    if spot is not None:
        paint(spot, (150, 90, 170))
    return Scene(grid, overview)


def reading_of(query, place, level, scene, text, confidence=0.9):
    view = View(scene.grid.window(place), (128, 128), TOKENS[level], "window", place + 1)
    answer = Answer("", text)
    return Reading((view,), answer, (), confidence, visual_tokens=TOKENS[level])


def bandit(number, seed=0, *, seen=True, doubtful=False, present=0.7):
    """Questions that one window at 64 tokens answers; at 16 all of them say no.

    Parameters
    ----------
    number, seed : int
    seen : bool
        Whether the pictures show where it is; else they are those of other regions.
    doubtful : bool
        Whether the pictures are all alike, and the right window is in doubt at 16 tokens.
    present : float
        Share of regions with one.
    """
    rng = Random(seed)
    questions = []
    for _ in range(number):
        grid = region_of(None, Random(0)).grid
        spot = rng.choice(grid.cover.tolist()) if rng.random() < present else None
        painted = spot if seen else rng.choice([None, *grid.cover.tolist()])
        scene = region_of(None if doubtful else painted, rng)
        readings = {}
        for place in range(len(grid)):
            holds = spot is not None and grid.overlap(place, spot) > 0.7
            for level in range(len(TOKENS)):
                text = "yes" if holds and level > 0 else "no"
                confidence = 0.5 if doubtful and holds and level == 0 else 0.9
                one = reading_of(THERE, place, level, scene, text, confidence)
                readings[place, level] = one
        state = State(THERE, scene, BUDGETS, None, flops=FLOPS)
        answer = "no" if spot is None else "yes"
        sample = Sample(image="a.png", task="vqa", question=THERE.question, answer=answer)
        target = Target(answer, choices=THERE.options)
        questions.append(WindowQuestion(sample, THERE, state, target, TOKENS, readings))
    return questions
