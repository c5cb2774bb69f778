from ._dinov2 import (
    IMAGENET_MEAN as IMAGENET_MEAN,
    IMAGENET_STD as IMAGENET_STD,
    load_dinov2 as load_dinov2,
)
from ._fetch import INSTANSEG as INSTANSEG, Pin as Pin, extract as extract, fetch as fetch
from ._lora import (
    EMBEDDINGS as EMBEDDINGS,
    LEARNING as LEARNING,
    REFERENCE as REFERENCE,
    add_reference as add_reference,
    as_reference as as_reference,
    start_lora as start_lora,
    start_second_lora as start_second_lora,
)
from ._mini import (
    mini_tokenizer as mini_tokenizer,
    save_checkpoint as save_checkpoint,
    tell_tokens as tell_tokens,
)
from ._recompute import recomputing as recomputing
from ._sines import on_grid as on_grid, sines as sines
from ._start import start_model as start_model
