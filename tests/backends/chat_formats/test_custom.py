from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from backends.base import ModelUnavailableError
from backends.chat_formats import choose_format
from backends.chat_formats.builtin import LAYOUTS
from backends.chat_formats.custom import load_layout
from tests.backends.chat_formats.conversations import PLAIN, assistant, segments_of, system, text_of, user
from tests.backends.chat_formats.vocabularies import vocabulary

DOCUMENT = Path(__file__).parents[3] / "docs" / "chat-formats.md"


def example() -> str:
    [example] = re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    return str(example)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "format.toml"
    path.write_text(example())
    return path


async def test_the_documented_example_works(file: Path) -> None:
    chat_format = await choose_format("custom", vocabulary("llama-spm"), file=file)
    segments = await segments_of(chat_format, [system("Be brief."), user("Hi"), assistant("Hello"), user("Bye")])
    assert text_of(segments) == "<s>Be brief.\n\nUSER: Hi\nASSISTANT: Hello</s>\nUSER: Bye\nASSISTANT:"
    assert (chat_format.name, chat_format.stop) == ("vicuna", ("</s>", "USER:"))


@pytest.mark.parametrize("field", msgspec.structs.fields(type(LAYOUTS["chatml"])), ids=lambda field: field.name)
def test_every_field_is_documented(field: msgspec.structs.FieldInfo) -> None:
    assert f"`{field.name}`" in DOCUMENT.read_text() or f"[{field.name}." in example()


@pytest.mark.parametrize("name", LAYOUTS)
async def test_a_file_can_say_all_that_the_built_in_formats_say(name: str, tmp_path: Path) -> None:
    path = tmp_path / "format.toml"
    path.write_bytes(_toml(msgspec.to_builtins(LAYOUTS[name])).encode())
    assert load_layout(path) == LAYOUTS[name]
    custom = await choose_format(None, vocabulary("llama-spm"), file=path)
    built_in = await choose_format(name, vocabulary("llama-spm"))
    for messages in PLAIN.values():
        assert await segments_of(custom, messages) == await segments_of(built_in, messages)


def _toml(layout: dict[str, object]) -> str:
    """Enough TOML for a layout: strings are written as JSON, which TOML reads."""
    turns = layout.pop("turns")
    assert isinstance(turns, dict)
    lines = [f"{key} = {msgspec.json.encode(value).decode()}" for key, value in layout.items()]
    for role, turn in turns.items():
        lines += [f"[turns.{role}]", *(f"{k} = {msgspec.json.encode(v).decode()}" for k, v in turn.items())]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("name", "nmae"), "name"),
        (("bos = true", 'bos = "yes"'), r"\$\.bos"),
        (("[turns.user]", "[turns.human]"), "human"),
        (("[turns.user]", "[turns.assistant2"), "line"),
        (('system = "turn"', 'system = "nowhere"'), "nowhere"),
        (('prefix = "USER: "', ""), "prefix"),
    ],
)
def test_a_mistake_is_named(change: tuple[str, str], complaint: str, file: Path) -> None:
    assert change[0] in file.read_text()
    file.write_text(file.read_text().replace(*change, 1))
    with pytest.raises(ModelUnavailableError, match=complaint) as error:
        load_layout(file)
    assert str(file) in error.value.message


def test_a_format_without_users_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "format.toml"
    path.write_text('name = "x"\ngeneration_prompt = ""\n[turns.assistant]\nprefix = "A"\n')
    with pytest.raises(ModelUnavailableError, match=r"\[turns.user\]"):
        load_layout(path)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"], ids=["missing", "not text"])
def test_a_file_that_cannot_be_read_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "format.toml"
    if content:
        path.write_bytes(content)
    with pytest.raises(ModelUnavailableError, match="format.toml"):
        load_layout(path)
