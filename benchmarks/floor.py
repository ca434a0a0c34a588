"""The floor: the same HTTP server with an application that only reads the body and answers."""

from __future__ import annotations

import socket
from typing import Any

import uvicorn

BODY = b'{"choices":[{"message":{"role":"assistant","content":"x"}}]}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """An ASGI application without anything in it."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})


def main() -> None:
    """Serve on a free port and print the URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"floor http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(app, lifespan="off", ws="none", log_config=None, access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
