"""JARVIS_QUANTIZATION: a model in full precision is quantised once, and again when it has changed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from backends.base import ModelUnavailableError
from backends.llama_cpp.engine import LlamaCppEngine
from backends.llama_cpp.model_file import ModelFile
from backends.llama_cpp.quantised_copies import QUANTISING_SHARE, quantised_model
from backends.llama_cpp.quantising import UNFINISHED
from backends.types import EngineConfig
from tests.backends.llama_cpp.conftest import complete, config, greedy
from tests.backends.llama_cpp.full_precision import BUNDLED_MODEL, f32_model, slow_model
from tests.serving import PATIENCE_S, ROOT, Server, serving, start

STARTER = """
import logging, sys
from backends.llama_cpp.quantised_copies import quantised_model
from backends.types import EngineConfig, LlamaOptions

logging.basicConfig(level="INFO", stream=sys.stderr)
options = LlamaOptions(quantization="q4_0")
wanted = EngineConfig(engine="llama_cpp", model=sys.argv[1], alias="m", cache_dir=sys.argv[2], llama=options)
print(quantised_model(wanted, lambda _: None)[0])
"""


@pytest.fixture
def full(tmp_path: Path) -> Path:
    return f32_model(tmp_path / "model.gguf")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "backends.llama_cpp.quantised_copies")


def asking(model: Path, cache: Path, kind: str | None = "q4_0", **changes: object) -> EngineConfig:
    return config(model, cache_dir=str(cache), quantization=kind, **changes)


def copy_of(model: Path, cache: Path, kind: str | None = "q4_0") -> Path:
    path, _ = quantised_model(asking(model, cache, kind), lambda _: None)
    return Path(path)


def copies(cache: Path) -> list[Path]:
    """Everything that lies in the cache, but for the lock."""
    return sorted(path for path in cache.rglob("*") if path.is_file() and path.name != ".lock")


def wait_until_empty(cache: Path) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while found := copies(cache):
        assert time.monotonic() < give_up, found
        time.sleep(0.02)


def wait_for_unfinished(cache: Path) -> None:
    give_up = time.monotonic() + PATIENCE_S
    while not any(path.match(UNFINISHED) for path in copies(cache)):
        assert time.monotonic() < give_up
        time.sleep(0.01)


@pytest.mark.parametrize("half", [False, True])
def test_a_copy_is_made_once(tmp_path: Path, cache: Path, half: bool, caplog: pytest.LogCaptureFixture) -> None:
    model = f32_model(tmp_path / "model.gguf", half=half)
    copy = copy_of(model, cache)
    assert ModelFile.read(copy).kind == "q4_0"
    assert caplog.text.count("quantising model") == 1
    assert copy_of(model, cache) == copy
    assert caplog.text.count("quantising model") == 1
    assert f"using the q4_0 copy of model: {copy}" in caplog.text
    assert copies(cache) == [copy]


def test_sizes_and_memory_before_and_after_are_logged(
    full: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy_of(full, cache)
    assert "quantising model (f32, 15.1 MB) to q4_0, once" in caplog.text
    assert "file 15.1 MB -> 2.4 MB, memory for weights and one context 20.2 MB -> 7.6 MB" in caplog.text


def test_progress_of_the_copy_and_of_the_load_make_one_rising_line(full: Path, cache: Path) -> None:
    heard: list[float] = []
    _, report = quantised_model(asking(full, cache), heard.append)
    assert heard == sorted(heard)
    assert (heard[0], heard[-1]) == (0.0, QUANTISING_SHARE)
    report(0.0)
    report(1.0)
    assert heard[-2:] == [QUANTISING_SHARE, 1.0]


def test_a_load_without_quantising_reports_as_ever(full: Path, cache: Path) -> None:
    heard: list[float] = []
    copy_of(full, cache)
    for wanted in (asking(full, cache), asking(full, cache, None)):
        quantised_model(wanted, heard.append)[1](0.25)
    assert heard == [0.25, 0.25]


async def test_the_engine_serves_the_copy(full: Path, cache: Path) -> None:
    engine = LlamaCppEngine(asking(full, cache, "q8_0"))
    heard: list[float] = []
    await engine.start(heard.append)
    answer = await complete(engine, greedy("Hello"))
    assert engine.info.size_bytes < full.stat().st_size / 3
    assert heard == sorted(heard) and heard[-1] == 1.0
    await engine.close()
    plain = LlamaCppEngine(config())
    await plain.start(lambda _: None)
    assert answer.token_ids == (await complete(plain, greedy("Hello"))).token_ids
    await plain.close()


def test_a_quantised_model_is_served_as_it_is_and_that_is_said(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert copy_of(BUNDLED_MODEL, cache, "q4_0") == BUNDLED_MODEL
    assert [record.getMessage() for record in caplog.records] == [
        "jarvis-tiny-q8_0 is q8_0 already; JARVIS_QUANTIZATION=q4_0 is not applied to it"
    ]
    assert not cache.exists()


def test_the_kind_that_the_model_has_needs_no_word(
    tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    half = f32_model(tmp_path / "half.gguf", half=True)
    assert copy_of(BUNDLED_MODEL, cache, "q8_0") == BUNDLED_MODEL
    assert copy_of(half, cache, "f16") == half
    assert caplog.records == []


@pytest.mark.parametrize("changes", [{"kind": None}, {"task": "embed"}])
def test_models_that_nobody_asked_about_are_left_alone(full: Path, cache: Path, changes: dict[str, str]) -> None:
    assert quantised_model(asking(full, cache, **changes), lambda _: None)[0] == str(full)


def test_a_changed_model_is_quantised_anew_and_the_old_copy_goes(full: Path, cache: Path) -> None:
    first, other_kind = copy_of(full, cache), copy_of(full, cache, "q8_0")
    os.utime(full, ns=(0, 1))
    second = copy_of(full, cache)
    assert second != first
    assert copies(cache) == sorted([second, other_kind])


def test_models_of_the_same_name_do_not_share_a_copy(full: Path, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first = copy_of(full, cache)
    second = copy_of(f32_model(tmp_path / "other" / "model.gguf"), cache)
    assert copies(cache) == sorted([first, second])


def test_a_damaged_copy_is_made_again(full: Path, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    copy = copy_of(full, cache)
    sound = copy.read_bytes()
    copy.write_bytes(sound[:-1000])
    assert copy_of(full, cache) == copy
    assert "the copy will be made again" in caplog.text
    assert copy.read_bytes() == sound


def test_what_a_power_failure_left_is_swept_away(full: Path, cache: Path) -> None:
    folder = cache / "quantized" / "elsewhere"
    folder.mkdir(parents=True)
    (folder / UNFINISHED.replace("*", "1-2")).write_text("half a model")
    copy = copy_of(full, cache)
    assert copies(cache) == [copy]


def test_a_model_that_cannot_be_quantised_is_unavailable(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(ModelUnavailableError, match="does not exist"):
        copy_of(tmp_path / "none.gguf", cache)


def test_a_cache_that_cannot_be_written_is_named(full: Path, cache: Path) -> None:
    cache.write_text("no folder")
    with pytest.raises(ModelUnavailableError, match=f"JARVIS_CACHE_DIR={cache} cannot hold the copy"):
        copy_of(full, cache)


def test_starts_at_the_same_time_quantise_once(full: Path, cache: Path) -> None:
    starts = [
        subprocess.Popen(
            [sys.executable, "-c", STARTER, str(full), str(cache)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    said = [start.communicate(timeout=PATIENCE_S) for start in starts]
    assert {out for out, _ in said} == {f"{copies(cache)[0]}\n"}
    assert sum(log.count("quantising model (f32") for _, log in said) == 1
    assert sum(log.count("using the q4_0 copy") for _, log in said) == 2


@pytest.fixture
def quantising_server(tmp_path: Path, cache: Path) -> Iterator[Server]:
    """A server in the middle of quantising its model."""
    variables = {
        "JARVIS_INFERENCE_ENGINE": "llama_cpp",
        "JARVIS_MODEL_NAME": str(slow_model(tmp_path / "slow.gguf")),
        "JARVIS_QUANTIZATION": "iq3_s",
        "JARVIS_CACHE_DIR": str(cache),
        "JARVIS_N_THREADS": "1",
    }
    server = start(tmp_path, tmp_path / "log", variables)
    with server.process:
        try:
            wait_for_unfinished(cache)
            yield server
        finally:
            server.process.kill()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_that_ends_while_it_quantises_leaves_nothing(
    quantising_server: Server, cache: Path, end: signal.Signals
) -> None:
    quantising_server.process.send_signal(end)
    quantising_server.process.wait(PATIENCE_S)
    wait_until_empty(cache)


def test_readiness_shows_how_far_the_copy_is(quantising_server: Server) -> None:
    progress = 0.0
    give_up = time.monotonic() + PATIENCE_S
    while progress == 0.0:
        assert time.monotonic() < give_up
        answer = httpx.get(f"{quantising_server.url}/health/ready", timeout=PATIENCE_S)
        assert answer.status_code == 503
        progress = answer.json()["models"][0]["progress"] or 0.0
        time.sleep(0.02)
    assert progress < QUANTISING_SHARE


def test_a_server_quantises_says_so_and_answers(full: Path, cache: Path) -> None:
    with serving(
        JARVIS_INFERENCE_ENGINE="llama_cpp",
        JARVIS_MODEL_NAME=str(full),
        JARVIS_QUANTIZATION="Q4_0",
        JARVIS_CACHE_DIR=str(cache),
    ) as server:
        body = {"messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 4}
        answer = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=PATIENCE_S)
        assert answer.status_code == 200, answer.text
        log = server.log.read_text()
    assert "quantising model (f32, 15.1 MB) to q4_0, once" in log
    assert "memory for weights and one context 20.2 MB -> 7.6 MB" in log
