import sys
from collections.abc import AsyncIterator

import pytest

from backends.worker.client import WorkerEngine, launch
from tests.backends.worker.processes import stub_config


@pytest.fixture
async def worker() -> AsyncIterator[WorkerEngine]:
    engine = await launch(stub_config(), python=sys.executable, environment={})
    yield engine
    await engine.close()
