"""The real child process, with templates that mean harm."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from backends.base import EngineClosedError, ModelUnavailableError
from backends.chat_formats.renderer import Load, Rendered
from backends.chat_formats.sandbox import TemplateSandbox

REPOSITORY = Path(__file__).parents[3]
Start = Callable[[str], Awaitable[TemplateSandbox]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts sandboxes and closes them after the test."""
    async with AsyncExitStack() as stack:

        async def start(template: str) -> TemplateSandbox:
            sandbox = TemplateSandbox(Load(template, "<s>", "</s>"), time_limit_s=0.5)
            stack.push_async_callback(sandbox.close)
            await sandbox.start()
            return sandbox

        yield start


async def one(sandbox: TemplateSandbox, **variables: Any) -> Rendered:
    [rendered] = await sandbox.render([variables])
    return rendered


def armed(attack: str) -> str:
    """A template that behaves until it is told to strike, so that it can be loaded."""
    return f"{{% if strike %}}{attack}{{% else %}}fine{{% endif %}}"


@pytest.mark.parametrize(
    "attack",
    ["{{ n ** (n ** 8) }}", "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"],
    ids=["power", "nested range"],
)
async def test_a_template_that_hangs_is_stopped_and_the_next_request_works(attack: str, start: Start) -> None:
    sandbox = await start(armed(attack))
    assert await one(sandbox, strike=True, n=9) == Rendered(fault="limit", reason="takes longer than 0.5 s")
    assert await one(sandbox) == Rendered("fine")


@pytest.mark.parametrize(
    ("attack", "limit"),
    [
        ("{{ 'a' * 10 ** n }}", "needs more than 512 MiB of memory"),
        ("{{ 'aaaaaaaa' * 10 ** 6 }}{{ 'a' * n }}", "writes more than 4 MiB"),
        ("{% for i in range(99999) %}{{ 'aaaaaaaaaa' * 10 * n }}{% endfor %}", "writes more than 4 MiB"),
    ],
    ids=["memory", "one long output", "many outputs"],
)
async def test_a_template_that_swells_is_refused_and_the_next_request_works(
    attack: str, limit: str, start: Start
) -> None:
    sandbox = await start(armed(attack))
    assert await one(sandbox, strike=True, n=9) == Rendered(fault="limit", reason=limit)
    assert await one(sandbox) == Rendered("fine")


@pytest.mark.parametrize(
    "attack",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.getpid() }}",
        "{{ raise_exception.__globals__.keys() }}",
        "{{ '{0.__class__.__init__.__globals__}'.format(namespace) }}",
        "{{ messages.append(1) }}",
        "{% include '/etc/passwd' %}",
    ],
)
async def test_a_template_that_reaches_out_of_the_sandbox_fails(attack: str, start: Start) -> None:
    sandbox = await start(armed(attack))
    assert (await one(sandbox, strike=True, messages=[])).fault == "failed"
    assert await one(sandbox) == Rendered("fine")


async def test_endless_recursion_fails(start: Start) -> None:
    sandbox = await start("{% macro m(n) %}{{ m(n) }}{% endmacro %}{% if strike %}{{ m(1) }}{% else %}fine{% endif %}")
    assert (await one(sandbox, strike=True)).fault in ("failed", "limit")
    assert await one(sandbox) == Rendered("fine")


async def test_an_exception_that_the_template_raises_comes_with_its_message(start: Start) -> None:
    sandbox = await start("{{ raise_exception('Only users may speak.') }}")
    assert await one(sandbox) == Rendered(fault="raised", reason="Only users may speak.")


@pytest.mark.parametrize("template", ["{% if %}", "{{ 1 +", "{% endfor %}", "{% nonsense %}"])
async def test_a_template_with_broken_syntax_does_not_start(template: str, start: Start) -> None:
    with pytest.raises(ModelUnavailableError, match="TemplateSyntaxError"):
        await start(template)


async def test_a_template_that_hangs_the_compiler_does_not_start(start: Start) -> None:
    with pytest.raises(ModelUnavailableError, match="compiling it takes longer than 0.5 s"):
        await start("{{ 9 ** (9 ** 8) }}")


async def test_what_transformers_gives_to_templates_is_there(start: Start) -> None:
    sandbox = await start(
        "{% generation %}{{ bos_token }}{% endgeneration %}"
        "{% for i in range(9) %}{% if i == 1 %}{% continue %}{% elif i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}"
        "{{ {'b': '<é>', 'a': 1} | tojson }}{{ strftime_now('%Y') | length }}{{ eos_token }}"
    )
    assert await one(sandbox) == Rendered('<s>02{"b": "<é>", "a": 1}4</s>')


async def test_the_environment_of_the_server_does_not_reach_the_child(start: Start) -> None:
    sandbox = await start("fine")
    assert Path(f"/proc/{sandbox.process_id}/environ").read_bytes() == b""


async def test_a_cancelled_request_leaves_the_sandbox_usable(start: Start) -> None:
    sandbox = await start(armed("{{ n ** (n ** 8) }}"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await one(sandbox, strike=True, n=9)
    assert await one(sandbox) == Rendered("fine")


async def test_a_killed_child_costs_one_request_at_most(start: Start) -> None:
    sandbox = await start("fine")
    assert sandbox.process_id is not None
    os.kill(sandbox.process_id, signal.SIGKILL)
    await one(sandbox)
    assert await one(sandbox) == Rendered("fine")


async def test_requests_at_once_take_turns(start: Start) -> None:
    sandbox = await start("{{ n }}")
    answers = await asyncio.gather(*(one(sandbox, n=n) for n in range(20)))
    assert [answer.text for answer in answers] == [str(n) for n in range(20)]


async def test_closing_ends_the_child_and_later_requests(start: Start) -> None:
    sandbox = await start("fine")
    process = sandbox.process_id
    await sandbox.close()
    assert not Path(f"/proc/{process}").exists()
    with pytest.raises(EngineClosedError):
        await one(sandbox)


@pytest.mark.parametrize("busy", [False, True])
async def test_the_child_dies_with_its_parent(busy: bool) -> None:
    script = f"""
import asyncio
from backends.chat_formats.renderer import Load
from backends.chat_formats.sandbox import TemplateSandbox

async def main():
    sandbox = TemplateSandbox(Load({armed("{{ n ** (n ** 8) }}")!r}, "", ""))
    await sandbox.start()
    print(sandbox.process_id, flush=True)
    await asyncio.gather(sandbox.render([{{"strike": {busy}, "n": 9}}]), asyncio.sleep(60))

asyncio.run(main())
"""
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=REPOSITORY, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    async with asyncio.timeout(10):
        while _runs(child):
            await asyncio.sleep(0.02)


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
