from ._batch import (
    IGNORE as IGNORE,
    Batch as Batch,
    TrainingQuestion as TrainingQuestion,
    collate as collate,
)
from ._language_model import (
    AnswerModel as AnswerModel,
    LanguageModelObjective as LanguageModelObjective,
    attention_mask as attention_mask,
    target_logits as target_logits,
)
from ._objective import (
    Objective as Objective,
    load_objective as load_objective,
    part_weights as part_weights,
    read_options as read_options,
)
