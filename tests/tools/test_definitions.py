from __future__ import annotations

from pathlib import Path

import pytest

from tools.definitions import below, by_topic, definitions, parsed, senses, synsets

LICENCE = "  1 This software and database is being provided to you\n"
DATA = (
    "00000001 14 n 02 illness 0 unwellness 0 001 ~ 00000002 n 0000 | being ill\n"
    "00000002 14 n 01 gout 0 001 @ 00000001 n 0000 | a painful inflammation\n"
    "00000003 10 n 01 lex_loci 0 001 ;c 00000004 n 0000 | the law of the place\n"
    "00000004 09 n 01 law 0 000 | a rule\n"
)
INDEX = "illness n 1 1 ~ 1 1 00000001  \nbank n 2 1 @ 2 1 00000009 00000008  \n"


def database(folder: Path) -> Path:
    for name in ("verb", "adj", "adv"):
        (folder / f"data.{name}").write_text(LICENCE)
    (folder / "data.noun").write_text(LICENCE + DATA)
    (folder / "index.noun").write_text(LICENCE + INDEX)
    return folder


def test_a_line_of_the_database_is_read() -> None:
    line = "00000003 10 s 02 lex_loci 0 rule 0 002 ;c 00000004 n 0000 & 00000005 s 0102"
    found = parsed(line.split(" "), "the law")
    assert found.words == ("lex_loci", "rule")
    assert found.pointers == ((";c", ("n", "00000004")), ("&", ("a", "00000005")))
    assert found.text == "lex loci, rule: the law"


def test_what_lies_below_a_root_or_has_a_topic_belongs_to_the_domain(tmp_path: Path) -> None:
    found = synsets(database(tmp_path))
    assert below(found, ("n", "00000001")) == {("n", "00000001"), ("n", "00000002")}
    assert by_topic(found) == {("n", "00000003"): {"legal"}}


def test_senses_are_the_offsets_in_their_order(tmp_path: Path) -> None:
    assert senses(database(tmp_path) / "index.noun")["bank"] == ["00000009", "00000008"]


def test_definitions_of_two_domains_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = synsets(database(tmp_path))
    monkeypatch.setattr("tools.definitions.ROOTS", {"medical": "illness.1", "finance": "illness.1"})
    assert list(definitions(found, {"illness": ["00000002"]})) == [("lex loci: the law of the place", "legal")]
    monkeypatch.setattr("tools.definitions.ROOTS", {"medical": "illness.1"})
    assert ("illness, unwellness: being ill", "medical") in list(definitions(found, {"illness": ["00000001"]}))
