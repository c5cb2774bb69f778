"""Fitting beside a model's weights how sure its answers are and what it was trained on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from napari_pathreason.errors import ModelError
from napari_pathreason.models import (
    CALIBRATION,
    FeatureHook,
    OODDetector,
    VLMPerformer,
    find_checkpoint,
    load_performer,
    read_metadata,
    save_detector,
    write_metadata,
)
from napari_pathreason.training.evaluation import expected_calibration_error, pick, write_whole
from napari_pathreason.training.recipe import Recipe
from napari_pathreason.training.run import describe_checkpoint
from napari_pathreason.training.samples import Pictures, Sample, read_samples
from napari_pathreason.types import Calibration, Scale

from ._detector_fit import Seen, fit_detector
from ._features import learn_domains, own, see, see_slide
from ._known_answers import FORMS, Outcomes, ask_known
from ._largest import largest, readable_by_size
from ._scale_fit import answer_confidence, apply, fit_scale, held_out, least_confidence

KEPT = 3000
"""Decoded pictures in memory: fields share their tiles."""
REGIONS = 100
"""Regions of each strange slide."""


@dataclass(frozen=True, slots=True)
class CalibrationPlan:
    """What to fit.

    ``val`` and ``train`` are JSONL; ``per_topic`` questions of each kind are asked, ``pictures``
    of each kind looked at (a quarter as many of ``val``). ``unlike`` are slides of what the model
    was not trained on, looked at only to say how many of their regions are called strange.
    ``recipe`` is the one that the model was trained by; see `describe_checkpoint`. It names what
    the images of each source show, too.
    """

    model: str
    val: Path
    train: Path
    unlike: tuple[Path, ...] = ()
    per_topic: int = 50
    pictures: int = 1200
    seed: int = 0
    device: str = "auto"
    recipe: Recipe | None = None


def calibrate(plan: CalibrationPlan) -> str:
    """Fit, write `CALIBRATION` and the file of `save_detector`, and say what came of it.

    A model that does not say what it was trained on does so from now on. Each file is there whole
    or not at all; the same seed and device write the same.

    Raises
    ------
    PathreasonError
        If the model is no folder, or data is missing; names the remedy.
    """
    if plan.model != "embedded" and not Path(plan.model).is_dir():
        raise ModelError(f"{plan.model} is no folder; give embedded or the folder of the weights")
    folder, name = find_checkpoint(plan.model)
    train, val = own(read_samples(plan.train)), read_samples(plan.val)
    describe_checkpoint(folder, name, train, plan.recipe)
    (folder / CALIBRATION).unlink(missing_ok=True)  # a damaged one would keep the model shut
    performer = load_performer(plan.model, plan.device, known=False)

    asked = pick(val, plan.per_topic, plan.seed)
    outcomes = ask_known(performer, asked, Pictures(plan.val.parent), plan.seed)
    fitted, figures = _fit_confidence(outcomes), _errors(outcomes)
    told = {**asdict(fitted), "questions": len(asked), "seed": plan.seed, "ece": figures}
    write_whole(folder / CALIBRATION, json.dumps(told, indent=2) + "\n")
    lines = [
        f"{form}: {found['answers']:,} answers, ECE {found['before']:.3f} -> {found['after']:.3f}"
        for form, found in figures.items()
    ]

    held = readable_by_size(performer, own(val), Pictures(plan.val.parent), plan.seed)
    if performer.info.metadata is not None:
        metadata_json = read_metadata(folder, name)
        metadata = replace(performer.info.metadata, max_visual_tokens=largest(held))
        write_metadata(folder, metadata_json["name"], metadata, metadata_json.get("box_space"))
    lines += [f"{h.tokens:,} visual tokens: {h.readable} of {h.asked} replies read" for h in held]

    features = FeatureHook(performer.model.model.visual)
    try:
        names = plan.recipe.metadata.domains if plan.recipe is not None else {}
        detector, seen = _fit_detector(plan, performer, features, train, val, names)
        groups = {f"{kind} of val": seen_of for kind, seen_of in seen.items()} | {
            file.name: list(see_slide(performer, features, file, REGIONS, plan.seed))
            for file in plan.unlike
        }
    finally:
        features.close()
    save_detector(folder, detector)
    return "\n".join([*lines, *_ood_lines(detector, groups)])


def _fit_confidence(outcomes: Outcomes) -> Calibration:
    scales = [fit_scale([*chain.from_iterable(outcomes[form])]) for form in FORMS]
    confidences = [
        answer_confidence(scale, answer)
        for scale, form in zip(scales, FORMS, strict=True)
        for answer in outcomes[form]
    ]
    choice, open_, box = scales
    return Calibration(choice, open_, box, least_confidence(confidences))


def _errors(outcomes: Outcomes) -> dict[str, dict[str, Any]]:
    """ECE of each form and of all answers in words, before and after; see `held_out`."""
    found, words = {}, []
    for form in FORMS:
        own = [*chain.from_iterable(outcomes[form])]
        if len(own) < 2:
            continue
        right = np.array([one.right for one in own], float)
        before, after = apply(Scale(), own), held_out(own)
        found[form] = _error(before, after, right)
        if form != "box":
            words.append((before, after, right))
    if len(words) > 1:
        found["choice and open"] = _error(*(np.concatenate(p) for p in zip(*words, strict=True)))
    return found


def _error(before: Any, after: Any, right: Any) -> dict[str, Any]:
    return {
        "answers": len(right),
        "before": round(expected_calibration_error(before, right), 4),
        "after": round(expected_calibration_error(after, right), 4),
    }


def _fit_detector(
    plan: CalibrationPlan,
    performer: VLMPerformer,
    features: FeatureHook,
    train: Sequence[Sample],
    val: Sequence[Sample],
    names: Mapping[str, str],
) -> tuple[OODDetector, dict[str, list[Seen]]]:
    """The fit, and the pictures of ``val`` that it was held against."""
    domains, wording = learn_domains(train, names)
    sets = ((train, plan.train, plan.pictures), (own(val), plan.val, -(-plan.pictures // 4)))
    known, other = (
        list(_shown(see(performer, features, samples, pictures, domains, names, most, plan.seed)))
        for samples, pictures, most in ((s, Pictures(f.parent, KEPT), n) for s, f, n in sets)
    )
    detector = fit_detector(known, other, domains, wording, features.signature())
    return detector, {k: [s for s in other if s.kind == i] for i, k in enumerate(domains)}


def _shown(seen: Iterator[Seen]) -> Iterator[Seen]:
    yield from tqdm(seen, unit="picture", mininterval=5)


def _ood_lines(detector: OODDetector, groups: Mapping[str, Sequence[Seen]]) -> list[str]:
    """Share called strange of each group of pictures, asked about each kind."""
    lines = ["called strange where asked about " + ", ".join(detector.domains)]
    for name, seen in groups.items():
        if seen:
            scores = np.array([detector.scores(one.features, one.tokens) for one in seen])
            shares = ", ".join(f"{share:.3f}" for share in (scores > 1).mean(0))
            lines.append(f"  {name}, {len(seen)} pictures: {shares}")
    return lines
