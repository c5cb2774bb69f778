from ._commands import (
    add_calibrate_parser as add_calibrate_parser,
    add_data_parser as add_data_parser,
    add_evaluate_parser as add_evaluate_parser,
    add_reliability_parser as add_reliability_parser,
    add_train_parser as add_train_parser,
)
from .recipe import Recipe as Recipe, load_recipe as load_recipe
from .samples import (
    Area as Area,
    Facts as Facts,
    Sample as Sample,
    read_samples as read_samples,
    write_samples as write_samples,
)
