"""Which settings a machine cannot follow, found before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backends.types import VLLMOptions
from backends.vllm.devices import Devices, device_problems

CPU, TWO_GPUS = Devices(0, 1), Devices(2, 1)


@pytest.mark.parametrize(
    ("options", "devices", "words"),
    [
        ({"tensor_parallel_size": 4}, TWO_GPUS, "TENSOR_PARALLEL_SIZE=4 need 4 devices, and this machine has 2 GPUs"),
        ({"tensor_parallel_size": 2, "pipeline_parallel_size": 2}, TWO_GPUS, "PIPELINE_PARALLEL_SIZE=2 need 4"),
        ({"tensor_parallel_size": 2}, CPU, "no GPU and 1 memory node"),
        ({"quantization": "fp8"}, CPU, "JARVIS_VLLM_QUANTIZATION=fp8 needs a GPU"),
        ({"cpu_kvcache_space": 2.0}, TWO_GPUS, "set JARVIS_VLLM_GPU_MEMORY_UTILIZATION"),
    ],
)
def test_what_the_machine_lacks_is_named_with_the_variable(
    options: dict[str, Any], devices: Devices, words: str
) -> None:
    (problem,) = device_problems(VLLMOptions(**options), devices)
    assert words in problem


@pytest.mark.parametrize(
    ("options", "devices"),
    [
        ({}, CPU),
        ({"tensor_parallel_size": 2}, TWO_GPUS),
        ({"tensor_parallel_size": 2}, Devices(0, 2)),
        ({"tensor_parallel_size": 8, "distributed_executor_backend": "ray"}, TWO_GPUS),
        ({"quantization": "awq"}, CPU),
        ({"quantization": "fp8"}, TWO_GPUS),
    ],
)
def test_what_the_machine_has_is_taken(options: dict[str, Any], devices: Devices) -> None:
    assert list(device_problems(VLLMOptions(**options), devices)) == []


def test_devices_are_counted_in_what_the_kernel_says(tmp_path: Path) -> None:
    assert Devices.found(tmp_path) == Devices(0, 1)
    for name in ("proc/driver/nvidia/gpus/0000:01:00.0", "proc/driver/nvidia/gpus/0000:02:00.0"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("node0", "node1"):
        (tmp_path / "sys/devices/system/node" / name).mkdir(parents=True)
    assert Devices.found(tmp_path) == Devices(2, 2)
    assert Devices.found(tmp_path).count == 2
