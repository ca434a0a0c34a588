"""Why a start failed: the cause among all that vLLM's processes said, in one sentence."""

from __future__ import annotations

import pytest

from backends.base import EngineCrashedError
from backends.vllm.overheard import last_reason, start_failure

SAID = [
    "(EngineCore pid=1) INFO 11-26 01:40:37 [core.py:133] Initializing a V1 LLM engine",
    "(EngineCore pid=1) ERROR [core.py:1154]     raise ValueError(",
    "(EngineCore pid=1) ERROR [core.py:1154] ValueError: To serve at least one request, 2 GiB KV cache is needed",
    "(EngineCore pid=1)     raise RuntimeError(f'Engine core')",
    "RuntimeError: Engine core initialization failed. See root cause above.",
]


def test_the_cause_is_the_last_error_that_says_more_than_that_there_was_one() -> None:
    assert last_reason(SAID) == "ValueError: To serve at least one request, 2 GiB KV cache is needed"
    assert last_reason(SAID[:2]) is None


def test_a_failed_start_tells_the_cause_and_not_where_to_look_for_it() -> None:
    failure = start_failure(RuntimeError("Engine core initialization failed. See above"), last_reason(SAID))
    assert failure.message == (
        "vLLM cannot serve this model: ValueError: To serve at least one request, 2 GiB KV cache is needed"
    )


def test_an_error_of_the_configuration_speaks_for_itself() -> None:
    failure = start_failure(ValueError("Model architectures ['X'] are not supported\n for now"), "OSError: something")
    assert failure.message == "vLLM cannot serve this model: Model architectures ['X'] are not supported for now"


@pytest.mark.parametrize(
    ("words", "overheard"),
    [
        ("Engine core initialization failed.", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"),
        ("Engine core initialization failed.", "RuntimeError: DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_a_start_that_runs_out_of_memory_says_what_to_set(words: str, overheard: str | None) -> None:
    message = start_failure(RuntimeError(words), overheard).message
    assert message.startswith("vLLM ran out of memory while it loaded the model")
    assert "JARVIS_VLLM_CPU_KVCACHE_SPACE" in message


@pytest.mark.parametrize(("cores", "overheard"), [("{'EngineCore': -9}", "ValueError: of before"), ("{}", None)])
def test_a_core_that_is_killed_while_it_loads_is_a_crash_that_is_tried_again(cores: str, overheard: str | None) -> None:
    words = f"Engine core initialization failed. See root cause above. Failed core proc(s): {cores}"
    failure = start_failure(RuntimeError(words), overheard)
    assert isinstance(failure, EngineCrashedError) and failure.retry_after_s
    assert "was killed while it loaded the model" in failure.message


def test_a_core_that_has_said_why_it_ended_is_not_tried_again() -> None:
    words = "Engine core initialization failed. See root cause above. Failed core proc(s): {}"
    assert "2 GiB KV cache" in start_failure(RuntimeError(words), last_reason(SAID)).message
