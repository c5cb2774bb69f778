from ._answer_view import AnswerView as AnswerView
from ._answers import AnswersWidget as AnswersWidget
from ._ask import AskWidget as AskWidget
from ._budget import BudgetWidget as BudgetWidget
from ._compare import CompareView as CompareView
from ._dock import warm_up as warm_up
from ._keys import ALL as ALL
from ._progress import StageProgress as StageProgress
from ._reliability import ReliabilityStrip as ReliabilityStrip
from ._server import ServerDialog as ServerDialog, may_send as may_send
from ._slide_run import SlideRunWidget as SlideRunWidget
