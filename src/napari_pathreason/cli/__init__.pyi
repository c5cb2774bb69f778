from ._ask import answer_region as answer_region
from ._canvas import Column as Column, wrap as wrap
from ._display import LIBRARIES as LIBRARIES, find_display as find_display
from ._doctor import BINDINGS as BINDINGS
from ._main import TRACEBACK as TRACEBACK, main as main
from ._progress import quiet_libraries as quiet_libraries
from ._text import describe as describe
