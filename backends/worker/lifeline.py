"""How a child process makes sure that it never outlives its parent, and that the kernel takes it first."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_OOM_SCORE_ADJ = 500
"""Of 1000: when memory runs out, an engine goes before the edge and before most of the machine."""


def die_with_parent(parent: int) -> None:
    """End this process when the process `parent` ends, also when it has ended already.

    On Linux the kernel sees to it (prctl(2), PR_SET_PDEATHSIG), and counts the end of the thread that started this
    process, too. Elsewhere only the check is made, and the end of file on the socket has to do.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        end_group()


def volunteer_for_oom() -> None:
    """Raise this process's oom_score_adj (proc(5)) where there is one."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write(str(_OOM_SCORE_ADJ))


def guard_group() -> None:
    """Start a process that ends this one's group when this one is gone, however it went.

    For an engine that has processes of its own: a signal that ends this process (`die_with_parent`, or the kernel when
    memory runs out) does not reach them. The guard waits for the end of a pipe whose other end is here and nowhere
    else. It is only started where this process leads its group.
    """
    if os.getpgrp() != os.getpid():
        return
    read_end, write_end = os.pipe()
    os.set_inheritable(read_end, True)
    command = ["/bin/sh", "-c", "read -r _; kill -9 0"]
    actions = [(os.POSIX_SPAWN_DUP2, read_end, 0), (os.POSIX_SPAWN_CLOSE, write_end)]
    os.posix_spawn(command[0], command, {"PATH": os.defpath}, file_actions=actions)
    os.close(read_end)


def end_group() -> NoReturn:
    """End this process at once, and everything that it started if it leads its process group."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
