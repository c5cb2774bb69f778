"""Jobs that share the passes of a model end as each would by itself."""

from concurrent.futures import CancelledError
from dataclasses import replace
from threading import Event

import pytest

from napari_pathreason.engine import Job, ask, ask_together
from napari_pathreason.errors import ModelError
from napari_pathreason.geometry import Region
from napari_pathreason.types import GenerationSettings, Request


class JointFinder:
    """A performer's answers, several in a pass."""

    def __init__(self, performer):
        self.info, self.generate = performer.info, performer.generate
        self.passes = []

    def generate_batch(self, prompts, settings, cancel):
        self.passes.append(len(prompts))
        return [list(self.generate(prompt, settings, cancel))[-1] for prompt in prompts]


@pytest.fixture
def jobs(slide, find):
    regions = (Region(0, 0, 1000, 1000), Region(200, 100, 800, 640), Region(0, 0, 1500, 1500))
    return [Job(slide, Request(region, find, 64)) for region in regions]


def _plain(result):
    return replace(result, seconds={})


def test_one_pass_and_the_same_results(jobs, performer, allocator):
    joint = JointFinder(performer)
    results = ask_together(jobs, joint, allocator, most=4096)
    assert joint.passes[0] == 3
    alone = [ask(job, performer, allocator) for job in jobs]
    assert [_plain(a) for a in results] == [_plain(b) for b in alone]
    assert len({result.picture_size for result in results}) > 1
    assert all(set(a.seconds) == set(b.seconds) for a, b in zip(results, alone, strict=True))


def test_a_performer_of_single_answers_answers_one_by_one(jobs, performer, allocator):
    plain = GenerationSettings(zoom=False)
    jobs = [replace(job, request=replace(job.request, settings=plain)) for job in jobs]
    results = ask_together(jobs, performer, allocator)
    assert len(performer.seen) == 3
    assert [result.region for result in results] == [job.request.region for job in jobs]


def test_what_the_model_raises_is_raised(jobs, performer, allocator):
    performer.error = ModelError("load another model")
    for asked in (performer, JointFinder(performer)):
        with pytest.raises(ModelError, match="load another model"):
            ask_together(jobs, asked, allocator)


def test_cancel_ends_all(jobs, performer, allocator):
    cancel = Event()
    cancel.set()
    with pytest.raises(CancelledError):
        ask_together(jobs, JointFinder(performer), allocator, cancel)
    assert performer.seen == []


def test_no_jobs_no_results(performer, allocator):
    assert ask_together([], performer, allocator) == []
