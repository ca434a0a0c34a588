"""Lets vLLM's processes sleep while they wait for each other on a CPU.

vLLM's engine core and its workers pass messages through shared memory, and a reader calls `sched_yield` without end for
a second after each message. That takes a core from the arithmetic, and worse: under Linux 6.18 a process that yields so
often can keep all others from running for seconds, the edge among them, which then seems to be dead. So a reader naps
between two looks instead. (Waiting for vLLM's notification from the start is no cure: one that follows another closely
is dropped, and its message is then found seconds later.)

vLLM imports the classes here by name in the processes that they are for: `Executor` in the engine core, `Worker` in the
workers. It has no setting for how it waits; both find it changed because they import this module.
"""

from __future__ import annotations

import time
from functools import partial

from vllm.distributed.device_communicators import shm_broadcast
from vllm.v1.executor.multiproc_executor import MultiprocExecutor
from vllm.v1.worker.cpu_worker import CPUWorker

_NAP_S = 10e-6
"""Between two looks at a message queue; Linux adds about 50 µs. A step of a small model takes milliseconds."""

shm_broadcast.sched_yield = partial(time.sleep, _NAP_S)


class Executor(MultiprocExecutor):  # type: ignore[misc]
    """vLLM's executor for several processes, whose engine core sleeps until a worker has answered."""


class Worker(CPUWorker):  # type: ignore[misc]
    """vLLM's worker on a CPU, which sleeps until the engine core wants something."""
