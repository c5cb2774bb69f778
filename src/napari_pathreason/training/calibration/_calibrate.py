"""What is fitted beside a model's weights: confidence, the largest picture, the OOD detector."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from tqdm import tqdm

from napari_pathreason import models
from napari_pathreason.engine import Performer, calibration_values, generate_together
from napari_pathreason.errors import ModelError, QueryError
from napari_pathreason.files import writing_alone
from napari_pathreason.models.server import ServerPerformer, keep_calibration, load_server
from napari_pathreason.training.evaluation import pick, refuse_on_test, write_whole
from napari_pathreason.training.recipe import Recipe
from napari_pathreason.training.run import describe_checkpoint
from napari_pathreason.training.samples import Pictures, Sample, read_samples
from napari_pathreason.types import (
    Completion,
    Encoder,
    GenerationSettings,
    ModelInfo,
    Prompt,
)

from ._confidence import ask_known, calibration_errors, fit_confidence
from ._detector import (
    ImageFeatures,
    fit_detector,
    learn_domains,
    own,
    sample_features,
    slide_features,
)
from ._largest import largest, readable_by_size
from ._regions import ask_regions, fit_regions, region_errors

DECODED = 3000
"""Decoded pictures in memory: fields share their tiles."""
REGIONS = 100
"""Regions of each slide that the model was not trained on."""


@dataclass(frozen=True, slots=True)
class CalibrationPlan:
    """What to fit.

    ``val`` and ``train`` are JSONL; ``per_topic`` questions of each kind are asked, ``pictures``
    of each kind read (a quarter as many of ``val``). ``unlike`` are slides of what the model
    was not trained on, read only to say how many of their regions are called unlike the training
    images. ``recipe`` is the one that the model was trained by; see `describe_checkpoint`;
    it names what the images of each source show, too. ``regions`` are JSONL with questions about
    large regions, of which ``regions_per_topic`` of each kind are asked; without ``val`` that alone
    is fitted, on top of what was fitted before. Of a model on a server only the confidence is
    fitted, and ``val`` and ``regions`` are all that it takes.
    """

    model: str
    val: Path | None = None
    train: Path | None = None
    regions: tuple[Path, ...] = ()
    unlike: tuple[Path, ...] = ()
    per_topic: int = 50
    regions_per_topic: int = 24
    pictures: int = 1200
    seed: int = 0
    device: str = "auto"
    encoder: Encoder = "exact"
    recipe: Recipe | None = None


def calibrate(plan: CalibrationPlan) -> str:
    """Fit, write `CALIBRATION` and the file of `save_detector`, and say what came of it.

    A model that does not say what it was trained on does so from now on. Each file is there whole
    or not at all; the same seed and device write the same.

    Raises
    ------
    PathreasonError
        If the model is no folder and on no server, data is missing, or is of ``test``, or another
        process calibrates the model; names the remedy.
    """
    if plan.val is None and not plan.regions:
        raise QueryError("nothing to calibrate on; give --data, --regions or both")
    for file, option in ((plan.val, "--data"), *((one, "--regions") for one in plan.regions)):
        if file is not None:
            refuse_on_test(file, f"calibrate {option}")
    on_server = models.is_address(plan.model)
    if not on_server and plan.model != "embedded" and not Path(plan.model).is_dir():
        raise ModelError(f"{plan.model} is no folder; give embedded or the folder of the weights")
    lines = []
    # two at once would leave what is fitted by one beside what is fitted by the other
    with nullcontext() if on_server else writing_alone(models.find_checkpoint(plan.model)[0]):
        if plan.val is not None:
            own = _calibrate_server if on_server else _calibrate_pictures
            lines += own(plan, plan.val)
        if plan.regions:
            lines.append(_calibrate_regions(plan, on_server=on_server))
    return "\n".join(lines)


def _calibrate_pictures(plan: CalibrationPlan, val_file: Path) -> list[str]:
    """All that is fitted of a model on this machine, on pictures that are read as one."""
    if plan.train is None:
        raise QueryError("the detector is fitted on training pictures; give --train")
    refuse_on_test(plan.train, "calibrate --train")
    folder, name = models.find_checkpoint(plan.model)
    train, val = own(read_samples(plan.train)), read_samples(val_file)
    describe_checkpoint(folder, name, train, plan.recipe)
    (folder / models.CALIBRATION).unlink(missing_ok=True)  # a damaged one would keep the model shut
    performer = models.load_performer(plan.model, plan.device, detector=False, encoder=plan.encoder)

    questions = pick(val, plan.per_topic, plan.seed)
    values, lines = _confidence(plan, val_file, performer, questions)
    write_whole(folder / models.CALIBRATION, json.dumps(values, indent=2) + "\n")

    held = readable_by_size(performer, own(val), Pictures(val_file.parent), plan.seed)
    if performer.info.metadata is not None:
        metadata_json = models.read_metadata(folder, name)
        metadata = replace(performer.info.metadata, max_visual_tokens=largest(held))
        models.write_metadata(
            folder, metadata_json["name"], metadata, metadata_json.get("box_space")
        )
    lines += [
        f"{h.tokens:,} visual tokens: {h.readable} of {h.questions} replies read" for h in held
    ]

    if not isinstance(performer, models.VLMPerformer):
        family = models.FAMILIES[performer.info.family].name
        lines.append(f"no picture is held against the training images: not of the family {family}")
        return [*performer.info.notes, *lines]
    hook = models.FeatureHook(performer.model.model.visual)
    try:
        names = plan.recipe.metadata.domains if plan.recipe is not None else {}
        files = (plan.train, val_file)
        detector, groups = _fit_detector(plan, files, performer, hook, train, own(val), names)
        for file in plan.unlike:
            groups[file.name] = [*slide_features(performer, hook, file, REGIONS, plan.seed)]
    finally:
        hook.close()
    if detector is None:
        lines.append(
            f"no picture has {models.LEAST_TOKENS} visual tokens: nothing tells unlike ones"
        )
        return [*performer.info.notes, *lines]
    models.save_detector(folder, detector)
    return [*performer.info.notes, *lines, *_ood_lines(detector, groups)]


def _confidence(
    plan: CalibrationPlan, val_file: Path, performer: Performer, questions: Sequence[Sample]
) -> tuple[dict[str, Any], list[str]]:
    """What is to be kept of the fit, and what came of it in words."""
    answers = ask_known(performer, questions, Pictures(val_file.parent), plan.seed)
    metadata = performer.info.metadata
    errors = calibration_errors(answers, metadata)
    about = {"questions": len(questions), "seed": plan.seed, "ece": errors}
    lines = [
        f"{form}: {error['answers']:,} answers, ECE {error['before']:.3f} -> {error['after']:.3f}"
        for form, error in errors.items()
    ]
    return {**calibration_values(fit_confidence(answers, metadata)), **about}, lines


def _calibrate_regions(plan: CalibrationPlan, *, on_server: bool) -> str:
    """Fit the confidence of what windows are put together to, beside what is fitted already."""
    if on_server:
        with closing(load_server(plan.model)) as served:
            return _fit_regions(plan, served, on_server=True)
    local = models.load_performer(plan.model, plan.device, detector=False, encoder=plan.encoder)
    return _fit_regions(plan, local, on_server=False)


def _fit_regions(plan: CalibrationPlan, performer: Performer, *, on_server: bool) -> str:
    info = performer.info
    if info.calibration is None:
        raise QueryError("the model is not calibrated yet, or has no confidence; give --data too")
    windows = replace(info.calibration, regions=())
    calibrated = _Calibrated(performer, replace(info, calibration=windows))
    known = [
        one
        for file in plan.regions
        for one in ask_regions(
            calibrated,
            pick(read_samples(file), plan.regions_per_topic, plan.seed),
            Pictures(file.parent),
        )
    ]
    if not known:
        raise QueryError(
            "--regions asks about no large region that is read by windows; give larger regions"
        )
    found = replace(windows, regions=fit_regions(known, info.metadata))
    values = calibration_values(found)
    if on_server:
        keep_calibration(plan.model, values)
    else:
        folder, name = models.find_checkpoint(plan.model)
        values = models.read_json(folder / models.CALIBRATION, name) | values
        values |= {"region_answers": len(known)}
        write_whole(folder / models.CALIBRATION, json.dumps(values, indent=2) + "\n")
    return region_errors(known, info.metadata)


class _Calibrated:
    """A performer whose answers have another calibration."""

    def __init__(self, performer: Performer, info: ModelInfo) -> None:
        self._performer = performer
        self.info = info

    def generate(
        self, prompt: Prompt, settings: GenerationSettings, cancel: Event
    ) -> Iterator[str | Completion]:
        """Satisfies `Performer`."""
        return self._performer.generate(prompt, settings, cancel)

    def generate_batch(
        self, prompts: Sequence[Prompt], settings: GenerationSettings, cancel: Event
    ) -> list[Completion]:
        """Satisfies `BatchPerformer`."""
        return generate_together(self._performer, prompts, settings, cancel)


def _calibrate_server(plan: CalibrationPlan, val_file: Path) -> list[str]:
    """Fit the confidence of a model on a server; it is remembered on this machine."""
    with closing(load_server(plan.model, calibrated=False)) as performer:
        return _fit_served(plan, val_file, performer)


def _fit_served(plan: CalibrationPlan, val_file: Path, performer: ServerPerformer) -> list[str]:
    info = performer.info
    if not performer.capabilities.logprobs:
        raise ModelError(
            "this server gives no probabilities, so there is no confidence to fit; serve the model "
            "with vLLM or llama.cpp, which do"
        )
    questions = pick(read_samples(val_file), plan.per_topic, plan.seed)
    wants_boxes = [one for one in questions if one.task == "detection"]
    if info.box_space is None:
        questions = [one for one in questions if one.task != "detection"]
    values, lines = _confidence(plan, val_file, performer, questions)
    keep_calibration(plan.model, values)
    if wants_boxes and info.box_space is None:
        lines.append("boxes were not asked for: nobody knows how it writes them; give --boxes")
    return [*info.notes, *lines]


def _fit_detector(
    plan: CalibrationPlan,
    files: tuple[Path, Path],
    performer: models.VLMPerformer,
    hook: models.FeatureHook,
    train: Sequence[Sample],
    val: Sequence[Sample],
    names: Mapping[str, str],
) -> tuple[models.OODDetector | None, dict[str, list[ImageFeatures]]]:
    """The fit, and by domain the pictures of ``val`` that it was held against.

    None where the pictures of a domain are too small to tell anything.
    """
    domains, wording = learn_domains(train, names)

    def images(samples: Sequence[Sample], file: Path, most: int) -> list[ImageFeatures]:
        pictures = Pictures(file.parent, DECODED)
        each = sample_features(performer, hook, samples, pictures, domains, names, most, plan.seed)
        return list(tqdm(each, unit="picture", mininterval=5))

    of_train, of_val = files
    fitting = images(train, of_train, plan.pictures)
    other = images(val, of_val, -(-plan.pictures // 4))
    if {image.domain for image in fitting} < set(range(len(domains))) or not other:
        return None, {}
    detector = fit_detector(fitting, other, domains, wording, hook.signature())
    groups = {
        f"{domain} of val": [i for i in other if i.domain == place]
        for place, domain in enumerate(domains)
    }
    return detector, groups


def _ood_lines(
    detector: models.OODDetector, groups: Mapping[str, Sequence[ImageFeatures]]
) -> list[str]:
    """Share called out of distribution of each group of pictures, asked about each domain."""
    lines = ["called unlike the training images where asked about " + ", ".join(detector.domains)]
    for name, images in groups.items():
        if images:
            scores = np.array([detector.scores(one.features, one.tokens) for one in images])
            shares = ", ".join(f"{share:.3f}" for share in (scores > 1).mean(0))
            lines.append(f"  {name}, {len(images)} pictures: {shares}")
    return lines
