"""What tests of several rooms, benchmarks and pictures of the docs make their inputs with."""

from .checkpoints import byte_tokenizer, make_tiny_checkpoint, tiny_config
from .coded_slides import coded_pixels, write_synthetic_slide
from .other_checkpoints import make_other_checkpoint

__all__ = [
    "byte_tokenizer",
    "coded_pixels",
    "make_other_checkpoint",
    "make_tiny_checkpoint",
    "tiny_config",
    "write_synthetic_slide",
]
