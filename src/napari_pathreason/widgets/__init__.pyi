from ._answer_view import ALERT as ALERT, MUTED as MUTED, AnswerView as AnswerView
from ._ask import AskWidget as AskWidget
from ._budget import BudgetWidget as BudgetWidget
from ._compare import CompareView as CompareView
from ._keys import ALL as ALL
from ._reliability import (
    SIGNS as SIGNS,
    TINT as TINT,
    WORDS as WORDS,
    ReliabilityStrip as ReliabilityStrip,
)
from ._rows import choice_box as choice_box
from ._slide_run import SlideRunWidget as SlideRunWidget
from ._warm import warm_up as warm_up
