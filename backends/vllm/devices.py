"""What the machine has for vLLM to compute on, and which settings it therefore cannot follow. Loads no engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from backends.types import VLLMOptions

ON_CPUS = ("awq", "gptq", "compressed-tensors", "int8_per_channel_weight_only")
"""Kinds of quantised weights that vLLM computes with where there is no GPU."""


@dataclass(frozen=True)
class Devices:
    """How many GPUs there are, and how many memory nodes, each of which can be a device where there is no GPU."""

    gpus: int
    memory_nodes: int

    @classmethod
    def found(cls, root: Path = Path("/")) -> Devices:
        """Those of this machine, from what its kernel says; `root` is where the file system begins."""
        gpus = len(list(root.glob("proc/driver/nvidia/gpus/*")))
        nodes = len(list(root.glob("sys/devices/system/node/node[0-9]*")))
        return cls(gpus, max(nodes, 1))

    @property
    def count(self) -> int:
        """Processes of one model that can compute side by side."""
        return self.gpus or self.memory_nodes

    def __str__(self) -> str:
        return f"{self.gpus} GPUs" if self.gpus else f"no GPU and {self.memory_nodes} memory node(s)"


def device_problems(options: VLLMOptions, devices: Devices) -> Iterator[str]:
    """One line for every setting that this machine cannot follow, with the variable and what to do."""
    tensor, pipeline = options.tensor_parallel_size, options.pipeline_parallel_size
    single_machine = options.distributed_executor_backend != "ray"
    if single_machine and tensor * pipeline > devices.count:
        wanted = [
            f"{name}={value}"
            for name, value in (
                ("JARVIS_VLLM_TENSOR_PARALLEL_SIZE", tensor),
                ("JARVIS_VLLM_PIPELINE_PARALLEL_SIZE", pipeline),
            )
            if value > 1
        ]
        yield (
            f"{' and '.join(wanted)} need {tensor * pipeline} devices, and this machine has {devices}:"
            f" set them so that their product is at most {devices.count}"
        )
    if options.quantization and not devices.gpus and options.quantization not in ON_CPUS:
        yield (
            f"JARVIS_VLLM_QUANTIZATION={options.quantization} needs a GPU, and this machine has none:"
            f" unset it, or take one of {', '.join(ON_CPUS)}"
        )
    if devices.gpus and options.cpu_kvcache_space is not None:
        yield "JARVIS_VLLM_CPU_KVCACHE_SPACE is for machines without a GPU: set JARVIS_VLLM_GPU_MEMORY_UTILIZATION"
