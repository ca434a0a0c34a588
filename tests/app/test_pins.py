from __future__ import annotations

from app.pins import Pins


def test_a_pin_is_kept_while_something_is_heard_of_it() -> None:
    pins: Pins[str] = Pins(idle_s=10.0)
    pins.keep("s", "coder", 0.0)
    assert pins.get("s", 9.0) == "coder"
    assert pins.get("s", 18.0) == "coder"
    assert pins.get("s", 29.0) is None
    assert len(pins) == 0


def test_the_one_unheard_of_for_longest_makes_room() -> None:
    pins: Pins[int] = Pins(most=2)
    pins.keep("a", 1, 0.0)
    pins.keep("b", 2, 1.0)
    pins.get("a", 2.0)
    pins.keep("c", 3, 3.0)
    assert [pins.get(name, 4.0) for name in "abc"] == [1, None, 3]


def test_a_name_may_be_of_any_kind() -> None:
    pins: Pins[int] = Pins()
    for name in ("", "x" * 1_000_000, "\ud800", "é"):
        assert pins.get(name, 0.0) is None
        pins.keep(name, 1, 0.0)
    assert len(pins) == 4
