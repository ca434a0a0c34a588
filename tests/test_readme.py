"""The README's examples, as they stand there, against a server."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from app.settings.reference import markdown_table
from tests.serving import PATIENCE_S, ROOT, Server, serving

README = (ROOT / "README.md").read_text()
ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(JARVIS_EMBEDDING_MODEL="all-minilm-l6-v2.gguf") as running:
        yield running


def example(language: str, containing: str, server: Server) -> str:
    """The fenced block, with the address of the test's server."""
    blocks = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    (block,) = [block for block in blocks if containing in block]
    assert ADDRESS in block
    return str(block).replace(ADDRESS, server.url)


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout


def test_the_curl_example_works(server: Server) -> None:
    assert '"content":"Hello! Who are you?"' in output("bash", "-c", example("sh", "/v1/chat/completions", server))


def test_the_sdk_example_works(server: Server) -> None:
    assert output(sys.executable, "-c", example("python", "chat.completions", server)) == "Hello! Who are you?\n"


def test_the_curl_example_of_embeddings_works(server: Server) -> None:
    answer = json.loads(output("bash", "-c", example("sh", "/v1/embeddings", server)))
    assert [item["index"] for item in answer["data"]] == [0, 1]


def test_the_sdk_example_of_embeddings_works(server: Server) -> None:
    assert output(sys.executable, "-c", example("python", "client.embeddings", server)) == "0 32\n1 32\n"


def test_the_table_lists_every_variable_as_it_is() -> None:
    assert markdown_table() in README


def test_links_lead_somewhere() -> None:
    for page in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text()):
            assert (ROOT / target).exists(), f"{page}: {target}"
