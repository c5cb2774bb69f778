__version__: str

from ._ask import ask as ask
from ._whole_slide import classify as classify, detect as detect
from .engine import (
    Models as Models,
    result_to_dict as result_to_dict,
    token_line as token_line,
)
from .errors import (
    ExportError as ExportError,
    ModelError as ModelError,
    OutOfMemoryError as OutOfMemoryError,
    PathreasonError as PathreasonError,
    QueryError as QueryError,
    RegionError as RegionError,
    SlideError as SlideError,
)
from .exports import UsedModel as UsedModel, to_anndata as to_anndata
from .geometry import Box as Box, Region as Region
from .models import load_models as load_models
from .slide_run import (
    ClassShare as ClassShare,
    Identity as Identity,
    Lesion as Lesion,
    Outcome as Outcome,
    Override as Override,
    RunPlan as RunPlan,
    RunSettings as RunSettings,
    Tally as Tally,
    Tile as Tile,
    TileRecord as TileRecord,
)
from .slides import Slide as Slide, open_slide as open_slide
from .types import (
    Allocation as Allocation,
    Answer as Answer,
    AnswerBox as AnswerBox,
    Budget as Budget,
    Calibration as Calibration,
    Detection as Detection,
    Effort as Effort,
    Form as Form,
    GenerationSettings as GenerationSettings,
    Level as Level,
    Metadata as Metadata,
    ModelDims as ModelDims,
    ModelInfo as ModelInfo,
    OODScore as OODScore,
    OrderCheck as OrderCheck,
    PolicyName as PolicyName,
    Query as Query,
    Reading as Reading,
    Reliability as Reliability,
    Request as Request,
    Result as Result,
    Scale as Scale,
    ServerInfo as ServerInfo,
    SlideInfo as SlideInfo,
    TaskName as TaskName,
    Thread as Thread,
    TokenLevel as TokenLevel,
    TokenReport as TokenReport,
    Topic as Topic,
    TopicScale as TopicScale,
    Turn as Turn,
    View as View,
    Views as Views,
    WindowChoice as WindowChoice,
)
