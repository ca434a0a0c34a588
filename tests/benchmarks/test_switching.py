"""The comparison of the engines, as far as no engine is needed for it."""

from __future__ import annotations

from benchmarks.switching import table


def test_the_table_has_medians_and_gaps() -> None:
    samples = {"llama_cpp": [{"a": 1.0}, {"a": 3.0}, {"a": 2.0, "b": 0.5}], "vllm": [{"a": 1234.5}]}
    assert table(samples).splitlines() == [
        "| median of the turns | llama_cpp | vllm |",
        "|---|---:|---:|",
        "| a | 2 | 1,230 |",
        "| b | 0.5 | – |",
    ]
