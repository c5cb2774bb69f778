"""The chat frame shared by all tasks."""

from __future__ import annotations

from napari_pathreason.types import Messages

SYSTEM = (
    "You are a pathologist's assistant. First reason about the picture inside <think> </think>, "
    "then give the answer inside <answer> </answer>."
)


def chat(instruction: str) -> Messages:
    """System message plus one user turn that holds the picture and the instruction."""
    return [
        {"role": "system", "content": [{"type": "text", "text": SYSTEM}]},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": instruction}]},
    ]
