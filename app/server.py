"""Running the edge: take the address, then load the application, then serve until a signal.

The address comes first, so that a taken port is said at once and before anything heavy is loaded.
"""

from __future__ import annotations

import asyncio
import errno
import math
import signal
import socket
import sys
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from app.settings.sections import ServerSettings

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from app.settings import Settings

BACKLOG = 2048
ABORT_S = 5
"""Seconds, after the drain time, in which streams that are still open may end with an error event."""


class AddressError(Exception):
    """The server cannot listen where it was told to; the message names the variable to change."""


def bind(server: ServerSettings) -> socket.socket:
    """A socket that listens on the configured address.

    Raises:
        AddressError: the port is taken, or the address is not this machine's or not allowed.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            server.host, server.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise AddressError(f"JARVIS_HOST='{server.host}' is no address to listen on: {error.strerror}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise AddressError(_refusal(server, error)) from None
    return listener


def url_of(listener: socket.socket) -> str:
    """The base URL at which the socket is reached, with the port that was really taken."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def leave_quietly() -> None:
    """Until `serve` minds signals itself, SIGTERM and SIGINT end the process with exit status 0: nothing runs yet."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))


def serve(settings: Settings, listener: socket.socket) -> None:
    """Serve on `listener` until SIGTERM or SIGINT, then let requests finish; a second signal ends at once."""
    from app.main import create_app

    app = create_app(settings)
    config = uvicorn.Config(
        app,
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=math.ceil(settings.server.drain_s) + ABORT_S,
    )
    EdgeServer(config, app, settings.server.drain_s).run(sockets=[listener])


class EdgeServer(uvicorn.Server):
    """uvicorn's server, with our way to end: drain, then abort what is left; exit status 0; a second signal means now.

    After `drain_s` seconds the engines are closed, so that open streams end with an error event of the application and
    not by a cut connection.
    """

    def __init__(self, config: uvicorn.Config, app: Starlette, drain_s: float) -> None:
        super().__init__(config)
        self._app = app
        self._drain_s = drain_s

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 (uvicorn's signature)
        """First signal: drain. Second: end."""
        self.force_exit = self.should_exit
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept nothing more, wait for running requests, then close the application."""
        drained = asyncio.create_task(self._close_engines())
        try:
            await super().shutdown(sockets)
        finally:
            drained.cancel()
        if self.force_exit:
            # uvicorn would leave it out, then cancel the application and report that as its failure.
            await self.lifespan.shutdown()

    async def _close_engines(self) -> None:
        await asyncio.sleep(self._drain_s)
        await self._app.state.jarvis.pool.close()


def _refusal(server: ServerSettings, error: OSError) -> str:
    where = f"JARVIS_PORT='{server.port}' on {server.host}"
    if error.errno == errno.EADDRINUSE:
        return (
            f"{where} is taken by another process. `ss -ltnp 'sport = :{server.port}'` shows which; "
            "set JARVIS_PORT to a free port (0 picks one)"
        )
    return f"{where}: cannot listen there: {error.strerror}"
