"""Scores on ``val`` while a model learns, and the weights that scored best there.

A falling loss of the text says little of the answers: what counts is what the model writes. So some
held-out questions are answered greedily, as users will have them answered, and the weights are kept
where the answers were best. Every process answers its share.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from napari_pathreason import models
from napari_pathreason.errors import ExportError
from napari_pathreason.exports import fingerprint
from napari_pathreason.files import check_sum, with_checksum, write_json
from napari_pathreason.tasks import TASKS
from napari_pathreason.training import grpo
from napari_pathreason.training.evaluation import (
    Prediction,
    balanced_accuracy,
    confusion,
    f1_of_classes,
    macro_f1,
    pick,
    recalls,
)
from napari_pathreason.training.run import copy_checkpoint
from napari_pathreason.training.samples import (
    Pictures,
    Sample,
    View,
    read_view,
    score_target,
    target_text,
)
from napari_pathreason.types import ModelDims

Measure = Literal["score", "balanced", "macro_f1"]
"""What the best weights are best at: the mean score of all questions, or of those with choices the
mean over topics of their balanced accuracy or macro F1."""
PANELS = {
    "score": "val: score of greedy answers",
    "balanced": "val: balanced accuracy",
    "macro_f1": "val: macro F1",
}
MOST_NEW_TOKENS = 192
AT_ONCE = 32
"""Questions that are answered together, at the most."""


class ValScorer:
    """Answers held-out questions greedily with the model that learns.

    Parameters
    ----------
    accelerator : Accelerator
    samples : sequence of Sample
        Of ``val``.
    number : int
        Questions of each kind, at the most, drawn by ``seed``: the same at every call.
    pictures : Pictures
    budget : int
        Visual tokens of each picture.
    tokenizer : transformers tokenizer
    dims : ModelDims
    normalisation : Normalisation
    seed : int
    tokens : int
        Visual tokens of the questions that are answered together, at the most.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        samples: Sequence[Sample],
        number: int,
        pictures: Pictures,
        budget: int,
        tokenizer: Any,
        dims: ModelDims,
        normalisation: models.Normalisation,
        seed: int,
        tokens: int,
    ) -> None:
        self._accelerator = accelerator
        chosen = pick(samples, number, seed)
        own = chosen[accelerator.process_index :: accelerator.num_processes]
        self._samples, self._pictures, self._budget = own, pictures, budget
        self._tokenizer, self._dims, self._normalisation = tokenizer, dims, normalisation
        self._together = min(AT_ONCE, max(1, tokens // budget))

    def __call__(self, model: Any) -> dict[str, float]:
        """Figures of all questions, the same in every process.

        Parameters
        ----------
        model : transformers model
            As it learns; it is in evaluation mode while it answers.

        Returns
        -------
        dict
            ``score``, and where questions have choices ``balanced``, ``macro_f1``, and
            ``recall_CLASS`` and ``f1_CLASS`` of each class.
        """
        learning = model.training
        model.eval()
        try:
            items = [item for part in self._parts() for item in self._answers(model, part)]
        finally:
            model.train(learning)
        return figures_of(gather_object(items))

    def _parts(self) -> Iterator[list[Sample]]:
        for start in range(0, len(self._samples), self._together):
            yield self._samples[start : start + self._together]

    @torch.no_grad()
    def _answers(self, model: Any, samples: list[Sample]) -> Iterator[Prediction]:
        tokenizer = self._tokenizer
        views = [read_view(s, self._pictures, self._budget, self._dims.token_px) for s in samples]
        prompts = grpo.build_prompts(
            [[pair] for pair in zip(samples, views, strict=True)],
            tokenizer,
            self._dims,
            self._normalisation,
        )
        never = tokenizer.convert_tokens_to_ids(list(models.VISION_TOKENS))
        actor = grpo.Actor(model, never).eval()
        with self._accelerator.autocast():
            rollout = grpo.roll_out(
                actor,
                prompts.to(self._accelerator.device),
                1,
                self._reply_length(samples, views),
                models.stop_ids(model, tokenizer),
                tokenizer.pad_token_id,
                None,
            )
        for sample, view, text in zip(samples, views, rollout.texts(tokenizer), strict=True):
            answer, target = (
                TASKS[sample.task].parse(text, sample.query),
                score_target(sample, view),
            )
            yield Prediction(
                index=0,
                condition="model",
                budget=self._budget,
                task=sample.task,
                topic=sample.kind,
                side=0,
                phrasing=sample.phrasing,
                score=TASKS[sample.task].score(answer, target),
                answer=answer.text,
                truth=target.text,
                choices=sample.choices if sample.task != "detection" else (),
            )

    def _reply_length(self, samples: list[Sample], views: list[View]) -> int:
        """Tokens of a reply: half as many again as the longest right one, and a few."""
        texts = [target_text(s, v) for s, v in zip(samples, views, strict=True)]
        ids = self._tokenizer(texts, add_special_tokens=False)["input_ids"]
        return min(MOST_NEW_TOKENS, 8 + 3 * max(map(len, ids)) // 2)


def figures_of(items: Sequence[Prediction]) -> dict[str, float]:
    """Figures of answers; see `ValScorer.__call__`."""
    topics: dict[str, list[Prediction]] = defaultdict(list)
    for item in items:
        topics[item.topic].append(item)
    figures = {"score": float(np.mean([item.score for item in items]))}
    by_topic: dict[str, list[float]] = {"balanced": [], "macro_f1": []}
    classes: dict[str, float] = {}
    for topic, own in sorted(topics.items()):
        found = confusion(own)
        if found is None:
            continue
        counts = found.counts[None].astype(float)
        by_topic["balanced"].append(float(balanced_accuracy(counts)[0]))
        by_topic["macro_f1"].append(float(macro_f1(counts)[0]))
        before = f"{topic}: " if len(topics) > 1 else ""
        for name, recall, f1 in zip(
            found.classes, recalls(counts)[0], f1_of_classes(counts)[0], strict=True
        ):
            classes[f"recall_{before}{name}"] = float(np.nan_to_num(recall))
            classes[f"f1_{before}{name}"] = float(np.nan_to_num(f1))
    figures |= {name: float(np.mean(each)) for name, each in by_topic.items() if each}
    return {name: round(value, 4) for name, value in (figures | classes).items()}


class BestWeights:
    """Which step scored best, and whether it pays to go on; written beside the weights.

    Weights that scored best stay on disk with their score, so that a resumed run goes on from what
    was reached, whatever state it resumes from.

    Parameters
    ----------
    file : Path
        JSON of all scores and of the best one.
    measure : str
        A `Measure`.
    patience : int, optional
        Validations without a better score after which to stop; None never stops.
    step : int
        Steps of the state that is resumed from: scores behind it are forgotten, but for the best.
    of : mapping, optional
        Identity of the run (`run.identity_of`). What another one has left is no score of this run,
        nor are the weights: one that was killed before its first state has no other witness.

    Raises
    ------
    ExportError
        If the file is not as it was written.
    """

    def __init__(
        self,
        file: Path,
        measure: Measure,
        patience: int | None,
        step: int = 0,
        of: Mapping[str, Any] | None = None,
    ) -> None:
        if measure not in get_args(Measure):
            raise ValueError(measure)
        self._file, self.measure, self._patience = file, measure, patience
        self._of = json.loads(json.dumps(dict(of or {})))
        self.step, self.value = 0, -np.inf
        self._scores: dict[int, float] = {}
        self._weights, self._is_new = "", False
        if file.is_file():
            content = self._read()
            if content["measure"] == measure and content.get("of") == self._of:
                self.step, self.value = content["step"], content["value"]
                self._scores = {int(s): v for s, v in content["scores"].items()}
                self._weights = content["weights"]
        self._scores = {s: v for s, v in self._scores.items() if s <= step}

    def _read(self) -> dict[str, Any]:
        try:
            return check_sum(json.loads(self._file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ExportError(
                f"{self._file.name} in the folder {self._file.parent.name} is damaged; choose "
                "another output, or delete that folder to begin anew"
            ) from error

    def _found(self) -> str:
        """What tells the weights that lie there by their content; empty where there are none."""
        folder = self._file.with_suffix("")
        return fingerprint(folder) if folder.is_dir() else ""

    def take(self, target: Path) -> None:
        """Copy the best weights, once all is learnt.

        Raises
        ------
        ExportError
            If they are not those that scored best.
        """
        if self._found() != self._weights:
            raise ExportError(
                f"the weights in the folder {self._file.stem} are not those that scored best; "
                "choose another output, or delete that run to begin anew"
            )
        copy_checkpoint(self._file.with_suffix(""), target)

    def is_better(self, step: int, value: float) -> bool:
        """Take a score down; True if it is the best so far: then the weights are to be kept."""
        self._scores[step] = value
        if value <= self.value:
            return False
        self.step, self.value, self._is_new = step, value, True
        return True

    def write(self) -> None:
        """Write the scores, once the weights of the best one are there; in the main process."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        if self._is_new:
            self._weights, self._is_new = self._found(), False
        values = {
            "measure": self.measure,
            "step": self.step,
            "value": self.value,
            "scores": {str(step): value for step, value in self._scores.items()},
            "of": self._of,
            "weights": self._weights,
        }
        write_json(self._file, with_checksum(values))

    @property
    def exhausted(self) -> bool:
        """Whether as many validations as ``patience`` have brought nothing better."""
        since = sum(step > self.step for step in self._scores)
        return self._patience is not None and since >= self._patience
