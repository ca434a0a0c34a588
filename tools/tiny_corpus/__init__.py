"""The corpus of the small demo model: conversations made by rule, split so that the evaluation stays unseen."""

from .chat import CHAT_TEMPLATE, Example, Turn, prompt, render
from .dialogue import KINDS, documents
from .split import draw, for_evaluation, for_training, is_held_out

__all__ = [
    "CHAT_TEMPLATE",
    "KINDS",
    "Example",
    "Turn",
    "documents",
    "draw",
    "for_evaluation",
    "for_training",
    "is_held_out",
    "prompt",
    "render",
]
