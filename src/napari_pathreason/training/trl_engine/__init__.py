"""TRL's trainers as the engine of supervised fine-tuning and GRPO, for checkpoints of 2B and up."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
