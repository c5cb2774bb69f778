from ._ask import answer_region as answer_region
from ._doctor import (
    BINDINGS as BINDINGS,
    LIBRARIES as LIBRARIES,
    find_display as find_display,
)
from ._figure import Column as Column, wrap as wrap
from ._main import TRACEBACK as TRACEBACK, main as main
from ._text import describe as describe, quiet_libraries as quiet_libraries
