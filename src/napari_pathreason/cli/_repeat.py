"""``pathreason ask --from``: the questions of a run again, on the same slide and weights."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from napari_pathreason import QueryError

if TYPE_CHECKING:
    from napari_pathreason.exports import Manifest
    from napari_pathreason.slides import Slide

SAID = (
    "region",
    "regions",
    "task",
    "question",
    "choices",
    "budget",
    "temperature",
    "seed",
    "zoom",
    "mpp",
)
"""Options whose values stand in the manifest."""


def take_over(args: argparse.Namespace, parser: argparse.ArgumentParser) -> Manifest:
    """Read the manifest and set slide, model, device and mpp from it where they were not given.

    Raises
    ------
    QueryError
        If an option says again what the manifest says, or slide or model cannot be found from it.
    ExportError
        If the manifest cannot be read.
    """
    from napari_pathreason.exports import read_manifest

    twice = [f"--{name}" for name in SAID if getattr(args, name) != parser.get_default(name)]
    if twice:
        raise QueryError(f"--from says what was asked; leave out {', '.join(twice)}")
    manifest = read_manifest(args.from_)
    if args.slide is None:
        args.slide = _beside(args.from_, manifest.slide.name)
    if args.model == parser.get_default("model"):
        if not manifest.model.model_id:
            raise QueryError(
                f"the run used the model {manifest.model.name} from a folder; give it with --model"
            )
        args.model = manifest.model.model_id
    if args.device == parser.get_default("device"):
        args.device = manifest.model.device
    if manifest.slide.mpp_source == "user":
        args.mpp = manifest.slide.mpp
    return manifest


def check_same_slide(manifest: Manifest, slide: Slide) -> None:
    """Refuse another slide.

    Raises
    ------
    QueryError
        If what is in the file differs from what the run saw.
    """
    from napari_pathreason.exports import fingerprint

    if slide.path is None or fingerprint(slide.path) != manifest.fingerprint:
        raise QueryError(
            f"{slide.info.name} is not the slide of the run ({manifest.slide.name}, by its "
            "content); give that one, or leave out --from"
        )


def check_same_model(manifest: Manifest, model_id: str) -> None:
    """Refuse other weights, and warn of other versions.

    Raises
    ------
    QueryError
        If the weights differ from those of the run.
    """
    from napari_pathreason.exports import versions_here, weights_sha256
    from napari_pathreason.models import find_checkpoint

    if weights_sha256(find_checkpoint(model_id)[0]) != manifest.model.weights_sha256:
        raise QueryError(
            f"the weights are not those of the run ({manifest.model.name}); give their folder "
            "with --model, or leave out --from"
        )
    here = versions_here()
    other = [
        f"{name} {then} (here {here.get(name, 'none')})"
        for name, then in manifest.versions.items()
        if here.get(name) != then
    ]
    if other:
        print(
            f"pathreason: the run used other versions, answers may differ: {', '.join(other)}",
            file=sys.stderr,
        )


def _beside(manifest: Path, name: str) -> str:
    """The slide of that name, beside the manifest or here."""
    for folder in (manifest.parent, Path()):
        if (folder / Path(name).name).exists():
            return str(folder / Path(name).name)
    raise QueryError(f"the slide {name} is neither beside the manifest nor here; give it as SLIDE")
