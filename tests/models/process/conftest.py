"""A model in its own process, the same model in this one, and ways to ask either."""

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_pathreason.models import ModelProcess, load_models
from napari_pathreason.types import Completion, GenerationSettings, Prompt

MESSAGES = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Why?"}]}]
PIXELS = np.random.default_rng(5).integers(0, 256, (64, 96, 3), dtype=np.uint8)
ENDLESS = GenerationSettings(max_new_tokens=100_000)
NEVER = threading.Event()


@pytest.fixture(scope="module")
def process(talkative) -> Iterator[ModelProcess]:
    """Serves most tests of a file; each leaves it fit for use."""
    with ModelProcess(talkative, "cpu") as process:
        yield process


@pytest.fixture(scope="module")
def local(talkative):
    return load_models(talkative, "cpu").performer


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    """The picture that is shown where a test gives no other."""
    return PIXELS


@pytest.fixture
def begin() -> Callable[..., Iterator[str | Completion]]:
    """Begin an answer; it is endless where no settings are given."""

    def generate(performer, settings=ENDLESS, cancel=NEVER, pixels=PIXELS):
        return performer.generate(Prompt((pixels,), MESSAGES), settings, cancel)

    return generate


@pytest.fixture
def ask(begin) -> Callable[..., Completion]:
    """Answer to the end, which tells what was streamed."""

    def answer(performer, *args, **options) -> Completion:
        *pieces, last = begin(performer, *args, **options)
        assert isinstance(last, Completion)
        assert "".join(pieces) == last.text
        return last

    return answer


@pytest.fixture
def ask_together() -> Callable[..., list[Completion]]:
    """Answers about several pictures in one pass."""

    def answer(performer, pictures, settings=ENDLESS, cancel=NEVER) -> list[Completion]:
        return performer.generate_batch(
            [Prompt((pixels,), MESSAGES) for pixels in pictures], settings, cancel
        )

    return answer


@pytest.fixture
def check_it_works(ask) -> Callable[..., None]:
    def check(process, local):
        settings = GenerationSettings(max_new_tokens=12)
        assert ask(process.performer, settings).text == ask(local, settings).text

    return check
