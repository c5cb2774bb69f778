from ._performer import train_performer_by_trl as train_performer_by_trl
from ._questions import Drawing as Drawing, Questions as Questions
from ._sft import Collator as Collator, train_sft_by_trl as train_sft_by_trl
from ._start import Start as Start, load_start as load_start
