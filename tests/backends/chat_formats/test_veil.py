from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from backends.chat_formats.base import Segment
from backends.chat_formats.veil import Veil

MARKERS = re.compile(re.escape("<a>") + "|" + re.escape("</a>"))
texts = st.lists(st.sampled_from(["<a>", "</a>", "<", "a", ">", " ", "\n", "é", '"']), max_size=8).map("".join)


def variables(*messages: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text} for text in messages], "tools": None}


def written(hidden: dict[str, object], around: str = "[{}]") -> str:
    messages = hidden["messages"]
    assert isinstance(messages, list)
    return "".join(around.format(message["content"]) for message in messages)


def joined(segments: list[Segment] | None) -> str | None:
    return None if segments is None else "".join(segment.text for segment in segments)


@given(st.lists(texts, max_size=4))
def test_what_is_hidden_can_be_revealed(messages: list[str]) -> None:
    veil, plain = Veil(MARKERS), variables(*messages)
    assert joined(veil.reveal(written(veil.hide_texts(plain)))) == written(plain)
    assert joined(veil.reveal(written(veil.hide_markers(plain)))) == written(plain)


@given(st.lists(texts, max_size=4))
def test_hidden_variables_hold_no_control_string(messages: list[str]) -> None:
    veil = Veil(MARKERS)
    assert not MARKERS.search(str(veil.hide_texts(variables(*messages))))
    assert not MARKERS.search(str(veil.hide_markers(variables(*messages))))


@given(st.lists(texts, max_size=4), st.sampled_from(["[{}]", "<a>{}</a>", "{}", " {}\n"]))
def test_alignment_reproduces_the_plain_rendering(messages: list[str], around: str) -> None:
    veil, plain = Veil(MARKERS), variables(*messages)
    segments = veil.align(written(veil.hide_texts(plain), around), written(plain, around))
    assert joined(segments) == written(plain, around)
    assert [s.text for s in segments or [] if not s.scaffold] == [text for text in messages if text]


@given(texts.filter(str.strip), texts)
def test_different_renderings_do_not_align(text: str, other: str) -> None:
    veil = Veil(MARKERS)
    veiled = written(veil.hide_texts(variables(text)))
    assert all(veil.align(veiled, plain) is None for plain in (f"[{text}]{other}]", f"({text})", f"[{other}x{text}]"))


@given(st.lists(texts, max_size=4))
def test_marks_find_the_control_strings_of_the_client(messages: list[str]) -> None:
    veil, plain = Veil(MARKERS), variables(*messages)
    veiled, marked = written(veil.hide_texts(plain), "<a>{}</a>"), written(veil.mark_markers(plain), "<a>{}</a>")
    segments = veil.unmark(marked, plain=written(plain, "<a>{}</a>"), veiled=veiled)
    assert [s.text for s in segments or [] if not s.scaffold] == [m for text in messages for m in MARKERS.findall(text)]


def test_a_control_string_whose_mark_was_torn_off_is_noticed() -> None:
    veil, plain = Veil(MARKERS), variables("<a>")
    marked = "".join(str(m["content"])[-3:] for m in veil.mark_markers(plain)["messages"])
    assert marked == "<a>"
    assert veil.unmark(marked, plain="<a>", veiled=written(veil.hide_texts(plain), "{}")) is None


def test_a_mark_that_lost_its_control_string_is_noticed() -> None:
    veil, plain = Veil(MARKERS), variables("<a>")
    torn = written(veil.mark_markers(plain), "{}")[:-1]
    assert veil.unmark(torn, plain="<a", veiled="") is None


def test_placeholders_differ_from_request_to_request() -> None:
    assert Veil(MARKERS).hide_texts(variables("x")) != Veil(MARKERS).hide_texts(variables("x"))
