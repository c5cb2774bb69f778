"""A state is taken up only by the run that wrote it, and one run at a time has the folder."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from PIL import Image, ImageOps

from napari_pathreason.errors import ExportError, QueryError
from napari_pathreason.files import locked
from napari_pathreason.training import read_samples, write_samples
from napari_pathreason.training.recipe import LoraRecipe
from napari_pathreason.training.run import (
    STEP,
    alone,
    check_files,
    check_same_run,
    identity_of,
    join,
    last_checkpoint,
    save_state,
    start_log,
)


@pytest.fixture
def of(recipe):
    """Identity of the stage sft with changes."""

    def identify(changed=recipe, **settings):
        sft = changed.sft.model_copy(update=settings)
        start = changed.model.start
        return identity_of(changed, "sft", sft, start, 1)

    return identify


@pytest.fixture
def state(recipe, of):
    """A state of that stage."""
    out = Path(recipe.output)
    save_state(Accelerator(), out, 3, of())
    return last_checkpoint(out)


def refused(state, of, out="run"):
    with pytest.raises(QueryError) as told:
        check_same_run(state, of, Path(out))
    assert "\n" not in str(told.value)
    return str(told.value)


def test_the_same_run_goes_on(state, of):
    check_same_run(None, of(), Path("run"))
    check_same_run(state, of(), Path("run"))
    check_same_run(state, of(stop_after=2, checkpoint_every=1, validate_every=9), Path("run"))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"lr": 0.5}, "sft.lr 0.0006 (now 0.5)"),
        ({"steps": 9}, "sft.steps 6 (now 9)"),
        ({"budgets": {4: 2.0}}, 'sft.budgets {"4": 1.0, "16": 1.0} (now {"4": 2.0})'),
    ],
)
def test_other_settings_are_named(state, of, settings, told):
    assert told in refused(state, of(**settings))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seed": 7}, "seed 0 (now 7)"),
        ({"lora": LoraRecipe(rank=2)}, "lora.rank null (now 2)"),
    ],
)
def test_what_a_recipe_says_beside_its_stage_counts_too(state, of, recipe, changes, told):
    assert told in refused(state, of(recipe.model_copy(update=changes)))


def test_another_start_and_other_data_are_named(state, of, recipe, converted, tmp_path):
    start = tmp_path / "other"
    start.mkdir()
    for file in Path(recipe.model.start).iterdir():
        (start / file.name).write_bytes(file.read_bytes())
    moved = recipe.model_copy(
        update={"model": recipe.model.model_copy(update={"start": str(start)})}
    )
    check_same_run(state, of(moved), Path("run"))  # a copy is the same
    (start / "allocator.json").write_text("{}")  # nor does the run hang on what lies beside
    check_same_run(state, of(moved), Path("run"))
    (start / "tokenizer_config.json").write_text("{}")
    assert "another model to start from" in refused(state, of(moved))
    data = tmp_path / "data"
    data.mkdir()
    for split in ("train", "val"):
        write_samples(data / f"{split}.jsonl", read_samples(converted / f"{split}.jsonl")[:-1])
    other = recipe.data.model_copy(update={"folder": str(data)})
    said = refused(state, of(recipe.model_copy(update={"data": other})))
    assert "other data" in said
    assert str(tmp_path) not in said


def test_another_picture_under_the_same_name_is_named(of, recipe, own_data):
    data = own_data
    moved = recipe.model_copy(update={"data": recipe.data.model_copy(update={"folder": str(data)})})
    save_state(Accelerator(), Path(recipe.output), 3, of(moved))
    state = last_checkpoint(Path(recipe.output))
    check_same_run(state, of(recipe), Path("run"))  # a copy is the same
    sample = next(s for s in read_samples(data / "train.jsonl") if isinstance(s.image, str))
    picture, about = data / sample.image, (data / sample.image).stat()
    pixels = picture.read_bytes()
    with Image.open(picture) as image:
        ImageOps.invert(image.convert("RGB")).save(picture)
    assert "other pictures" in refused(state, of(moved))
    picture.write_bytes(pixels[:-1] + bytes([pixels[-1] ^ 1]))  # of the same size and time
    os.utime(picture, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert "other pictures" in refused(state, of(moved))
    picture.write_bytes(pixels)
    check_same_run(state, of(moved), Path("run"))


def test_how_a_start_writes_boxes_counts_where_it_is_rewarded(recipe, tmp_path):
    start = tmp_path / "start"
    shutil.copytree(recipe.model.start, start)

    def identify(stage):
        return identity_of(recipe, stage, getattr(recipe, stage), str(start), 1)

    before = {stage: identify(stage) for stage in ("sft", "grpo")}
    told = json.loads((start / "pathreason.json").read_text())
    (start / "pathreason.json").write_text(json.dumps(told | {"box_space": "resized"}))
    assert identify("sft") == before["sft"]
    assert identify("grpo") != before["grpo"]


def test_code_beside_the_recipe_counts(state, recipe, tmp_path):
    out, places = Path(recipe.output), [tmp_path]
    (tmp_path / "mine.py").write_text("one = 1\n")
    grpo = recipe.grpo.model_copy(update={"rewards": ("mine:one",)})
    own = recipe.model_copy(update={"grpo": grpo}).beside_folders(places)

    def identify():
        return identity_of(own, "grpo", grpo, recipe.model.start, 1)

    save_state(Accelerator(), out, 3, identify())
    check_same_run(last_checkpoint(out), identify(), out)
    (tmp_path / "mine.py").write_text("one = 2\n")
    assert "other code of mine:one" in refused(last_checkpoint(out), identify())


def test_a_run_names_the_data_that_it_read(of, recipe):
    """Also where they were changed before ``run.json`` was written."""
    before, train = of(), Path(recipe.data.folder) / "train.jsonl"
    samples = train.read_bytes()
    try:
        write_samples(train, read_samples(train)[1:])
        assert of()["data"] != before["data"]
        out = Path(recipe.output)
        out.mkdir(parents=True)
        start_log(None, out, recipe, 0, of=before)
        assert json.loads((out / "run.json").read_text())["data_sha256"] == before["data"]
    finally:
        train.write_bytes(samples)


def test_states_of_a_newer_version_and_damaged_ones_are_one_line(state, of):
    values = json.loads((state / STEP).read_text())
    newer = {**values, "format": "napari-pathreason training state 99"}
    (state / STEP).write_text(json.dumps(newer))
    with pytest.raises(ExportError, match="install a newer napari-pathreason"):
        check_same_run(state, of(), Path("run"))
    (state / STEP).write_text('{"step": 3}')
    with pytest.raises(ExportError, match="the state in the folder run is damaged; choose"):
        check_same_run(state, of(), Path("run"))


def test_one_run_at_a_time(recipe):
    @alone
    def inner(recipe):
        return Path(recipe.output)

    @alone
    def outer(recipe):
        with pytest.raises(ExportError, match="another process is at work in the folder run"):
            locked(Path(recipe.output)).__enter__()
        return inner(recipe)  # of the same run

    assert outer(recipe) == Path(recipe.output)
    with locked(Path(recipe.output)), pytest.raises(ExportError, match="another process"):
        outer(recipe)
    assert inner(recipe) == Path(recipe.output)  # let go of


def test_processes_that_accelerate_does_not_see_are_refused(recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(QueryError, match="2 processes were launched, but accelerate sees 1"):
        join(recipe, tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert join(recipe, tmp_path).num_processes == 1


def test_stages_of_one_run_may_differ_in_precision(recipe, tmp_path):
    assert join(recipe, tmp_path, "bf16").mixed_precision == "bf16"
    assert join(recipe, tmp_path, "no").mixed_precision == "no"


@pytest.mark.slow
def test_torchrun_without_its_setting_is_refused_and_writes_nothing(recipe, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.model_dump_json())
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    words = ["-m", "napari_pathreason.cli", "train", "sft", "--recipe", str(path)]
    told = subprocess.run(
        [sys.executable, *launch, *words],
        env={k: v for k, v in os.environ.items() if k != "ACCELERATE_USE_CPU"}
        | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert told.returncode != 0
    assert "set ACCELERATE_USE_CPU=true" in told.stderr
    assert {path.name for path in Path(recipe.output).iterdir()} <= {".lock"}


@pytest.fixture
def two_states(of, tmp_path):
    """A state of step 1, and one of step 2 of the same run, of the same kinds of files."""
    folders = []
    for step in (1, 2):
        torch.manual_seed(step)
        model = torch.nn.Linear(2, 2)
        accelerator = Accelerator()
        prepared = accelerator.prepare(model, torch.optim.AdamW(model.parameters(), 0.1 * step))
        assert prepared
        out = tmp_path / f"step-{step}"
        save_state(accelerator, out, step, of())
        folders.append(last_checkpoint(out))
    return folders


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.bin"])
@pytest.mark.parametrize("what", ["missing", "cut", "of another state"])
def test_a_state_is_taken_up_only_with_the_files_that_were_written_with_it(two_states, name, what):
    state, other = two_states
    assert check_files(state, Path("run")) == 1
    file = state / name
    if what == "missing":
        file.unlink()
    elif what == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    else:
        file.write_bytes((other / name).read_bytes())
    with pytest.raises(ExportError, match=f"{name} of the state in the folder run is missing or"):
        check_files(state, Path("run"))


def test_the_step_of_a_state_is_that_of_its_files(two_states, of):
    state, other = two_states
    (state / "random_states_0.pkl").unlink()  # nothing that is drawn follows from it
    assert check_files(state, Path("run")) == 1
    values = json.loads((state / STEP).read_text())
    (state / STEP).write_text(json.dumps({**values, "step": 2}))
    with pytest.raises(ExportError, match="the state in the folder run is damaged"):
        check_same_run(state, of(), Path("run"))
    (state / STEP).write_bytes((other / STEP).read_bytes())
    check_same_run(state, of(), Path("run"))
    with pytest.raises(ExportError, match="of the state in the folder run is missing or"):
        check_files(state, Path("run"))


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        (
            {"WORLD_SIZE": "2"},
            "accelerate sees 1, as nobody says RANK, MASTER_ADDR, MASTER_PORT; launch",
        ),
        (
            {"WORLD_SIZE": "2", "RANK": "1"},
            "accelerate sees 1, as nobody says MASTER_ADDR, MASTER_PORT; launch",
        ),
        ({"WORLD_SIZE": "x"}, "WORLD_SIZE is x, which is no number of processes"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE is 0, which is no number of processes"),
    ],
)
def test_half_a_launch_is_refused(recipe, monkeypatch, environment, told):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    began = []
    with pytest.raises(QueryError, match=told):
        alone(lambda recipe: began.append(recipe))(recipe)
    assert began == []


def test_a_rank_alone_does_not_let_two_runs_into_a_folder(recipe, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    began = []
    with (
        locked(Path(recipe.output)),
        pytest.raises(ExportError, match="another process is at work in the folder run"),
    ):
        alone(lambda recipe: began.append(recipe))(recipe)
    assert began == []


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("data", "the output data is the folder of the data"),
        ("run/model", "the output model is the folder of the model to start from"),
        ("run", "model.start is the folder that the run would write its own model to"),
    ],
)
def test_a_run_writes_over_nothing_that_it_reads(recipe, tmp_path, output, told):
    for name in ("data", "run/model"):
        (tmp_path / name).mkdir(parents=True)
    changed = recipe.model_copy(
        update={
            "output": str(tmp_path / output),
            "data": recipe.data.model_copy(update={"folder": str(tmp_path / "data")}),
            "model": recipe.model.model_copy(update={"start": str(tmp_path / "run/model")}),
        }
    )
    began = []
    if output == "run/model":  # whichever stage begins with it
        changed = changed.model_copy(
            update={
                "model": recipe.model.model_copy(update={"start": None}),
                "grpo": recipe.grpo.model_copy(update={"start": changed.model.start}),
            }
        )
    with pytest.raises(QueryError, match=told):
        alone(lambda recipe: began.append(recipe))(changed)
    assert began == []
