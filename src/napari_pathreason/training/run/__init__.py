"""What every loop shares: what is drawn, steps of the optimiser, the state on disk, the log."""

from ._adapters import copy_checkpoint
from ._metadata import build_metadata, describe_checkpoint, model_name

__all__ = ["build_metadata", "copy_checkpoint", "describe_checkpoint", "model_name"]
