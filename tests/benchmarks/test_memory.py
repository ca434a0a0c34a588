"""A worker's own memory, from the texts of /proc and of llama.cpp's log."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.memory import Mapping, UnknownError, buffers_kb, mappings, own_kb

SMAPS = """\
55d264a68000-55d265505000 rw-p 00000000 00:00 0                          [heap]
Size:              10868 kB
KernelPageSize:        4 kB
Rss:               10000 kB
7fe9839d1000-7fe9ebc9a000 rw-p 00000000 00:00 0 
Size:            1700000 kB
Rss:             1600000 kB
7fe9ebc9a000-7fea0be2a000 r--s 00000000 fe:00 1234 /models/with space.gguf
Size:             525888 kB
Rss:              500000 kB
7fea19700000-7fea19a00000 rw-p 00000000 00:00 0 
Size:               3072 kB
Rss:                3000 kB
"""
LOG = """\
llama.cpp:load_tensors:   CPU_Mapped model buffer size =   513.56 MiB
llama.cpp:llama_context:        CPU  output buffer size =     1.00 MiB
llama.cpp:llama_kv_cache:        CPU KV buffer size =  1536.00 MiB
llama.cpp:llama_kv_cache: size = 1536.00 MiB ( 65536 cells,  24 layers,  8/1 seqs), K (f16):  768.00 MiB
llama.cpp:sched_reserve:        CPU compute buffer size =    95.50 MiB
"""
MODEL = Path("/models/with space.gguf")


def test_mappings_have_their_file_their_size_and_what_is_resident() -> None:
    heap, large, model, small = mappings(SMAPS)
    assert heap == Mapping("[heap]", 10868, 10000)
    assert large == Mapping("", 1700000, 1600000)
    assert model == Mapping(str(MODEL), 525888, 500000)
    assert small.rss_kb == 3000


def test_buffers_are_all_that_the_log_names_but_mapped_weights() -> None:
    assert buffers_kb(LOG) == (1 + 1536 + 95.5) * 1024


def test_a_log_without_buffers_is_not_taken_for_zero() -> None:
    with pytest.raises(UnknownError, match="does not name its buffers"):
        buffers_kb("llama.cpp: warming up")


def test_the_models_pages_and_the_buffers_are_not_the_workers_own() -> None:
    assert own_kb(mappings(SMAPS), MODEL, buffers=1650000) == 13000


def test_what_large_mappings_hold_beyond_the_buffers_is_the_workers_own() -> None:
    assert own_kb(mappings(SMAPS), MODEL, buffers=1500000) == 113000


def test_weights_that_are_copied_instead_of_mapped_are_buffers() -> None:
    log = "load_tensors:   CPU_REPACK model buffer size =   100.00 MiB\n" + LOG
    assert buffers_kb(log) == buffers_kb(LOG) + 100 * 1024
