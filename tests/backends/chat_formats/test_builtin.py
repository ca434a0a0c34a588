from __future__ import annotations

from typing import NamedTuple

import pytest

from backends.base import InvalidRequestError, UnsupportedError
from backends.chat_formats import choose_format
from backends.chat_formats.builtin import FORMAT_NAMES, LAYOUTS, canonical_name
from backends.chat_formats.encoding import marker_tokens
from backends.chat_formats.turns import TurnFormat
from backends.types import Message, TemplateOptions
from tests.backends.chat_formats.conversations import (
    ANSWER,
    CONTINUE,
    NO_ANSWER,
    PLAIN,
    TOOL_USE,
    WEATHER,
    assistant,
    reference,
    segments_of,
    system,
    text_of,
    user,
)
from tests.backends.chat_formats.vocabularies import FAMILIES, encoder, vocabulary
from tests.sdist import models

WITHOUT_SYSTEM = [PLAIN["one question"], PLAIN["several turns"]]
WITH_SYSTEM = [PLAIN["with system"], PLAIN["system and turns"]]
BOS = {"llama3": "<|begin_of_text|>", "mistral": "<s>", "mistral-v1": "<s>", "gemma": "<bos>"}


class Reference(NamedTuple):
    """A built-in format, the template to compare it with, what that adds of its own, what both can write."""

    name: str
    template: str
    conversations: list[list[Message]]
    addition: str = ""
    eos: str = "</s>"


LLAMA_HEADER = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"
REFERENCES = [
    Reference("chatml", "Qwen-Qwen2.5-7B-Instruct", WITH_SYSTEM),
    Reference("llama3", "meta-llama-Llama-3.1-8B-Instruct", WITH_SYSTEM, addition=LLAMA_HEADER),
    Reference("mistral", "mistralai-Mistral-Nemo-Instruct-2407", WITHOUT_SYSTEM + WITH_SYSTEM),
    Reference("gemma", "google-gemma-2-2b-it", WITHOUT_SYSTEM),
    Reference("phi3", "microsoft-Phi-3.5-mini-instruct", WITHOUT_SYSTEM + WITH_SYSTEM, eos="<|endoftext|>"),
]


def built_in(name: str) -> TurnFormat:
    return TurnFormat(LAYOUTS[name], BOS.get(name, ""))


async def rendered(name: str, messages: list[Message]) -> str | None:
    return text_of(await segments_of(built_in(name), messages))


@pytest.mark.parametrize("real", REFERENCES, ids=lambda real: real.name)
@pytest.mark.parametrize("options", [ANSWER, NO_ANSWER, CONTINUE], ids=["answer", "no answer", "continue"])
async def test_writes_what_the_real_template_writes(real: Reference, options: TemplateOptions) -> None:
    source = (models() / "templates" / f"{real.template}.jinja").read_text()
    for messages in real.conversations:
        if options == CONTINUE:
            if real.name == "mistral" and messages[0].role == "system":
                continue  # the real one forgets the instruction when an answer stands last
            messages = [*messages, assistant("Once upon ")]
        expected = reference(source, messages, options, tokens=(BOS.get(real.name, ""), real.eos))
        assert expected is not None
        assert text_of(await segments_of(built_in(real.name), messages, options)) == expected.replace(real.addition, "")


async def test_gemma_puts_the_instruction_before_the_first_question() -> None:
    text = await rendered("gemma", [system("Be brief."), user("Hello"), assistant("Hi"), user("Bye")])
    assert text is not None
    assert text.startswith("<bos><start_of_turn>user\nBe brief.\n\nHello<end_of_turn>\n<start_of_turn>model\nHi")


async def test_mistral_puts_the_instruction_before_the_last_question() -> None:
    text = await rendered("mistral", [system("Be brief."), user("Hello"), assistant("Hi"), user("Bye")])
    assert text == "<s>[INST]Hello[/INST]Hi</s>[INST]Be brief.\n\nBye[/INST]"


async def test_the_first_mistral_format_has_blanks_and_the_instruction_in_front() -> None:
    text = await rendered("mistral-v1", [system("Be brief."), user("Hello"), assistant("Hi"), user("Bye")])
    assert text == "<s> [INST] Be brief.\n\nHello [/INST] Hi</s> [INST] Bye [/INST]"


async def test_an_instruction_alone_becomes_the_question() -> None:
    assert await rendered("mistral", [system("Say hello.")]) == "<s>[INST]Say hello.[/INST]"


async def test_an_empty_instruction_is_left_out() -> None:
    assert await rendered("chatml", [system(""), user("Hi")]) == await rendered("chatml", [user("Hi")])


@pytest.mark.parametrize("name", LAYOUTS)
async def test_every_text_of_the_client_is_content(name: str) -> None:
    segments = await built_in(name).render([system("S"), user("U"), assistant("A"), user("V")], ANSWER)
    assert sorted(s.text for s in segments if not s.scaffold) == ["A", "S", "U", "V"]


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("family", FAMILIES)
async def test_ids_are_those_of_the_whole_string(name: str, family: str) -> None:
    vocab = vocabulary(family)
    for messages in PLAIN.values():
        segments = await segments_of(await choose_format(name, vocab), messages)
        whole = vocab.encode(text_of(segments) or "", special=True)
        bos = [vocab.bos] if vocab.add_bos and whole[:1] != [vocab.bos] else []
        assert encoder(family).encode(segments or []) == bos + whole


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("family", FAMILIES)
async def test_control_strings_in_a_conversation_add_no_control_ids(name: str, family: str) -> None:
    vocab = vocabulary(family)
    chat_format = await choose_format(name, vocab)

    async def count(text: str) -> int:
        messages = [system(text), user(text), assistant(text), user(text)]
        return vocab.marker_count(encoder(family).encode(await chat_format.render(messages, ANSWER)))

    assert await count("".join(list(marker_tokens(vocab))[:300])) == await count("harmless")


@pytest.mark.parametrize("name", LAYOUTS)
async def test_tools_are_refused(name: str) -> None:
    with pytest.raises(UnsupportedError) as refusal:
        await built_in(name).render([user("Weather?")], ANSWER, [WEATHER])
    assert refusal.value.param == "tools"


@pytest.mark.parametrize("messages", [TOOL_USE[:2], TOOL_USE[:1] + TOOL_USE[2:]], ids=["tool call", "tool result"])
async def test_a_history_of_tool_use_is_refused(messages: list[Message]) -> None:
    with pytest.raises(UnsupportedError) as refusal:
        await built_in("chatml").render(messages, ANSWER)
    assert refusal.value.param == "messages"


async def test_nothing_to_answer_is_refused() -> None:
    with pytest.raises(InvalidRequestError):
        await built_in("chatml").render([system("")], ANSWER)


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("llama-3", "llama3"),
        ("Llama3.1", "llama3"),
        ("mistral-instruct", "mistral"),
        ("Mistral_V1", "mistral-v1"),
        ("qwen", "chatml"),
        ("Qwen2.5", "chatml"),
        ("chat-ml", "chatml"),
        ("gemma-2", "gemma"),
        ("phi-3", "phi3"),
        ("PHI3.5", "phi3"),
        ("custom", "custom"),
        *((name, name) for name in FORMAT_NAMES),
    ],
)
def test_names_are_known_as_people_type_them(typed: str, name: str) -> None:
    assert canonical_name(typed) == name


def test_an_unknown_name_lists_the_known_ones_and_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'llama3'") as error:
        canonical_name("lama-3")
    assert all(name in str(error.value) for name in FORMAT_NAMES)


def test_a_name_like_no_other_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="known are chatml") as error:
        canonical_name("zzz")
    assert "did you mean" not in str(error.value)
