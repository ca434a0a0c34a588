from __future__ import annotations

import numpy as np

from app.routing.features import ROWS, rows_of
from app.routing.fitting import Penalty
from app.routing.strangers import stranger_rows

KNOWN, BOTH, FOREIGN = ([number] for number in rows_of("alpha beta gamma")[:3])
ONES = np.ones(ROWS, np.float32)


def found(share: float) -> list[float]:
    texts = [(np.array(KNOWN), 1.0), (np.array(KNOWN), 1.0), (np.array(BOTH), share), (np.array(BOTH), share)]
    strangers = [np.array(BOTH), np.array(BOTH), np.array(FOREIGN), np.array(FOREIGN)]
    rows = stranger_rows(texts, strangers, ONES, Penalty(1e-3), None)
    return [float(rows[place[0]]) for place in (KNOWN, BOTH, FOREIGN)]


def test_rows_of_strangers_speak_for_them_and_others_against() -> None:
    known, _, foreign = found(1.0)
    assert known < 0 < foreign


def test_texts_count_by_their_share() -> None:
    assert found(0.0)[1] > 0 > found(50.0)[1]


def test_a_row_of_a_single_text_says_nothing_but_for_its_vector() -> None:
    vectors = np.zeros((ROWS, 1), np.float32)
    vectors[[5, 6, 7]] = 1.0
    texts, strangers = [(np.array([1]), 1.0), (np.array([1]), 1.0)], [np.array([5]), np.array([6])]
    assert not stranger_rows(texts, strangers, ONES, Penalty(1e-3), None)[5:8].any()
    rows = stranger_rows(texts, strangers, ONES, Penalty(1e-3), vectors)
    assert rows[5] == rows[6] == rows[7] > 0
