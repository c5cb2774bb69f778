from ._lora import (
    EMBEDDINGS as EMBEDDINGS,
    LEARNING as LEARNING,
    REFERENCE as REFERENCE,
    add_reference as add_reference,
    as_reference as as_reference,
    start_lora as start_lora,
    start_second_lora as start_second_lora,
)
from ._recompute import recomputing as recomputing
from ._start import (
    save_checkpoint as save_checkpoint,
    start_model as start_model,
    starting_model as starting_model,
)
