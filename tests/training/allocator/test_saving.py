"""An allocator that takes another one's place: killed anywhere, it is one of both or none."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file

from napari_pathreason.models import (
    AllocatorNet,
    PolicyAllocator,
    TextForm,
    WindowAllocator,
    load_allocator,
    save_allocator,
    save_text_allocator,
    save_windows,
)
from napari_pathreason.training.allocator import WindowNet


def _head(folder, number):
    net = AllocatorNet()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(number)
    save_allocator(folder, PolicyAllocator(net, number))


def _text(folder, number):
    form, config = TextForm(number, 4, "balanced"), LoraConfig(r=number, target_modules=["q"])
    save_text_allocator(folder, form, config, {"q.lora_A.weight": torch.full((1,), float(number))})


def _text_windows(folder, number):
    form, config = TextForm(number, 4, "balanced"), LoraConfig(r=number, target_modules=["q"])
    matrices = {"q.lora_A.weight": torch.full((1,), float(number))}
    save_text_allocator(folder, form, config, matrices, windows=True)


def _windows(folder, number):
    weights = {n: np.full_like(one, number) for n, one in WindowNet(0).as_arrays().items()}
    lambdas = dict.fromkeys(("low", "balanced", "high"), float(number))
    save_windows(folder, WindowAllocator(weights, lambdas))


def _of_one_picture(folder):
    """Numbers of settings and of weights, as loading would take them; None where there is none."""
    file = folder / "allocator.json"
    settings = json.loads(file.read_text()) if file.is_file() else {}
    if settings.get("form") in ("text", "text_windows"):
        config = json.loads((folder / "allocator" / "adapter_config.json").read_text())
        matrices = load_file(folder / "allocator" / "adapter_model.safetensors")
        return settings["overview"], config["r"], int(next(iter(matrices.values()))[0])
    if (folder / "allocator.safetensors").is_file():
        allocator = load_allocator(folder)
        weight = int(next(allocator.net.parameters()).flatten()[0])
        return allocator.largest, weight, weight
    return None


def _of_windows(folder):
    file = folder / "windows_allocator.safetensors"  # what loading looks for
    if not file.is_file():
        return None
    settings = json.loads((folder / "windows_allocator.json").read_text())
    weights = next(iter(load_file(file).values()))
    return int(settings["lambdas"]["low"]), int(weights.flatten()[0])


class _Died(BaseException):
    """No `finally` of a killed process would run; here some do."""


def _die_at(monkeypatch, at):
    """Let the change number ``at`` of a name on the disk not come about, nor any after it."""
    done = 0

    def dying(change):
        def changed(*args, **more):
            nonlocal done
            done += 1
            if done >= at:
                raise _Died
            return change(*args, **more)

        return changed

    for owner, name in ((Path, "replace"), (Path, "unlink"), (os, "replace"), (os, "rename")):
        monkeypatch.setattr(owner, name, dying(getattr(owner, name)))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (_head, _head),
        (_text, _text),
        (_head, _text),
        (_text, _head),
        (_windows, _windows),
        (_windows, _text_windows),
    ],
)
def test_killed_at_any_change_it_is_one_of_both_or_none(tmp_path, first, second):
    for at in range(1, 20):
        folder = tmp_path / str(at)
        folder.mkdir()
        first(folder, 1)
        with pytest.MonkeyPatch.context() as patch:
            _die_at(patch, at)
            try:
                second(folder, 2)
                ended = True
            except _Died:
                ended = False
        for found in (_of_one_picture(folder), _of_windows(folder)):
            assert found is None or len(set(found)) == 1, (at, found)
        second(folder, 2)  # as the run does that is begun again
        assert {_of_one_picture(folder), _of_windows(folder)} - {None} == (
            {(2, 2)} if second is _windows else {(2, 2, 2)}
        )
        if ended:
            break
    assert ended
    assert at > 2
