__version__: str

from ._ask import ask as ask
from .engine import result_to_dict as result_to_dict, token_line as token_line
from .errors import (
    ExportError as ExportError,
    ModelError as ModelError,
    OutOfMemoryError as OutOfMemoryError,
    PathreasonError as PathreasonError,
    QueryError as QueryError,
    RegionError as RegionError,
    SlideError as SlideError,
)
from .geometry import Box as Box, Region as Region
from .models import load_models as load_models
from .slides import open_slide as open_slide
from .types import (
    Allocation as Allocation,
    Answer as Answer,
    Detection as Detection,
    Metadata as Metadata,
    Query as Query,
    Reliability as Reliability,
    Result as Result,
    SlideInfo as SlideInfo,
    TokenReport as TokenReport,
    Topic as Topic,
)
