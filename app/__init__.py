"""The edge: HTTP in, routing and admission, HTTP out. It never imports an engine."""

__version__ = "0.1.0"
