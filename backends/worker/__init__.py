"""The child process that hosts a native engine, and the edge's side of it.

`frames` is the language both speak, `connection` carries it. `host` runs in the child (`python -m backends.worker`),
`client` and `process` run at the edge. A crash of the engine costs its own requests and nothing else.
"""
