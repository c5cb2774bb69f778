from ._adapter import (
    CONFIG as CONFIG,
    WEIGHTS as WEIGHTS,
    base_of as base_of,
    fill_adapter as fill_adapter,
    find_base as find_base,
    merge_adapter as merge_adapter,
    read_adapter as read_adapter,
    save_matrices as save_matrices,
    write_base as write_base,
)
from ._allocators import (
    ALLOCATOR_FILES as ALLOCATOR_FILES,
    FixedAllocator as FixedAllocator,
    TextForm as TextForm,
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
    read_info as read_info,
    read_json as read_json,
    read_metadata as read_metadata,
)
from ._decode import (
    DecodingStep as DecodingStep,
    Prefill as Prefill,
    SampledToken as SampledToken,
    decode as decode,
    decode_rows as decode_rows,
    decode_step as decode_step,
    draw as draw,
    pick_pictures as pick_pictures,
    prefill as prefill,
    stop_ids as stop_ids,
)
from ._dims import read_dims as read_dims
from ._fetch import Fetched as Fetched, fetch as fetch, is_missing as is_missing
from ._generate import GeneratePerformer as GeneratePerformer, picture_token as picture_token
from ._head_allocator import (
    BUDGETS as BUDGETS,
    EFFORTS as EFFORTS,
    OVERVIEW as OVERVIEW,
    AllocatorNet as AllocatorNet,
    PolicyAllocator as PolicyAllocator,
    load_allocator as load_allocator,
    net_flops as net_flops,
    save_allocator as save_allocator,
    to_tensor as to_tensor,
)
from ._index import read_index as read_index, write_index as write_index
from ._inputs import (
    CONTROL_TOKENS as CONTROL_TOKENS,
    IMAGE_PAD as IMAGE_PAD,
    TEMPORAL_PATCH as TEMPORAL_PATCH,
    VISION_TOKENS as VISION_TOKENS,
    ModelInputs as ModelInputs,
    build_inputs as build_inputs,
    defuse as defuse,
    embed_by_product as embed_by_product,
    patchify as patchify,
    prompt_ids as prompt_ids,
    with_counts as with_counts,
    without_system as without_system,
)
from ._loading import (
    LoadedModels as LoadedModels,
    check_fits as check_fits,
    described_in as described_in,
    find_windows as find_windows,
    load_models as load_models,
    load_performer as load_performer,
    load_tokenizer as load_tokenizer,
    read_model_info as read_model_info,
    read_normalisation as read_normalisation,
)
from ._memory import check_memory as check_memory, weight_bytes as weight_bytes
from ._merge import write_merged as write_merged
from ._metadata import (
    METADATA as METADATA,
    metadata_of as metadata_of,
    write_metadata as write_metadata,
)
from ._ood import (
    LEAST_TOKENS as LEAST_TOKENS,
    FeatureHook as FeatureHook,
    OODDetector as OODDetector,
    Wording as Wording,
    colours as colours,
    detail as detail,
    learn_wording as learn_wording,
    load_detector as load_detector,
    save_detector as save_detector,
    size_class as size_class,
    words_of as words_of,
)
from ._performer import VLMPerformer as VLMPerformer
from ._prepare import prepare_model as prepare_model, set_boxes as set_boxes
from ._pretrained import load_weights as load_weights
from ._processor import (
    PROCESSOR_FILES as PROCESSOR_FILES,
    check_installed as check_installed,
    load_processor as load_processor,
)
from ._prompts import (
    PromptBatch as PromptBatch,
    batch_prompts as batch_prompts,
    pad_rows as pad_rows,
    rope_positions as rope_positions,
)
from ._registry import remember_model as remember_model, remembered_models as remembered_models
from ._runtime import (
    choose_dtype as choose_dtype,
    resolve_device as resolve_device,
    resolve_encoder as resolve_encoder,
    resolve_precision as resolve_precision,
    use_threads as use_threads,
    wait_passively as wait_passively,
)
from ._sha256 import (
    checkpoint_sha256 as checkpoint_sha256,
    copy_beside as copy_beside,
    folder_signature as folder_signature,
)
from ._text import LogprobsReader as LogprobsReader, TextStream as TextStream
from ._text_allocator import (
    FALLBACK as FALLBACK,
    TextAllocator as TextAllocator,
    save_text_allocator as save_text_allocator,
)
from ._text_windows import (
    TextWindows as TextWindows,
    UnloadedWindows as UnloadedWindows,
    can_name as can_name,
    chosen as chosen,
    windows_prompt as windows_prompt,
)
from ._window_allocator import (
    Offer as Offer,
    Taking as Taking,
    WindowAllocator as WindowAllocator,
    WithWindows as WithWindows,
    load_windows as load_windows,
    near_windows as near_windows,
    readable_levels as readable_levels,
    save_windows as save_windows,
    take as take,
    take_within as take_within,
    window_costs as window_costs,
)
from ._window_inputs import (
    LEVELS as LEVELS,
    WindowAnswers as WindowAnswers,
    answer_features as answer_features,
    answers_of as answers_of,
    level_tokens as level_tokens,
    read_features as read_features,
    shares_of as shares_of,
    window_inputs as window_inputs,
)
from ._window_net import (
    SHAPES as SHAPES,
    Weights as Weights,
    WindowInputs as WindowInputs,
    expected as expected,
    gains as gains,
    new_weights as new_weights,
    see as see,
    window_net_flops as window_net_flops,
    worth as worth,
)
from .catalogue import (
    LISTED as LISTED,
    CachedModel as CachedModel,
    ListedModel as ListedModel,
    cached_models as cached_models,
)
from .families import (
    FAMILIES as FAMILIES,
    NORMALISATION as NORMALISATION,
    Family as Family,
    Normalisation as Normalisation,
    family_of as family_of,
)
from .process import ModelProcess as ModelProcess
from .server import (
    allocator_folder as allocator_folder,
    allow_host as allow_host,
    is_address as is_address,
    load_server as load_server,
    resolve_address as resolve_address,
    served_sha256 as served_sha256,
)
