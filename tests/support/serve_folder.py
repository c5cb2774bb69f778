"""``transformers serve`` of a Qwen3-VL folder where torchvision is not installed.

Usage: python -m tests.support.serve_folder FOLDER --host 127.0.0.1 --port 18431 --device cpu

The processor of the family wants torchvision for videos, of which there are none: one that knows
pictures alone stands in for it.
"""

from __future__ import annotations

import sys
from typing import Any


def _pictures_alone() -> type:
    from transformers import ProcessorMixin
    from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor

    class PictureProcessor(Qwen3VLProcessor):  # type: ignore[misc]
        def __init__(self, image_processor: Any, tokenizer: Any, chat_template: Any) -> None:
            for name in ("image_pad", "video_pad", "vision_start", "vision_end"):
                own = name.replace("_pad", "") + "_token"
                setattr(self, own, f"<|{name}|>")
                setattr(self, f"{own}_id", tokenizer.convert_tokens_to_ids(f"<|{name}|>"))
            ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    return PictureProcessor


def load_processor(folder: str, *_: Any, **__: Any) -> Any:
    """A processor of a folder, for `AutoProcessor.from_pretrained`."""
    from transformers import AutoImageProcessor, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    pictures = AutoImageProcessor.from_pretrained(folder)
    return _pictures_alone()(pictures, tokenizer, tokenizer.chat_template)


def main() -> None:
    """Serve."""
    from transformers import AutoProcessor
    from transformers.cli.transformers import main as transformers

    AutoProcessor.from_pretrained = staticmethod(load_processor)
    sys.argv = ["transformers", "serve", *sys.argv[1:]]
    transformers()


if __name__ == "__main__":
    main()
