"""Probability of one written token, at a temperature and among those that were allowed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from napari_pathreason._types import WrittenToken

Allowed = Callable[[str], bool]


def token_chance(
    token: WrittenToken, temperature: float = 1.0, allowed: Allowed | None = None
) -> float:
    """Probability of the written token: p^(1/T) over the sum of those beside it.

    Temperature scaling, Guo et al. 2017 (arXiv:1706.04599), section 4.2.

    Parameters
    ----------
    token : WrittenToken
    temperature : float
        Above 0; 1 for the model's own probabilities.
    allowed : callable, optional
        Which texts count as choices; those that differ in upper and lower case alone are then
        the same. Without it what the choices leave of 1 counts as one more of them.
    """
    own = token.text.casefold() if allowed else None
    mine, others, seen = 0.0, 0.0, 0.0
    for place, (text, log_chance) in enumerate(token.choices):
        scaled = math.exp(log_chance / temperature)
        seen += math.exp(log_chance)
        if place == token.chosen or (own is not None and text.casefold() == own):
            mine += scaled
        elif allowed is None or allowed(text):
            others += scaled
    if allowed is None and seen < 1:
        others += (1 - seen) ** (1 / temperature)
    return mine / (mine + others) if mine > 0 else 0.0


def leading_to(forms: Sequence[str], before: str, frame: str = "") -> Allowed:
    """Whether a token's text leads on to one of the forms.

    Parameters
    ----------
    forms : sequence of str
        Whole answers with what closes them, case-folded.
    before : str
        What was written of the answer so far.
    frame : str
        Letters with which the token must begin, since they belong to what stands before the
        answer.
    """

    def allowed(text: str) -> bool:
        if not text or not text.startswith(frame):
            return False
        ahead = (before + text[len(frame) :]).lstrip().casefold()
        return any(form.startswith(ahead) or ahead.startswith(form) for form in forms)

    return allowed
