"""What a picture costs by each vision encoder: python benchmarks/encoders.py [--quick].

Milliseconds of the CPU for one picture at 16, 64 and 256 visual tokens, how many times that is
faster than the exact one, and the relative error of the embeddings (norm of the difference over the
norm). Medians, the encoders taking turns. Of an encoder that this machine cannot have the reason
stands in place of its rows.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from napari_pathreason.cli import quiet_libraries
from napari_pathreason.models import load_performer, patchify
from napari_pathreason.types import Encoder


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--quick", action="store_true", help="small and once, to see that it runs")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    quiet_libraries()
    visuals: dict[str, Any] = {}
    for name in get_args(Encoder):
        began = time.process_time()
        performer = load_performer(options.model, "cpu", encoder=name)
        print(f"{name}: loaded in {time.process_time() - began:.1f} CPU s")
        if performer.info.encoder == name:
            visuals[name] = performer.model.model.visual
        else:
            print(*performer.info.notes)
    dims, normalisation = performer.info.dims, performer.normalisation
    print("| tokens | encoder | CPU ms | times faster | relative error |")
    print("|---:|---|---:|---:|---:|")
    rows = []
    for side in (4,) if options.quick else (4, 8, 16):
        shape = (side * dims.token_px, side * dims.token_px, 3)
        pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        values, grid = patchify(pixels, dims.patch, dims.merge, normalisation)
        found, spent = _encode(visuals, values, torch.tensor([grid]), options)
        for name, milliseconds in spent.items():
            error = (found[name] - found["exact"]).norm() / found["exact"].norm()
            rows.append(
                (side * side, name, milliseconds, spent["exact"] / milliseconds, float(error))
            )
            print("| {} | {} | {:.1f} | {:.2f} | {:.4f} |".format(*rows[-1]))
    if options.json is not None:
        options.json.write_text(json.dumps(rows) + "\n")


@torch.inference_mode()
def _encode(
    visuals: dict[str, Any], values: torch.Tensor, grid: torch.Tensor, options: argparse.Namespace
) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """Embeddings and milliseconds of each encoder."""
    found = {
        name: visual(values, grid_thw=grid).pooler_output.float()
        for name, visual in visuals.items()
    }
    spent: dict[str, list[float]] = {name: [] for name in visuals}
    for _ in range(1 if options.quick else options.repeats):
        for name, visual in visuals.items():
            began = time.process_time()
            visual(values, grid_thw=grid)
            spent[name].append(1e3 * (time.process_time() - began))
    return found, {name: statistics.median(times) for name, times in spent.items()}


if __name__ == "__main__":
    main()
