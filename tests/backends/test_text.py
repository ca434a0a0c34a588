"""Text out of token bytes: whole characters only, stop strings found wherever the token borders fall."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backends.text import TextStream


def run(pieces: list[bytes], stops: list[str], *, include_stop: bool = False) -> tuple[list[str], bool]:
    stream = TextStream(stops, include_stop=include_stop)
    out = [stream.feed(piece) for piece in pieces]
    return [*out, stream.flush()], stream.stopped


def test_a_character_split_over_tokens_comes_out_whole() -> None:
    assert run([b"\xe2", b"\x82", b"\xac!"], []) == (["", "", "€!", ""], False)


def test_an_unfinished_character_at_the_end_is_replaced() -> None:
    assert run([b"a\xe2\x82"], [])[0] == ["a", "�"]


def test_text_without_stops_is_never_held_back() -> None:
    assert run([b"Hel", b"lo"], [])[0] == ["Hel", "lo", ""]


def test_a_stop_string_across_token_borders_ends_the_text_before_it() -> None:
    assert run([b"one EN", b"D", b" two"], ["END"]) == (["one ", "", "", ""], True)


def test_a_stop_string_can_be_included() -> None:
    assert "".join(run([b"one EN", b"D two"], ["END"], include_stop=True)[0]) == "one END"


def test_what_only_looked_like_a_stop_is_released() -> None:
    assert run([b"EN", b"TER"], ["END"]) == (["", "ENTER", ""], False)


def test_a_held_tail_is_released_at_the_end() -> None:
    assert run([b"the EN"], ["END"]) == (["the ", "EN"], False)


def test_the_stop_that_comes_first_wins() -> None:
    assert "".join(run([b"a b c"], ["c", "b"])[0]) == "a "


def test_of_two_stops_that_end_together_the_longer_one_is_cut() -> None:
    assert "".join(run([b"xab", b"c"], ["bc", "abc"])[0]) == "x"


def test_stops_are_let_through_while_not_watched() -> None:
    stream = TextStream(["."])
    assert stream.feed(b"a.", watch=False) == "a."
    assert stream.feed(b"b.c") == "b"
    assert stream.stopped


@given(
    st.text(alphabet="ab€ ", max_size=40),
    st.lists(st.text(alphabet="ab€", min_size=1, max_size=4), max_size=3),
    st.data(),
)
def test_every_way_of_cutting_gives_the_text_before_the_first_stop(
    text: str, stops: list[str], data: st.DataObject
) -> None:
    raw = text.encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=8)))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    out, stopped = run(pieces, stops)
    hits = [(at + len(stop), at) for stop in stops if (at := text.find(stop)) >= 0]
    assert stopped == bool(hits)
    assert "".join(out) == (text[: min(hits)[1]] if hits else text)
