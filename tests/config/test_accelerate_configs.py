"""Accelerate accepts the shipped launch configs, each key of them, and starts what they say."""

from pathlib import Path

import pytest
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin, patch_environment
from accelerate.utils.launch import prepare_multi_gpu_env

CONFIGS = Path(__file__).parents[2] / "configs/accelerate"
NAMES = sorted(path.stem for path in CONFIGS.glob("*.yaml"))


def parse_launch(name):
    """Return what `accelerate launch --config_file ...` works with."""
    arguments = ["--config_file", str(CONFIGS / f"{name}.yaml"), "-m", "realm", "run", "x.yaml"]
    parsed, _, _ = _validate_launch_command(launch_command_parser().parse_args(arguments))
    return parsed


def test_the_six_launches_are_there():
    assert NAMES == [
        "cpu_two_processes",
        "deepspeed_zero2",
        "deepspeed_zero3",
        "fsdp2",
        "multi_gpu",
        "one_gpu",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_accelerate_knows_every_key(name):
    config = load_config_from_file(str(CONFIGS / f"{name}.yaml"))
    assert isinstance(config, ClusterConfig) and config.num_machines == 1
    # Accelerate checks the outer keys only, and passes the inner ones on as options of the launch.
    known = vars(launch_command_parser().parse_args(["x.py"]))
    assert set(config.fsdp_config) | set(config.deepspeed_config) <= set(known)


@pytest.mark.parametrize(
    ("name", "kind", "num_processes"),
    [
        ("one_gpu", DistributedType.NO, 1),
        ("multi_gpu", DistributedType.MULTI_GPU, 8),
        ("cpu_two_processes", DistributedType.MULTI_GPU, 2),
        ("fsdp2", DistributedType.FSDP, 8),
        ("deepspeed_zero2", DistributedType.DEEPSPEED, 8),
        ("deepspeed_zero3", DistributedType.DEEPSPEED, 8),
    ],
)
def test_a_launch_starts_the_processes_that_its_name_says(name, kind, num_processes):
    config = load_config_from_file(str(CONFIGS / f"{name}.yaml"))
    parsed = parse_launch(name)
    assert (config.distributed_type, parsed.num_processes) == (kind, num_processes)
    assert parsed.use_cpu == (name == "cpu_two_processes")
    assert parsed.mixed_precision == ("no" if parsed.use_cpu else "bf16")
    assert (parsed.training_script, parsed.training_script_args) == ("realm", ["run", "x.yaml"])


def test_fsdp2_shares_out_weights_and_saves_them_whole():
    with patch_environment(**prepare_multi_gpu_env(parse_launch("fsdp2"))):
        plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2 and plugin.reshard_after_forward is True
    assert plugin.state_dict_type.name == "FULL_STATE_DICT"
    assert plugin.auto_wrap_policy.__name__ == "transformer_auto_wrap_policy"
    # Else a process would hold each layer's activations twice.
    assert not plugin.activation_checkpointing


@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeed_shares_out_by_the_stage_of_its_name(stage):
    parsed = parse_launch(f"deepspeed_zero{stage}")
    assert parsed.use_deepspeed and int(parsed.zero_stage) == stage
    # With stage 3 no process has a whole model to save, unless the weights are gathered.
    assert bool(parsed.zero3_save_16bit_model) == (stage == 3)
