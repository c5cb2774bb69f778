"""Reinforcement learning of an allocator that writes windows: GRPO over sampled views.

The paper's text form, extended: a second adapter on the performer's weights sees a large region
coarsely, with a plan of its windows, and writes which to read, and with how many visual tokens. A
model that takes several pictures in one prompt answers from all of them at once, so what windows
are worth together stands in no table: the performer is asked about every set that is drawn, each
once, and lies in memory beside the one that learns. Answers are kept in ``output``/allocator.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import nan
from pathlib import Path

import torch

from napari_pathreason import models
from napari_pathreason.engine import LEARNED, Choice, Job, Performer, Scene, State, ask
from napari_pathreason.errors import QueryError, SlideError
from napari_pathreason.files import Journal
from napari_pathreason.geometry import Region
from napari_pathreason.tasks import SCORING, TASKS, WrittenWindows, parse_windows
from napari_pathreason.training.evaluation import relative
from napari_pathreason.training.recipe import AllocatorRecipe, Recipe
from napari_pathreason.training.run import alone, check_unchanged, data_identity
from napari_pathreason.training.samples import Pictures, Sample
from napari_pathreason.types import GenerationSettings, ModelInfo, Prompt, Request

from ._rewards import gated
from ._state import make_room, text_identity
from ._window_table import MAX_NEW_TOKENS, WindowQuestion, question_of
from ._windows import samples_of
from ._writing import join_writers, learn_to_write


@alone
def train_text_windows(recipe: Recipe) -> Path:
    """Train until ``allocator.text.steps``; continues from ``output``/allocator/text_windows.

    With other lambdas, another performer or other data it begins anew, and keeps the answers.

    Returns
    -------
    Path
        Folder of the performer, beside whose weights the allocator now lies.

    Raises
    ------
    QueryError
        If there is no performer to allocate for, the recipe has no ``lora``, no question is about
        a large region, or the data are replaced while they are read.
    """
    settings, out = recipe.allocator, Path(recipe.output) / "allocator/text_windows"
    accelerator, folder, lora = join_writers(recipe, out)
    place = Path(recipe.data.folder)
    data, pictures = data_identity(place), Pictures(place)
    parts = [samples_of(recipe, part) for part in ("train", "val")]
    for part in parts:
        pictures.hold(part)
    check_unchanged(data, data_identity(place))
    name = hashlib.sha256(f"{SCORING} {MAX_NEW_TOKENS}".encode())
    name.update(models.checkpoint_sha256(folder, folder.name, allocators=False).encode())
    performer = models.load_performer(folder, str(accelerator.device))
    rank = accelerator.process_index
    file = Path(recipe.output) / f"allocator/views-{name.hexdigest()[:12]}-{rank}.jsonl"
    answers = ViewAnswers(performer, pictures, file)
    train, val = (WindowTexts.of(samples, answers, settings) for samples in parts)
    with accelerator.main_process_first():
        of = text_identity(recipe, (Path(name.hexdigest()), Path(" ".join(data.values()))))
        make_room(out, of)
    called = {"run": of, **data}
    learn_to_write(recipe, accelerator, folder, lora, train, val, out, called, windows=True)
    return folder


@dataclass(frozen=True, slots=True)
class ScoredWindows:
    """A text beside what the performer scores from the windows that it leads to.

    ``score`` is NaN where they cannot be read; ``cost`` counts the allocator's own FLOPs, 1 is all
    windows at native size.
    """

    written: WrittenWindows
    score: float
    cost: float
    tokens: int


class ViewAnswers:
    """What a performer scores from sets of windows of large regions, each asked once.

    Parameters
    ----------
    performer : Performer
    pictures : Pictures
    file : Path
        JSONL that only grows; must belong to this performer and these rules of scoring, so let its
        name say which.
    """

    def __init__(self, performer: Performer, pictures: Pictures, file: Path) -> None:
        self.performer, self.pictures = performer, pictures
        file.parent.mkdir(parents=True, exist_ok=True)
        self._journal = Journal(file)
        self._known: dict[str, tuple[float, float, int]] = {}
        self.calls = 0
        """How often the performer was asked."""
        for line in self._journal.lines():
            with suppress(ValueError, TypeError, LookupError):  # a damaged disk; it is asked again
                record = json.loads(line)
                score = nan if record["score"] is None else float(record["score"])
                known = score, float(record["flops"]), int(record["tokens"])
                self._known[record["key"]] = known

    def find(self, question: WindowQuestion, choice: Choice) -> tuple[float, float, int]:
        """Score (NaN where they cannot be read), FLOPs and visual tokens of some windows."""
        places = [[*pick.region.box.corners, pick.tokens] for pick in choice.picks]
        about = question.sample.model_dump_json() + json.dumps(places)
        about += self.pictures.sha256(question.sample)
        key = hashlib.sha256(about.encode()).hexdigest()[:24]
        if key not in self._known:
            score, flops, tokens = self._known[key] = self._ask(question, choice)
            line = {
                "key": key,
                "score": None if score != score else score,
                "flops": flops,
                "tokens": tokens,
            }
            self._journal.append(json.dumps(line).encode())
        return self._known[key]

    def _ask(self, question: WindowQuestion, choice: Choice) -> tuple[float, float, int]:
        self.calls += 1
        sample, region = question.sample, question.scene.grid.region
        settings = GenerationSettings(max_new_tokens=MAX_NEW_TOKENS, zoom=False)
        job = Job(
            self.pictures.slide(sample),
            Request(region, sample.query, settings=settings),
            bounded=False,
            policy=_Fixed(choice),
        )
        try:
            result = ask(job, self.performer, models.FixedAllocator())
        except SlideError:  # damaged windows teach nothing
            return nan, 0.0, 0
        score = TASKS[sample.task].score(relative(result), question.target)
        return score, result.tokens.flops, result.tokens.spent


@dataclass(frozen=True, slots=True)
class _Fixed:
    """Reads windows that are chosen already."""

    choice: Choice
    name: str = LEARNED
    rounds: int = 1

    def choose(self, state: State) -> Choice:
        return Choice(()) if state.readings else self.choice


@dataclass(frozen=True, slots=True)
class WindowTexts:
    """Questions about large regions; satisfies `_writing.Questions`.

    Parameters
    ----------
    questions : sequence of WindowQuestion
        Without readings.
    natives : sequence of float
        FLOPs of each that a cost of 1 stands for.
    answers : ViewAnswers
    settings : AllocatorRecipe
    """

    questions: Sequence[WindowQuestion]
    natives: Sequence[float]
    answers: ViewAnswers
    settings: AllocatorRecipe

    @classmethod
    def of(
        cls, samples: Sequence[Sample], answers: ViewAnswers, settings: AllocatorRecipe
    ) -> WindowTexts:
        """Those of some samples that are about large regions.

        Raises
        ------
        QueryError
            If none is.
        """
        info, effort = answers.performer.info, settings.text.effort
        scenes: dict[tuple[str, Region], Scene] = {}  # of each region once, whatever is asked
        large = (question_of(one, answers.pictures, info, models.LEVELS, scenes) for one in samples)
        questions = [
            replace(one, state=replace(one.state, effort=effort))
            for one in large
            if one is not None and models.can_name(one.state)
        ]
        if not questions:
            raise QueryError(
                "no question is about a large region, which windows could be read of; give larger "
                "regions, or set allocator.form to text"
            )
        natives = [one.state.flops[-1] * len(one.scene.cover) for one in questions]
        if settings.cost == "flops":
            natives = [sum(natives) / len(natives)] * len(natives)
        return cls(questions, natives, answers, settings)

    @property
    def info(self) -> ModelInfo:
        """Of the performer."""
        return self.answers.performer.info

    @property
    def calls(self) -> int:
        """How often the performer was asked in this process."""
        return self.answers.calls

    def __len__(self) -> int:
        return len(self.questions)

    def prompt(self, place: int) -> Prompt:
        """What the allocator reads of a question."""
        state, overview = self.questions[place].state, self.settings.text.overview
        return models.windows_prompt(state, overview, self.info.dims.token_px)

    def score(self, place: int, text: str, own_flops: float) -> ScoredWindows:
        """What a text leads to: its windows, or those of the rules where it names none."""
        question = self.questions[place]
        written = parse_windows(text, len(question.scene.cover))
        choice = models.chosen(written, question.state)
        score, flops, tokens = self.answers.find(question, choice)
        return ScoredWindows(written, score, (flops + own_flops) / self.natives[place], tokens)

    def rewards(self, each: Sequence[ScoredWindows]) -> torch.Tensor:
        """That of the windows (`gated`), and ``format_weight`` for the form of the text.

        A text without a window gets neither, whatever the rules score.
        """
        scores = torch.tensor([a.score if a.written.windows else 0.0 for a in each])
        costs = torch.tensor([a.cost for a in each])
        rewards = gated(scores, costs, self.settings.lambdas[self.settings.text.effort])
        well_formed = torch.tensor([float(a.written.well_formed) for a in each])
        return rewards + self.settings.text.format_weight * well_formed

    def figures(self, each: Sequence[ScoredWindows]) -> dict[str, float]:
        """Means over texts: what users would get, windows of the rules where none was written."""
        read = [a for a in each if a.score == a.score]
        figures = {
            "score": [a.score for a in read],
            "cost": [a.cost for a in read],
            "tokens": [float(a.tokens) for a in read],
            "windows": [float(len(a.written.windows)) for a in each],
            "format": [float(a.written.well_formed) for a in each],
            "nothing": [float(not a.written.windows) for a in each],
        }
        return {
            name: round(sum(values) / len(values), 5) for name, values in figures.items() if values
        }
