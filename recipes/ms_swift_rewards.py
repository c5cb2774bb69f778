r"""The rewards of this project for ms-swift: a file that it loads and calls.

::

    pathreason data export data/mine -o exported --to messages --token-px 28
    ROOT_IMAGE_DIR=exported swift rlhf --rlhf_type grpo --model Qwen/Qwen2.5-VL-7B-Instruct \
        --dataset exported/train.jsonl --val_dataset exported/val.jsonl \
        --external_plugins recipes/ms_swift_rewards.py --reward_funcs pathreason

``pathreason`` rewards answers as the own loop does, ``pathreason_paper`` as the paper has it. Both
read the columns that the export writes beside ``messages``, ``images`` and ``solution``. Boxes are
taken as pixels of the picture, as Qwen2.5-VL writes them; PATHREASON_BOX_SPACE=relative is for
models that write 0 to 1000, exported with ``--box-space relative``.
"""

import os

from swift.rewards import ORM, orms

from napari_pathreason.training.grpo import make_reward


class PathReason(ORM):
    """Scores of answers, and what the whole form adds."""

    kind = "task"

    def __init__(self, args=None, **kwargs):
        super().__init__(args, **kwargs)
        space = os.environ.get("PATHREASON_BOX_SPACE", "resized")
        self._reward = make_reward(self.kind, format_weight=0.5, box_space=space)

    def __call__(self, completions, **columns):
        """A reward for each completion, of columns with an entry each."""
        return self._reward(completions, **columns)


class PathReasonPaper(PathReason):
    """The paper's: exact choice, BLEU-4, AP50 in the order of listing."""

    kind = "paper"


orms["pathreason"] = PathReason
orms["pathreason_paper"] = PathReasonPaper
