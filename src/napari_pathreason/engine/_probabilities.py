"""Probability of one written token among those that were allowed, and the scaling of any."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from napari_pathreason.types import Scale, TokenLogprobs

Allowed = Callable[[str], bool]

_EDGE = 1e-6  # nearer to 0 or 1 nothing is told apart


def token_probability(token: TokenLogprobs, allowed: Allowed | None = None) -> float:
    """Probability of the written token.

    Parameters
    ----------
    token : TokenLogprobs
    allowed : callable, optional
        Which texts count as choices; the probability is among them, and those that differ in
        upper and lower case alone are the same. Without it the whole vocabulary counts.
    """
    if allowed is None:
        return math.exp(token.choices[token.chosen][1])
    own, mine, others = token.text.casefold(), 0.0, 0.0
    for place, (text, log_probability) in enumerate(token.choices):
        if place == token.chosen or text.casefold() == own:
            mine += math.exp(log_probability)
        elif allowed(text):
            others += math.exp(log_probability)
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


def log_odds(probability: float) -> float:
    """logit(p), of a probability kept off 0 and 1."""
    kept = min(max(probability, _EDGE), 1 - _EDGE)
    return math.log(kept / (1 - kept))


def scaled(probability: float, scale: Scale) -> float:
    """Probability whose log-odds are ``logit(p) / temperature + offset``.

    Temperature scaling (Guo et al. 2017, arXiv:1706.04599, section 4.2) of the two outcomes
    "right" and "wrong", with an offset as Platt has it. It never changes the order of answers.
    """
    odds = log_odds(probability) / scale.temperature + scale.offset
    return 1 / (1 + math.exp(-odds)) if odds > -700 else 0.0
