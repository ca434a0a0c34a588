"""`python -m backends.worker <socket fd> <parent pid>`: the child that an edge starts; not meant for people."""

from __future__ import annotations

import asyncio
import socket
import sys

from backends.worker.host import Host
from backends.worker.lifeline import die_with_parent, volunteer_for_oom


async def main(descriptor: int, parent: int) -> None:
    """Serve the edge at the other end of the inherited socket until it says so or is gone."""
    die_with_parent(parent)
    volunteer_for_oom()
    sock = socket.socket(fileno=descriptor)
    # A grandchild that held the socket would keep the edge from seeing this process end.
    sock.set_inheritable(False)
    await Host().serve(sock)


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
