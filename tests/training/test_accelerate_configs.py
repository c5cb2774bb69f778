"""What ships for several cards is what accelerate takes it for."""

from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import prepare_multi_gpu_env
from accelerate.utils.dataclasses import DistributedType

from napari_pathreason.training.grpo import Actor
from napari_pathreason.training.objectives import AnswerModel
from tests.support import byte_tokenizer, tiny_config

CONFIGS = Path(__file__).parents[2] / "recipes/accelerate"


@pytest.mark.parametrize(("name", "kind"), [("ddp", "MULTI_GPU"), ("fsdp", "FSDP")])
def test_accelerate_reads_the_config(name, kind):
    config = load_config_from_file(str(CONFIGS / f"{name}.yaml"))
    assert config.distributed_type == DistributedType(kind)
    assert (config.num_processes, config.mixed_precision) == (4, "bf16")


def test_the_launcher_shards_by_the_models_own_layers(monkeypatch):
    words = ["--config_file", str(CONFIGS / "fsdp.yaml"), "-m", "napari_pathreason.cli"]
    args, *_ = _validate_launch_command(launch_command_parser().parse_args(words))
    env = prepare_multi_gpu_env(args)
    wanted = {
        "ACCELERATE_USE_FSDP": "true",
        "ACCELERATE_MIXED_PRECISION": "bf16",
        "FSDP_VERSION": "2",
        "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    }
    assert {key: env[key] for key in wanted} == wanted
    assert "FSDP_TRANSFORMER_CLS_TO_WRAP" not in env  # then it asks the model


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen2_5_vl"])
@pytest.mark.parametrize("room", [AnswerModel, lambda model: Actor(model, ())])
def test_the_model_names_its_layers(family, room):
    from transformers import AutoModelForImageTextToText

    model = room(AutoModelForImageTextToText.from_config(tiny_config(family, byte_tokenizer())))
    inside = {type(module).__name__ for module in model.modules()}
    assert set(model._no_split_modules) <= inside
    assert sum("Vision" in name for name in model._no_split_modules) == 1
    assert sum("Decoder" in name for name in model._no_split_modules) == 1
