from ._actor import Actor as Actor
from ._advantages import group_advantages as group_advantages, zero_variance as zero_variance
from ._budgets import (
    BudgetPolicy as BudgetPolicy,
    draw_budget as draw_budget,
    mixed_probabilities as mixed_probabilities,
)
from ._learner import Learner as Learner, join_processes as join_processes
from ._paper_scores import ap50 as ap50, bleu4 as bleu4
from ._pointing import Pointing as Pointing
from ._policy_losses import aggregate as aggregate, clipped_surrogate as clipped_surrogate, k3 as k3
from ._prompts import Prompts as Prompts, build_prompts as build_prompts, prompts_of as prompts_of
from ._reference import AdaptedReference as AdaptedReference
from ._rewards import Assessed as Assessed, assess as assess
from ._rollout import Rollout as Rollout, roll_out as roll_out, stop_ids as stop_ids
from ._rollout_figures import PANELS as PANELS, figures as figures
