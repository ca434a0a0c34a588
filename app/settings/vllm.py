"""What can be set of vLLM: devices, memory, number formats, batches, caches, and the interpreter that it lives in."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import model_validator

from app.settings.llama import LlamaSettings
from app.settings.sections import PROJECT_ROOT, AnyCase, ModelSettings, Section, UserPath, variable
from backends.types import ExecutorBackend, VLLMDtype, VLLMOptions, VLLMQuantization

VENV = PROJECT_ROOT / ".venv-vllm"
"""Where `run.sh` puts vLLM: in an environment of its own, because its pins would not go with the server's."""


class VLLMSettings(Section):
    """How vLLM uses the machine (JARVIS_INFERENCE_ENGINE=vllm)."""

    tensor_parallel_size: int = variable(
        "JARVIS_VLLM_TENSOR_PARALLEL_SIZE", 1, "Devices that share every layer of the model.", ge=1, le=1024
    )
    pipeline_parallel_size: int = variable(
        "JARVIS_VLLM_PIPELINE_PARALLEL_SIZE", 1, "Groups of devices that take the layers in turn.", ge=1, le=1024
    )
    gpu_memory_utilization: float = variable(
        "JARVIS_VLLM_GPU_MEMORY_UTILIZATION",
        0.9,
        "Share of each GPU's memory that weights and KV cache may fill.",
        ge=0.05,
        le=1.0,
    )
    max_model_len: int | None = variable(
        "JARVIS_VLLM_MAX_MODEL_LEN",
        None,
        "Tokens that one request may use with vLLM; the same as JARVIS_MODEL_CONTEXT_WINDOW under vLLM's name.",
        unset="JARVIS_MODEL_CONTEXT_WINDOW",
        ge=64,
        le=16_777_216,
    )
    quantization: Annotated[VLLMQuantization | None, AnyCase] = variable(
        "JARVIS_VLLM_QUANTIZATION",
        None,
        "How the weights of a Hugging Face folder are quantised, or to be quantised.",
        unset="what the folder says of itself",
    )
    dtype: Annotated[VLLMDtype, AnyCase] = variable(
        "JARVIS_VLLM_DTYPE",
        "auto",
        "Number format of weights and computation; auto is what the model has and, for a GGUF file, float32 where that"
        " is small and bfloat16 elsewhere.",
    )
    max_num_seqs: int | None = variable(
        "JARVIS_VLLM_MAX_NUM_SEQS", None, "Sequences that generate at once.", unset="vLLM's choice", ge=1, le=4096
    )
    max_num_batched_tokens: int | None = variable(
        "JARVIS_VLLM_MAX_NUM_BATCHED_TOKENS",
        None,
        "Most tokens in one step.",
        unset="vLLM's choice",
        ge=1,
        le=1_048_576,
    )
    enable_prefix_caching: bool = variable(
        "JARVIS_VLLM_ENABLE_PREFIX_CACHING", True, "Remember whole blocks of past prompts and answers."
    )
    enable_chunked_prefill: bool = variable(
        "JARVIS_VLLM_ENABLE_CHUNKED_PREFILL", True, "Spread long prompts over steps, beside running answers."
    )
    enforce_eager: bool | None = variable(
        "JARVIS_VLLM_ENFORCE_EAGER",
        None,
        "Do without CUDA graphs and compilation: the start is faster, a GPU slower.",
        unset="0 with a GPU, 1 without",
    )
    distributed_executor_backend: Annotated[ExecutorBackend | None, AnyCase] = variable(
        "JARVIS_VLLM_DISTRIBUTED_EXECUTOR_BACKEND",
        None,
        "What runs the processes of several devices.",
        unset="vLLM's choice",
    )
    cpu_kvcache_space: float | None = variable(
        "JARVIS_VLLM_CPU_KVCACHE_SPACE",
        None,
        "GiB of memory for the KV cache where there is no GPU.",
        unset="four context windows, in what the weights leave free",
        ge=0.01,
        le=65_536,
    )
    enable_lora: bool | None = variable(
        "JARVIS_VLLM_ENABLE_LORA",
        None,
        "Make room for LoRA adapters.",
        unset="1 with JARVIS_LORA_ADAPTERS, else 0",
    )
    trust_remote_code: bool = variable(
        "JARVIS_TRUST_REMOTE_CODE", False, "Run Python code that a model's folder brings along, with all your rights."
    )
    python: UserPath = variable(
        "JARVIS_VLLM_PYTHON",
        lambda: str(VENV / "bin" / "python"),
        "The Python interpreter that has vLLM installed.",
        unset="the one in .venv-vllm, which ./run.sh makes",
    )

    def options(self, *, adapters: bool) -> VLLMOptions:
        """What the engine is told; `adapters` says whether the model has any."""
        enable_lora = adapters if self.enable_lora is None else self.enable_lora
        mine = self.model_dump(exclude={"max_model_len", "python", "enable_lora"})
        return VLLMOptions(**mine, enable_lora=enable_lora)

    @model_validator(mode="after")
    def _batches_are_consistent(self) -> Self:
        tokens, sequences = self.max_num_batched_tokens, self.max_num_seqs
        if tokens and sequences and tokens < sequences:
            raise ValueError(
                f"JARVIS_VLLM_MAX_NUM_BATCHED_TOKENS='{tokens}' is below JARVIS_VLLM_MAX_NUM_SEQS='{sequences}':"
                " a step has a token of every sequence"
            )
        if tokens and self.max_model_len and tokens < self.max_model_len and not self.enable_chunked_prefill:
            raise ValueError(
                f"JARVIS_VLLM_MAX_NUM_BATCHED_TOKENS='{tokens}' is below"
                f" JARVIS_VLLM_MAX_MODEL_LEN='{self.max_model_len}': set JARVIS_VLLM_ENABLE_CHUNKED_PREFILL=1"
            )
        return self


QUANTISED_FOLDERS = ("awq", "gptq", "awq_marlin", "gptq_marlin", "compressed-tensors", "mxfp4", "modelopt", "quark")
"""Kinds of quantisation that a folder must bring along; the others are made of full weights while they load."""


def vllm_problem(model: ModelSettings, llama: LlamaSettings, vllm: VLLMSettings) -> str | None:
    """What in the settings of one section contradicts another when vLLM serves; `None` if nothing does."""
    window, length = model.context_window, vllm.max_model_len
    if llama.quantization:
        return (
            f"JARVIS_QUANTIZATION='{llama.quantization}' makes smaller copies for llama.cpp, and"
            " JARVIS_INFERENCE_ENGINE='vllm' computes with full weights: unset it"
        )
    if window and length and window != length:
        return (
            f"JARVIS_VLLM_MAX_MODEL_LEN='{length}' and JARVIS_MODEL_CONTEXT_WINDOW='{window}' differ: unset one of them"
        )
    if vllm.quantization in QUANTISED_FOLDERS and model.name.endswith(".gguf"):
        return (
            f"JARVIS_VLLM_QUANTIZATION='{vllm.quantization}' needs a folder that is quantised like that, and"
            f" JARVIS_MODEL_NAME='{model.name[:200]}' is a GGUF file: unset it, or name such a folder"
        )
    if model.adapters and vllm.enable_lora is False:
        return "JARVIS_LORA_ADAPTERS needs JARVIS_VLLM_ENABLE_LORA=1"
    return None
