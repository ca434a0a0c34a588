"""Constraints of an answer, checked before native code sees them. Imports no engine."""

from backends.constraints.checking import check
from backends.constraints.limits import LIMITS, Limits

__all__ = ["LIMITS", "Limits", "check"]
