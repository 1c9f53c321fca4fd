"""Waiting on behalf of a client, no longer than it is there and the server runs."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

Result = TypeVar("Result")


async def attend(request: Request, work: Coroutine[Any, Any, Result]) -> Result | None:
    """Return what ``work`` returns, or None if the client goes away or the server is stopped before.

    The body of the request must have been read; ``work`` is cancelled when it is not waited for any more.
    """
    task = asyncio.create_task(work)
    watchers = [asyncio.create_task(_gone(request))]
    stopping = request.scope.get("crossdock.stopping")
    if isinstance(stopping, asyncio.Event):
        watchers.append(asyncio.create_task(_set(stopping)))
    try:
        await asyncio.wait((task, *watchers), return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for each in (task, *watchers):
            each.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _set(event: asyncio.Event) -> None:
    await event.wait()
