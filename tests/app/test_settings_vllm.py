"""The settings of vLLM: what they take, what contradicts what, and what a worker's environment gets."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from app.settings import Settings
from app.settings.vllm_machine import CALM, tuning
from tests.app.test_settings import load, problems

VLLM = {"JARVIS_INFERENCE_ENGINE": "vllm"}


@pytest.mark.parametrize(
    ("variable", "value", "field", "expected"),
    [
        ("JARVIS_VLLM_TENSOR_PARALLEL_SIZE", "2", "tensor_parallel_size", 2),
        ("JARVIS_VLLM_PIPELINE_PARALLEL_SIZE", "3", "pipeline_parallel_size", 3),
        ("JARVIS_VLLM_GPU_MEMORY_UTILIZATION", "0.5", "gpu_memory_utilization", 0.5),
        ("JARVIS_VLLM_QUANTIZATION", "FP8", "quantization", "fp8"),
        ("JARVIS_VLLM_DTYPE", "bfloat16", "dtype", "bfloat16"),
        ("JARVIS_VLLM_MAX_NUM_SEQS", "4", "max_num_seqs", 4),
        ("JARVIS_VLLM_MAX_NUM_BATCHED_TOKENS", "512", "max_num_batched_tokens", 512),
        ("JARVIS_VLLM_ENABLE_PREFIX_CACHING", "0", "enable_prefix_caching", False),
        ("JARVIS_VLLM_ENABLE_CHUNKED_PREFILL", "false", "enable_chunked_prefill", False),
        ("JARVIS_VLLM_ENFORCE_EAGER", "1", "enforce_eager", True),
        ("JARVIS_VLLM_DISTRIBUTED_EXECUTOR_BACKEND", "ray", "distributed_executor_backend", "ray"),
        ("JARVIS_VLLM_CPU_KVCACHE_SPACE", "1.5", "cpu_kvcache_space", 1.5),
        ("JARVIS_VLLM_ENABLE_LORA", "1", "enable_lora", True),
        ("JARVIS_TRUST_REMOTE_CODE", "true", "trust_remote_code", True),
    ],
)
def test_the_engine_is_told_every_variable(variable: str, value: str, field: str, expected: Any) -> None:
    assert getattr(load(**VLLM, **{variable: value}).engine_config().vllm, field) == expected
    assert getattr(load(**VLLM).engine_config().vllm, field) != expected


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        (
            {"JARVIS_QUANTIZATION": "q4_0"},
            "JARVIS_QUANTIZATION='q4_0' makes smaller copies for llama.cpp, and JARVIS_INFERENCE_ENGINE='vllm' computes"
            " with full weights: unset it",
        ),
        (
            {"JARVIS_VLLM_MAX_MODEL_LEN": "512", "JARVIS_MODEL_CONTEXT_WINDOW": "1024"},
            "JARVIS_VLLM_MAX_MODEL_LEN='512' and JARVIS_MODEL_CONTEXT_WINDOW='1024' differ: unset one of them",
        ),
        (
            {"JARVIS_VLLM_QUANTIZATION": "gptq", "JARVIS_MODEL_NAME": "/m/a.gguf"},
            "JARVIS_VLLM_QUANTIZATION='gptq' needs a folder that is quantised like that, and"
            " JARVIS_MODEL_NAME='/m/a.gguf' is a GGUF file: unset it, or name such a folder",
        ),
        (
            {"JARVIS_LORA_ADAPTERS": "a=/a", "JARVIS_VLLM_ENABLE_LORA": "0"},
            "JARVIS_LORA_ADAPTERS needs JARVIS_VLLM_ENABLE_LORA=1",
        ),
        (
            {"JARVIS_VLLM_MAX_NUM_SEQS": "64", "JARVIS_VLLM_MAX_NUM_BATCHED_TOKENS": "32"},
            "JARVIS_VLLM_MAX_NUM_BATCHED_TOKENS='32' is below JARVIS_VLLM_MAX_NUM_SEQS='64': a step has a token of"
            " every sequence",
        ),
        (
            {
                "JARVIS_VLLM_MAX_NUM_BATCHED_TOKENS": "512",
                "JARVIS_VLLM_MAX_MODEL_LEN": "1024",
                "JARVIS_VLLM_ENABLE_CHUNKED_PREFILL": "0",
            },
            "JARVIS_VLLM_MAX_NUM_BATCHED_TOKENS='512' is below JARVIS_VLLM_MAX_MODEL_LEN='1024': set"
            " JARVIS_VLLM_ENABLE_CHUNKED_PREFILL=1",
        ),
        (
            {"JARVIS_VLLM_GPU_MEMORY_UTILIZATION": "1.5"},
            "JARVIS_VLLM_GPU_MEMORY_UTILIZATION='1.5' (environment) must be a number, from 0.05 to 1",
        ),
    ],
)
def test_what_contradicts_each_other_is_refused(environ: dict[str, str], problem: str) -> None:
    assert problems(**VLLM, **environ) == [problem]


def test_one_variable_switches_the_engine_whatever_is_set_for_the_other() -> None:
    both = {"JARVIS_VLLM_MAX_MODEL_LEN": "512", "JARVIS_QUANTIZATION": "q4_0", "JARVIS_MODEL_CONTEXT_WINDOW": "1024"}
    assert load(**both).engine_config().context_window == 1024


@pytest.mark.parametrize("name", ["JARVIS_VLLM_MAX_MODEL_LEN", "JARVIS_MODEL_CONTEXT_WINDOW"])
def test_either_name_sets_the_context_window(name: str) -> None:
    assert load(**VLLM, **{name: "512"}).engine_config().context_window == 512


def test_adapters_make_room_for_themselves() -> None:
    assert load(**VLLM, JARVIS_LORA_ADAPTERS="a=/a").engine_config().vllm.enable_lora
    assert not load(**VLLM).engine_config().vllm.enable_lora


def test_each_engine_runs_in_its_own_interpreter() -> None:
    assert load().interpreter("llama_cpp") == sys.executable
    assert load().interpreter("vllm").endswith("/.venv-vllm/bin/python")
    assert load(JARVIS_VLLM_PYTHON="/opt/python").interpreter("vllm") == "/opt/python"


def test_a_vllm_worker_gets_what_the_user_has_not_set() -> None:
    mine = dict.fromkeys((*CALM, *tuning(), "VLLM_LOGGING_LEVEL"), "mine")
    assert load(**VLLM).worker_environment(mine, "vllm") == mine
    assert load(**VLLM).worker_environment({}, "vllm").items() >= CALM.items()
    assert load(**VLLM).worker_environment({}) == {}


def test_only_a_model_of_the_hub_gets_the_token_for_it(tmp_path: Path) -> None:
    def token(model: str) -> str | None:
        return load(**VLLM, JARVIS_MODEL_NAME=model).worker_environment({"HF_TOKEN": "t"}, "vllm").get("HF_TOKEN")

    assert token("some/model") == "t"
    assert token(str(tmp_path)) is None
    assert token("/m/a.gguf") is None


def test_arm_gets_bf16_maths_where_the_processor_has_it_and_tcmalloc_where_it_is_installed(tmp_path: Path) -> None:
    assert tuning(tmp_path, "aarch64") == {"VLLM_CPU_OMP_THREADS_BIND": "auto"}
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("processor\t: 0\nFeatures\t: fp asimd i8mm bf16\n")
    library = tmp_path / "usr/lib/aarch64-linux-gnu/libtcmalloc_minimal.so.4"
    library.parent.mkdir(parents=True)
    library.touch()
    expected = {"ONEDNN_DEFAULT_FPMATH_MODE": "BF16", "LD_PRELOAD": str(library), "VLLM_CPU_OMP_THREADS_BIND": "auto"}
    assert tuning(tmp_path, "aarch64") == expected
    assert "ONEDNN_DEFAULT_FPMATH_MODE" not in tuning(tmp_path, "x86_64")


def test_a_machine_with_a_gpu_is_not_tuned(tmp_path: Path) -> None:
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/version").touch()
    assert tuning(tmp_path) == {}


def test_what_is_tuned_is_what_a_worker_gets() -> None:
    settings = Settings.load(VLLM, None)
    assert settings.worker_environment({}, "vllm").items() >= settings.vllm_tuning({}).items()
    assert settings.vllm_tuning({"VLLM_CPU_OMP_THREADS_BIND": "0-1"}).get("VLLM_CPU_OMP_THREADS_BIND") is None
