"""What vLLM is started with, and how much memory it is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from backends.base import ModelUnavailableError
from backends.types import EngineConfig, VLLMOptions
from backends.vllm.devices import Devices
from backends.vllm.engine_args import Plan, engine_arguments, plan_memory
from backends.vllm.folder import ModelFolder
from backends.vllm.source import Source
from tests.backends.vllm.folders import LLAMA, write_folder

CPU, GPU = Devices(0, 1), Devices(1, 1)
TOKEN_BYTES = 2 * 2 * 2 * 16 * 4
PLAN = Plan(4096, 10**6)


def config(**changes: Any) -> EngineConfig:
    base = EngineConfig(engine="vllm", model="m", alias="tiny", cache_dir="")
    own = {name: value for name, value in changes.items() if name in EngineConfig.__struct_fields__}
    options = VLLMOptions(**{name: value for name, value in changes.items() if name not in own})
    return msgspec.structs.replace(base, **{"vllm": options, **own})


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(ModelFolder(write_folder(tmp_path / "model")), "float32")


def arguments(source: Source, devices: Devices = CPU, plan: Plan = PLAN, **changes: Any) -> dict[str, Any]:
    return engine_arguments(config(**changes), source, plan, devices)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"tensor_parallel_size": 2}, "tensor_parallel_size"),
        ({"pipeline_parallel_size": 2}, "pipeline_parallel_size"),
        ({"gpu_memory_utilization": 0.5}, "gpu_memory_utilization"),
        ({"quantization": "awq"}, "quantization"),
        ({"max_num_seqs": 3}, "max_num_seqs"),
        ({"max_num_batched_tokens": 300}, "max_num_batched_tokens"),
        ({"enable_prefix_caching": False}, "enable_prefix_caching"),
        ({"enable_chunked_prefill": False}, "enable_chunked_prefill"),
        ({"distributed_executor_backend": "ray"}, "distributed_executor_backend"),
        ({"enforce_eager": False}, "enforce_eager"),
        ({"trust_remote_code": True}, "trust_remote_code"),
    ],
)
def test_every_option_is_passed_on(source: Source, changes: dict[str, Any], name: str) -> None:
    assert arguments(source, **changes)[name] == changes[name]


def test_sizes_and_number_format_come_from_plan_and_model(source: Source) -> None:
    given = arguments(source, plan=Plan(512, 2**20))
    assert (given["max_model_len"], given["kv_cache_memory_bytes"], given["dtype"]) == (512, 2**20, "float32")
    assert given["model"] == str(source.folder.path)


def test_what_is_not_set_is_left_to_vllm(source: Source) -> None:
    unset = {"max_num_seqs", "max_num_batched_tokens", "quantization", "max_model_len", "kv_cache_memory_bytes"}
    assert not unset & set(arguments(source, plan=Plan(None, None)))


def test_graphs_are_on_with_a_gpu_and_off_without(source: Source) -> None:
    assert arguments(source, CPU)["enforce_eager"] is True
    assert arguments(source, GPU)["enforce_eager"] is False


def test_processes_sleep_while_they_wait_where_there_is_no_gpu(source: Source) -> None:
    for executor in (None, "mp"):
        given = arguments(source, CPU, distributed_executor_backend=executor)
        assert given["distributed_executor_backend"] == "backends.vllm.waiting.Executor"
        assert given["worker_cls"] == "backends.vllm.waiting.Worker"
    assert arguments(source, GPU, distributed_executor_backend="mp")["distributed_executor_backend"] == "mp"
    assert not {"distributed_executor_backend", "worker_cls"} & set(arguments(source, GPU))


def test_requests_without_a_seed_differ_from_start_to_start(source: Source) -> None:
    assert len({arguments(source)["seed"] for _ in range(8)}) > 1


def test_the_window_is_what_was_trained_but_no_more_than_other_engines_take(tmp_path: Path, source: Source) -> None:
    assert plan_memory(config(), source, CPU, None).window == 4096
    assert plan_memory(config(context_window=128), source, CPU, None).window == 128
    long = Source(ModelFolder(write_folder(tmp_path / "long", {**LLAMA, "max_position_embeddings": 10**6})), "float32")
    assert plan_memory(config(), long, CPU, None).window == 8192


def test_the_cache_holds_some_windows_where_memory_allows(source: Source) -> None:
    assert plan_memory(config(), source, CPU, None).cache_bytes == 8 * 4096 * TOKEN_BYTES
    tight = 800_000_000 + 800 + 2 * 3 * 4096 * TOKEN_BYTES
    assert plan_memory(config(), source, CPU, tight).cache_bytes == 3 * 4096 * TOKEN_BYTES
    assert plan_memory(config(cpu_kvcache_space=0.5), source, CPU, None).cache_bytes == 2**29
    assert plan_memory(config(), source, GPU, None).cache_bytes is None


def test_a_model_that_does_not_fit_is_refused_before_it_is_loaded(source: Source) -> None:
    with pytest.raises(ModelUnavailableError, match=r"and only 500\.0 MB of memory are free: set JARVIS_VLLM_DTYPE"):
        plan_memory(config(), source, CPU, 500_000_000)
    with pytest.raises(ModelUnavailableError, match="a KV cache of 1.1 TB"):
        plan_memory(config(cpu_kvcache_space=1000), source, CPU, 10**11)


def test_adapters_get_the_room_that_the_largest_needs(tmp_path: Path, source: Source) -> None:
    for name, rank in (("a", 4), ("b", 20)):
        write_folder(tmp_path / name, adapter_config={"r": rank})
    given = arguments(source, adapters={n: str(tmp_path / n) for n in "ab"}, enable_lora=True)
    assert (given["enable_lora"], given["max_loras"], given["max_lora_rank"]) == (True, 2, 32)
    assert "enable_lora" not in arguments(source)
