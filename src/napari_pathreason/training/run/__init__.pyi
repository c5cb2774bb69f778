from ._checkpoints import (
    copy_checkpoint as copy_checkpoint,
    keep_adapters_alone as keep_adapters_alone,
    last_checkpoint as last_checkpoint,
    learnt_adapter as learnt_adapter,
    resume as resume,
    save_adapter as save_adapter,
    save_model as save_model,
    save_state as save_state,
    write_step as write_step,
)
from ._identity import (
    STEP as STEP,
    check_files as check_files,
    check_same_run as check_same_run,
    check_unchanged as check_unchanged,
    identity_of as identity_of,
)
from ._log import (
    RunLog as RunLog,
    start_log as start_log,
    tracking as tracking,
)
from ._loop import (
    LoopRecipe as LoopRecipe,
    TrainingLoop as TrainingLoop,
    optimizer_of as optimizer_of,
    schedule as schedule,
    warm as warm,
)
from ._metadata import (
    build_metadata as build_metadata,
    data_identity as data_identity,
    describe_checkpoint as describe_checkpoint,
    fingerprint as fingerprint,
    model_name as model_name,
    provenance as provenance,
)
from ._processes import (
    alone as alone,
    by_first as by_first,
    check_processes as check_processes,
    join as join,
)
from ._sampling import (
    BudgetPolicy as BudgetPolicy,
    PictureSampler as PictureSampler,
    StageData as StageData,
    mixed_probabilities as mixed_probabilities,
    read_data as read_data,
    sample_budget as sample_budget,
)
from ._sharding import (
    ended_everywhere as ended_everywhere,
    full_value as full_value,
    gathered as gathered,
    open_shards as open_shards,
    prepare_shards as prepare_shards,
    reshard as reshard,
)
