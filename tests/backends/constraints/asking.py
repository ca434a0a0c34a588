"""Short ways to ask whether a constraint is enforced, and as what."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from backends.base import InvalidRequestError
from backends.constraints import check
from backends.types import Constraint

PLACE = "response_format.json_schema.schema"


def checked(kind: str, value: Any) -> Constraint:
    """The constraint as a compiler gets it; what is not a text is turned into JSON."""
    text = value if isinstance(value, str) else json.dumps(value)
    return check(msgspec.convert({"kind": kind, "value": text, "param": PLACE}, Constraint))


def refused(kind: str, value: Any) -> InvalidRequestError:
    """The error that the constraint is refused with."""
    with pytest.raises(InvalidRequestError) as caught:
        checked(kind, value)
    assert type(caught.value) is InvalidRequestError
    assert len(caught.value.message) < 600
    return caught.value


def schema(value: Any) -> dict[str, Any]:
    """A JSON schema as the compiler gets it, without the options that are always there."""
    compiled: dict[str, Any] = json.loads(checked("json_schema", value).value)
    assert compiled.pop("x-guidance")
    return compiled
