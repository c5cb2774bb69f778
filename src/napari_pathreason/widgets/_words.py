"""What the docks say, other than labels and tips, to be read through in one place.

One wording for one thing: short, plain, current English. A hint and an error begin with a small
letter where `engine.sentence` makes a sentence of them; they name the remedy.
"""

from __future__ import annotations

# what is missing, or in the way
BUSY = "the model is busy with another question, a comparison or slide run; wait, or stop that"
NOTHING_TO_DRAW_ON = "There is no image to draw on; open a slide first."
OPEN_FIRST = "Open a slide or any image first."
NO_ANNOTATIONS = "There are no annotations on this image."
NO_SLIDE = "there is no slide to run over; open one first"
NO_FOLDER = "there is no folder for the results; choose one"
NO_PIXEL_SIZE = "This slide does not say how large its pixels are: enter \N{MICRO SIGN}m per pixel."
NO_PACE = "How long it takes is known once this model has answered on this computer."
STILL_CLOSING = "the run before is still closing its folder; try again"

ONE_SLIDE = "these answers are about several slides; filter the table to one of them first"

# how something ended
CANCELLING = "Cancelling\N{HORIZONTAL ELLIPSIS}"
CANCELLED = "Cancelled."
FAILED = "Failed."
NOT_STARTED = "Not started."
DONE = "Done."
DONE_BEFORE = "Finished before, nothing to do."
RUN_FAILED = "Failed; what is done is kept."
IMAGE_CLOSED = "The image was closed, so the question about it was cancelled."
SLIDE_CLOSED = "The slide was closed, so its run was cancelled; what is done is kept."
SLIDE_GONE = "the slide of that run was closed; open it and start the run again"
QUESTION_DROPPED = "The dock was closed; the question was dropped."
COMPARISON_DROPPED = "The dock was closed; the comparison was dropped."
RUN_STOPPED = "The dock was closed; the run was stopped."
NO_ENDING = "the question ended without an answer; ask again"
NO_RUN_ENDING = "the run ended without a word; start it again, what is done is kept"


def saved(name: str, what: str = "") -> str:
    """A file was written, and what it holds."""
    return f"{name} was saved: {what}." if what else f"{name} was saved."


def at_most(time: str) -> str:
    """How long a slide run will take."""
    return f"At most about {time}; tiles without tissue are skipped."


def annotation_count(count: int) -> str:
    """How many of them there are."""
    return "1 annotation" if count == 1 else f"{count:,} annotations"


def rows(count: int) -> str:
    """How many of a table there are."""
    return "1 row" if count == 1 else f"{count:,} rows"


def objects(count: int) -> str:
    """How many for QuPath there are."""
    return "1 object" if count == 1 else f"{count:,} objects"


def paused(regions: int) -> str:
    """Regions wait."""
    return f"Paused, {'1 region' if regions == 1 else f'{regions:,} regions'} left"


def cancelled_run(done: int, total: int) -> str:
    """A slide run was cancelled."""
    return f"Cancelled, {done:,} of {total:,} tiles are kept."
