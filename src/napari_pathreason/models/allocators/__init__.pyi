from ._beside import (
    FOLDER as FOLDER,
    SETTINGS as SETTINGS,
    FixedAllocator as FixedAllocator,
    load_beside as load_beside,
)
from ._head import (
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
from ._text import (
    FALLBACK as FALLBACK,
    TextAllocator as TextAllocator,
    TextForm as TextForm,
    save_text_allocator as save_text_allocator,
)
