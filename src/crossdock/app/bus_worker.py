"""``crossdock worker`` at a jobs queue of json-bus."""

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from crossdock.app.attachment import Attachment
from crossdock.app.stopping import Hands, Say
from crossdock.core.extras import extra
from crossdock.core.requests import Capabilities

if TYPE_CHECKING:
    from crossdock.protocols.jsonbus.worker import JsonbusDispatch


class DrainingFirst:
    """A worker that lets go of the queue as soon as it is drained, so that others get what waits here.

    Args:
        worker: what runs jobs.
        dispatch: where they come from.
    """

    def __init__(self, worker: Hands, dispatch: "JsonbusDispatch") -> None:
        self._worker = worker
        self._dispatch = dispatch
        self._draining = asyncio.Event()

    async def run(self) -> None:
        """Work until drained or released."""
        async with asyncio.TaskGroup() as group:
            letting_go = group.create_task(self._let_go())
            await self._worker.run()
            letting_go.cancel()

    def drain(self) -> None:
        """Begin nothing more; :meth:`run` returns when what runs has ended."""
        self._draining.set()
        self._worker.drain()

    def release(self) -> None:
        """Hand back what runs; :meth:`run` returns soon."""
        self._worker.release()

    async def _let_go(self) -> None:
        await self._draining.wait()
        await self._dispatch.pause()


async def jsonbus(url: str, offers: Capabilities, slots: int | None, stack: AsyncExitStack, say: Say) -> Attachment:
    """Return the link to the jobs queue that an address names.

    Raises:
        CrossdockError: ``invalid`` if the address is wrong; what only people can mend, such as a wrong password. A broker
            that cannot be reached is waited for.
    """
    with extra("jsonbus", "jsonbus+amqp:// needs"):
        from crossdock.protocols.jsonbus.connection import Connection
        from crossdock.protocols.jsonbus.link import ConnectionOptions
        from crossdock.protocols.jsonbus.worker import JsonbusArtifacts, JsonbusDispatch
        from crossdock.protocols.jsonbus.worker_address import parse_connect
    address = parse_connect(url)
    if offers.group or offers.values:
        say("crossdock: jobs on json-bus require nothing of a worker, so its group and headers are not used there")
    bus = Connection(ConnectionOptions(url=address.url, ca=address.ca, name="crossdock worker"))
    stack.push_async_callback(bus.close)
    await bus.start(wait=True)
    dispatch = JsonbusDispatch(bus, address, say=say)
    return Attachment(
        dispatch=dispatch,
        artifacts=JsonbusArtifacts(),
        offers=offers,
        slots=slots or address.slots,
        place=address.shown,
        hands=lambda worker: DrainingFirst(worker, dispatch),
    )
