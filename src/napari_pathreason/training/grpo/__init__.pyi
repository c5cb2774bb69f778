from ._actor import (
    Actor as Actor,
    build_prompts as build_prompts,
    prompts_of as prompts_of,
)
from ._elsewhere import make_reward as make_reward, reward_funcs as reward_funcs
from ._learner import (
    AdaptedReference as AdaptedReference,
    Learner as Learner,
    join_processes as join_processes,
)
from ._loss import (
    aggregate as aggregate,
    clipped_surrogate as clipped_surrogate,
    group_advantages as group_advantages,
    k3 as k3,
    zero_variance as zero_variance,
)
from ._rewards import (
    BoxRefiner as BoxRefiner,
    RewardBreakdown as RewardBreakdown,
    Rewarded as Rewarded,
    RewardFunction as RewardFunction,
    Rewards as Rewards,
    ap50 as ap50,
    bleu4 as bleu4,
    score_completion as score_completion,
)
from ._rollout import (
    PANELS as PANELS,
    Rollout as Rollout,
    figures as figures,
    over_processes as over_processes,
    roll_out as roll_out,
)
