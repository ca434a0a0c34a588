"""From a job to the reply that carries its answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from starlette.requests import Request

from app.api.answer import Collector, Dialect
from app.api.asking import asked, headers
from app.api.reply import Encoder, Patience, Reply
from app.api.sse import StreamEncoder
from app.api.wire import GenerationBody
from app.orchestrator import Item, Job
from app.state import state_of


async def reply(
    request: Request, body: GenerationBody, job: Job, dialect: Dialect, ignored: Sequence[str]
) -> Reply[Item]:
    """The answer to a generation request, in the form that the body asks for."""
    state = state_of(request)
    patience = Patience(state.settings.server.header_wait_s)
    routed = await state.dispatcher.route(asked(request, body, job))
    job = dataclasses.replace(job, model=routed.expert)
    if state.settings.routing.sticky:
        ignored = [name for name in ignored if name != "user"]
    return Reply(state.orchestrator.stream(job), encoder(body, job, dialect), patience, ignored, headers(routed))


def encoder(body: GenerationBody, job: Job, dialect: Dialect) -> Encoder[Item]:
    """What turns the job's events into the body of the answer."""
    if not body.stream:
        return Collector(dialect, job)
    usage = bool(body.stream_options and body.stream_options.include_usage)
    return StreamEncoder(dialect, job, include_usage=usage)
