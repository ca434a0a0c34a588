"""Routing: which expert answers. Pure: text in, decision out; no clock, no network."""
