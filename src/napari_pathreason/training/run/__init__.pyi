from ._adapters import (
    copy_checkpoint as copy_checkpoint,
    keep_adapters_alone as keep_adapters_alone,
    learnt_adapter as learnt_adapter,
    save_adapter as save_adapter,
)
from ._checkpoints import (
    last_checkpoint as last_checkpoint,
    resume as resume,
    save_model as save_model,
    save_state as save_state,
)
from ._draw import Draw as Draw
from ._log import SFT_PANELS as SFT_PANELS, RunLog as RunLog
from ._metadata import (
    build_metadata as build_metadata,
    describe_checkpoint as describe_checkpoint,
    model_name as model_name,
)
from ._optimise import optimizer_of as optimizer_of, schedule as schedule, warm as warm
from ._provenance import fingerprint as fingerprint, provenance as provenance
from ._sharding import (
    ended_everywhere as ended_everywhere,
    gathered as gathered,
    give_back as give_back,
    open_shards as open_shards,
    prepare_shards as prepare_shards,
    whole as whole,
)
