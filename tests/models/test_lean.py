"""A process that only answers imports less, answers the same, and copes where it must not."""

import json
import subprocess
import sys

import pytest

from napari_pathreason.sample_data import sample

SPARED = ("torch._dynamo", "scipy.optimize", "accelerate", "torch.distributed.tensor")
ASK = """
import json, sys
from napari_pathreason import ask, models
{before}
loaded = models.load_models("embedded", "cpu", answers_only={lean})
asked = dict(region=(0, 0, 256, 256), question="Is there tumour?", choices=("yes", "no"), budget=64)
answer = ask(sys.argv[1], model=loaded, mpp=0.5, **asked)
there = [name for name in {spared!r} if name in sys.modules]
{after}
print(json.dumps([answer.answer.reply, repr(answer.confidence), repr(answer.ood), there]))
"""


def _asked(lean, before="", after=""):
    """Reply, confidence and OOD score of an answer in a new process, and what it imported."""
    code = ASK.format(lean=lean, before=before, after=after, spared=SPARED)
    words = [sys.executable, "-c", code, str(sample("nuclei").path)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *answer, there = json.loads(done.stdout)
    return answer, there


@pytest.fixture(scope="module")
def plain():
    """The answer where everything is imported."""
    answer, there = _asked(False)
    assert answer[0]
    assert {"torch._dynamo", "accelerate"} <= {*there}  # else there is nothing to spare
    return answer


def test_what_answers_do_not_need_is_not_imported(plain):
    compiler = "import torch._dynamo; torch._dynamo.reset()"  # still to be had by who asks
    answer, there = _asked(True, after=compiler)
    assert answer == plain
    assert there == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "before",
    [
        "import transformers",
        # a release of transformers that asks the compiler for more than marks
        "from napari_pathreason.models import _lean; _lean._mark = lambda name: 1 / 0",
    ],
    ids=["imported-before", "not-without"],
)
def test_else_everything_is_imported_as_ever(plain, before):
    answer, there = _asked(True, before=before)
    assert answer == plain
    assert "torch._dynamo" in there
