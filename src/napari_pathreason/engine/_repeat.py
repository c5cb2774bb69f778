"""What a run read, read once more: the windows themselves, whoever chose them then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from napari_pathreason.budgets import budget_of
from napari_pathreason.types import PolicyName, View, Views

from ._policies import LEARNED, Choice, Pick, State, policy_named


@dataclass(frozen=True, slots=True)
class RepeatedViews:
    """Chooses the windows that a run read, in its order; satisfies `engine.Policy`.

    A rule can choose otherwise under other versions, a user may have gone on with other windows,
    and a policy of one's own has no name that a file could hold: what was read stands in the
    manifest all the same. What a rule would spend on choosing is counted as it was then, and
    which windows it would go on with is asked of it.

    Parameters
    ----------
    views : tuple of View
        Windows of one prompt, or of prompts of their own.
    name : str
        Of the policy that chose them.
    rounds : int
        1 where they stood in one prompt.
    """

    views: tuple[View, ...]
    name: str
    rounds: int = 1

    def choose(self, state: State) -> Choice:
        """See `engine.Policy.choose`."""
        known = self.name in get_args(PolicyName) and self.name != LEARNED
        own = policy_named(self.name).choose(state) if known else Choice(())  # type: ignore[arg-type]
        first, again = self._rounds()
        # what the user pinned is taken already; what is taken later was read in the first round
        picks = tuple(pick for pick in first if pick.region not in state.taken)
        if state.readings and not picks:
            picks = again
        chosen = {pick.region for pick in picks}
        rest = (*(pick.region for pick in own.picks), *own.order)
        return Choice(picks, tuple(one for one in rest if one not in chosen), own.flops)

    def _rounds(self) -> tuple[tuple[Pick, ...], tuple[Pick, ...]]:
        """Windows, and those behind them from the first that was read a second time."""
        picks = tuple(Pick(view.region, budget_of(view), view.why) for view in self.views)
        places = [pick.region for pick in picks]
        repeated = (n for n, place in enumerate(places) if place in places[:n])
        second = next(repeated, len(picks))
        return picks[:second], picks[second:]


def repeated_views(views: Views | None) -> RepeatedViews | None:
    """What reads the windows of a result again (`engine.Job.policy`); None of one picture."""
    windows = () if views is None else tuple(v for v in views.views if v.role == "window")
    if views is None or not windows:
        return None
    each = views.policy in ("again", LEARNED) and not views.joint
    return RepeatedViews(windows, views.policy, 2 if each else 1)
