"""The command line and the life of a server process: start, taken port, drain, second signal."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.cli import banner, main
from app.settings import Settings
from app.settings.reference import env_example
from tests.serving import PATIENCE_S, ROOT, Server, environment, serving, start


def run(*arguments: str, folder: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        env=environment(variables),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def endless(server: Server) -> httpx.Request:
    """A stream that goes on until somebody ends it."""
    script = json.dumps({"tokens": 1_000_000, "delay_ms": 20})
    body = {"stream": True, "messages": [{"role": "user", "content": script}]}
    return httpx.Request("POST", f"{server.url}/v1/chat/completions", json=body)


@pytest.fixture
def open_stream() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=PATIENCE_S) as client:
        yield client


def test_check_shows_values_and_where_they_come_from(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("JARVIS_DRAIN_S=5\n")
    done = run("check", folder=tmp_path, JARVIS_API_KEYS="canary")
    assert done.returncode == 0, done.stdout
    assert "JARVIS_DRAIN_S=5  [.env]" in done.stdout
    assert "JARVIS_INFERENCE_ENGINE=stub  [environment]" in done.stdout
    assert "JARVIS_HOST=127.0.0.1  [default]" in done.stdout
    assert "canary" not in done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [["env-example"], ["route", "a cough since Monday"]])
def test_output_that_nobody_reads_to_its_end_is_no_error(arguments: list[str]) -> None:
    unread, written = os.pipe()
    os.close(unread)
    command = [sys.executable, "-m", "app", *arguments]
    with open(written, "wb") as output:
        done = subprocess.run(command, env=environment({}), stdout=output, stderr=subprocess.PIPE, timeout=PATIENCE_S)
    assert (done.returncode, done.stderr) == (1, b"")


def test_check_fails_on_a_missing_model(tmp_path: Path) -> None:
    done = run("check", folder=tmp_path, JARVIS_INFERENCE_ENGINE="llama_cpp", JARVIS_MODEL_NAME="/no/such.gguf")
    assert done.returncode == 2
    assert "error: JARVIS_MODEL_NAME: /no/such.gguf does not exist" in done.stdout


def test_help_names_every_command(tmp_path: Path) -> None:
    said = run("--help", folder=tmp_path).stdout
    for command in ("serve", "check", "quantize", "env-example", "build-plan"):
        assert f"    {command}" in said
    assert "IN OUT KIND" in run("quantize", "--help", folder=tmp_path).stdout


def test_an_unknown_command_is_refused_with_those_there_are(tmp_path: Path) -> None:
    done = run("srve", folder=tmp_path)
    assert done.returncode == 2
    assert "'srve' (choose from" in done.stderr and "check" in done.stderr


@pytest.mark.parametrize("command", ["serve", "check", "build-plan"])
def test_a_bad_configuration_stops_every_command(tmp_path: Path, command: str) -> None:
    done = run(command, folder=tmp_path, JARVIS_PROT="1")
    assert done.returncode == 2
    assert "did you mean JARVIS_PORT?" in done.stderr
    assert "Traceback" not in done.stderr


def test_build_plan_is_what_run_sh_reads(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text('CMAKE_ARGS="-DA=1 -DB=2"\nJARVIS_CACHE_DIR=/c\n')
    assert run("build-plan", folder=tmp_path).stdout.splitlines() == ["stub", "/c", "-DA=1 -DB=2", "", ""]
    own = {"JARVIS_VLLM_PYTHON": "/opt/python", "JARVIS_EMBEDDING_MODEL": "/e.gguf", "JARVIS_INFERENCE_ENGINE": "vllm"}
    assert run("build-plan", folder=tmp_path, **own).stdout.splitlines()[3:] == ["/opt/python", "/e.gguf"]


def test_env_example_is_printed(tmp_path: Path) -> None:
    assert run("env-example", folder=tmp_path).stdout == env_example()


def test_a_taken_port_is_a_clear_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = str(holder.getsockname()[1])
        done = run("serve", folder=tmp_path, JARVIS_PORT=port)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: JARVIS_PORT='{port}' on 127.0.0.1 is taken by another process.")
    assert len(done.stderr.splitlines()) == 1


def test_a_foreign_address_is_a_clear_error(tmp_path: Path) -> None:
    done = run("serve", folder=tmp_path, JARVIS_HOST="192.0.2.1", JARVIS_ALLOW_INSECURE="1")
    assert done.returncode == 1
    assert "192.0.2.1" in done.stderr
    assert "Traceback" not in done.stderr


def test_sigterm_ends_an_idle_server_with_status_0() -> None:
    with serving() as server:
        assert server.stop() == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(server.url)


def test_the_banner_names_both_models() -> None:
    given = {"JARVIS_MODEL_NAME": "/a/chat.gguf", "JARVIS_EMBEDDING_MODEL": "/b/minilm.gguf"}
    lines = banner(Settings.load(given, env_file=None), "http://h").splitlines()
    assert lines[2:] == ["  model   chat  (/a/chat.gguf)", "  vectors minilm  (/b/minilm.gguf)"]


def test_a_signal_right_after_the_banner_ends_with_status_0(tmp_path: Path) -> None:
    server = start(tmp_path, tmp_path / "log", {})
    assert server.stop() == 0
    assert "Traceback" not in server.log.read_text()


def test_a_running_stream_finishes_after_sigterm(open_stream: httpx.Client) -> None:
    body = {"stream": True, "messages": [{"role": "user", "content": '{"tokens": 20, "delay_ms": 20}'}]}
    with serving() as server, open_stream.stream("POST", f"{server.url}/v1/chat/completions", json=body) as answer:
        server.process.terminate()
        assert answer.read().endswith(b"data: [DONE]\n\n")
        assert server.process.wait(PATIENCE_S) == 0


def test_after_the_drain_time_a_stream_ends_with_an_error_event(open_stream: httpx.Client) -> None:
    with serving(JARVIS_DRAIN_S="0.2") as server:
        answer = open_stream.send(endless(server), stream=True)
        server.process.terminate()
        *_, last = [line for line in answer.iter_lines() if line]
        assert "error" in json.loads(last.removeprefix("data: "))
        assert server.process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_means_now(open_stream: httpx.Client, second: signal.Signals) -> None:
    with serving(JARVIS_DRAIN_S="3600") as server:
        answer = open_stream.send(endless(server), stream=True)
        lines = answer.iter_lines()
        next(lines)
        server.process.terminate()
        refused = False
        while not refused:  # the first signal has arrived once nobody is let in any more
            next(lines)
            try:
                httpx.get(f"{server.url}/health/live", timeout=PATIENCE_S)
            except httpx.TransportError:
                refused = True
        server.process.send_signal(second)
        assert server.process.wait(PATIENCE_S) == 0
        assert "Traceback" not in server.log.read_text()


def test_keys_stay_out_of_the_log() -> None:
    with serving(JARVIS_API_KEYS="canary-key", DEBUG="1", ready=False) as server:
        headers = {"Authorization": "Bearer canary-key", "x-request-id": "canary-key"}
        httpx.get(f"{server.url}/v1/models", headers=headers)
        server.stop()
        log = server.log.read_text()
    assert "/v1/models" in log
    assert "********" in log  # the request id that the client chose
    assert "canary-key" not in log


def test_route_prints_the_decision_and_its_grounds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["route", "fix", "the", "bug", "in", "this", "python", "function"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("route          coding")
    assert "'python' +" in out


def test_route_eval_judges_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "texts.jsonl").write_text('{"text": "fix the bug in this python function", "domain": "coding"}\n')
    assert main(["route", "--folder", str(tmp_path), "eval", "texts.jsonl"]) == 0
    assert "accuracy 1.000" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["", "not json\n", '{"text": 3, "domain": "x"}\n'])
def test_route_eval_says_what_is_wrong_with_a_file(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "texts.jsonl").write_text(content)
    assert main(["route", "--folder", str(tmp_path), "eval", "texts.jsonl"]) == 1
    assert "texts.jsonl" in capsys.readouterr().err
