"""Decoding bodies, and errors that name the field."""

from __future__ import annotations

from typing import Annotated

import msgspec
import pytest

from app.api.body import decode
from app.errors import UnknownParameterError
from backends.base import InvalidRequestError


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    size: Annotated[int, msgspec.Meta(ge=1)]


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    items: list[Inner] = []
    table: dict[int, float] = {}


DECODER = msgspec.json.Decoder(Outer)


def refused(body: bytes) -> InvalidRequestError | UnknownParameterError:
    try:
        decode(body, DECODER)
    except (InvalidRequestError, UnknownParameterError) as error:
        return error
    pytest.fail("accepted")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"items": [{"size": 1}, {"size": "a"}]}', "items[1].size"),
        (b'{"items": [{"size": 0}]}', "items[0].size"),
        (b'{"items": [{}]}', "items[0].size"),
        (b'{"items": [{"size": 1, "colour": 2}]}', "items[0].colour"),
        (b'{"items": {}}', "items"),
        (b'{"other": 1}', "other"),
        (b'{"table": {"a": 1}}', "table"),
        (b'{"table": {"1": "a"}}', "table[...]"),
        (b"[]", None),
    ],
)
def test_the_error_names_the_field(body: bytes, param: str | None) -> None:
    assert refused(body).param == param


def test_an_unknown_field_is_an_error_of_its_own() -> None:
    error = refused(b'{"colour": 1}')
    assert isinstance(error, UnknownParameterError)
    assert error.message == "Unknown parameter: 'colour'"


def test_a_type_error_says_what_was_expected() -> None:
    assert refused(b'{"items": [{"size": "a"}]}').message == "'items[0].size': Expected int, got str"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"hello", b'{"items": NaN}', b"\xff\xfe", b'{"\xff": 1}', b'{"items": []} x', b'{"\\ud800": 1}'],
)
def test_what_is_not_json_is_said_to_be_so(body: bytes) -> None:
    assert refused(body).message.startswith("The body is not valid JSON: ")


def test_input_is_repeated_in_part_only() -> None:
    error = refused(b'{"%s": 1}' % (b"x" * 100_000))
    assert len(error.message) < 300
    assert len(error.param or "") <= 200
