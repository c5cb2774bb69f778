from ._adapter import (
    CONFIG as CONFIG,
    WEIGHTS as WEIGHTS,
    base_of as base_of,
    find_base as find_base,
    merge_adapter as merge_adapter,
    read_matrices as read_matrices,
    save_matrices as save_matrices,
    write_base as write_base,
)
from ._allocator import (
    BUDGETS as BUDGETS,
    EFFORTS as EFFORTS,
    OVERVIEW as OVERVIEW,
    AllocatorNet as AllocatorNet,
    PolicyAllocator as PolicyAllocator,
    load_allocator as load_allocator,
    net_flops as net_flops,
    save_allocator as save_allocator,
    to_tensor as to_tensor,
    word_ids as word_ids,
)
from ._checkpoint import (
    EMBEDDED as EMBEDDED,
    check_whole as check_whole,
    find_checkpoint as find_checkpoint,
    is_embedded as is_embedded,
    weight_files as weight_files,
)
from ._config import (
    CALIBRATION as CALIBRATION,
    read_dims as read_dims,
    read_info as read_info,
    read_metadata as read_metadata,
)
from ._decode import BESIDE as BESIDE, Drawn as Drawn, decode as decode
from ._described import read_model_info as read_model_info
from ._detector import (
    FILE as FILE,
    LEAST_TOKENS as LEAST_TOKENS,
    OODDetector as OODDetector,
    load_detector as load_detector,
    save_detector as save_detector,
    size_class as size_class,
)
from ._device import choose_dtype as choose_dtype, resolve_device as resolve_device
from ._features import FeatureHook as FeatureHook, colours as colours, detail as detail
from ._fixed import FixedAllocator as FixedAllocator
from ._inputs import (
    CONTROL_TOKENS as CONTROL_TOKENS,
    IMAGE_PAD as IMAGE_PAD,
    VISION_TOKENS as VISION_TOKENS,
    ModelInputs as ModelInputs,
    build_inputs as build_inputs,
    defused as defused,
    prompt_ids as prompt_ids,
)
from ._loading import (
    described_in as described_in,
    load_models as load_models,
    load_performer as load_performer,
    load_tokenizer as load_tokenizer,
    load_weights as load_weights,
)
from ._logprobs import LogprobsReader as LogprobsReader
from ._merge import write_merged as write_merged
from ._metadata import (
    FORMAT_VERSION as FORMAT_VERSION,
    METADATA as METADATA,
    metadata_of as metadata_of,
    write_metadata as write_metadata,
)
from ._models import LoadedModels as LoadedModels
from ._patch_embedding import embed_by_product as embed_by_product
from ._performer import VLMPerformer as VLMPerformer
from ._pixels import (
    NORMALISATION as NORMALISATION,
    TEMPORAL_PATCH as TEMPORAL_PATCH,
    Normalisation as Normalisation,
    patchify as patchify,
)
from ._text import TextStream as TextStream
from ._text_allocator import (
    FALLBACK as FALLBACK,
    TextAllocator as TextAllocator,
    TextForm as TextForm,
    save_text_allocator as save_text_allocator,
)
from ._threads import use_threads as use_threads, wait_passively as wait_passively
from ._wording import Wording as Wording, learn_wording as learn_wording, words_of as words_of
from .process import ModelProcess as ModelProcess
