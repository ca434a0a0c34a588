"""What follows from what is found, each statement once."""

from __future__ import annotations

from backends.constraints.closure import Closure


def test_a_statement_holds_once_enough_grounds_do() -> None:
    closure = Closure()
    given, absent = closure.statement(needs=0), closure.statement(needs=1)
    both, either, loop = closure.statement(needs=2), closure.statement(needs=1), closure.statement(needs=1)
    for ground in (given, absent):
        closure.ground(ground, both)
        closure.ground(ground, either)
    closure.ground(loop, loop)
    closure.close()
    assert [closure.holds(number) for number in (given, either)] == [True, True]
    assert [closure.holds(number) for number in (absent, both, loop)] == [False, False, False]


def test_the_same_ground_counts_as_often_as_it_is_given() -> None:
    closure = Closure()
    twice, late, given = closure.statement(needs=2), closure.statement(needs=1), closure.statement(needs=0)
    closure.ground(late, twice)
    closure.ground(late, twice)
    closure.ground(given, late)
    closure.ground(given, late)
    closure.close()
    assert closure.holds(twice)
