"""Requests that wait for their answers, over a connection that may be lost: asked again then, and answered once."""

import asyncio
from typing import Any, Final

import structlog
from msgspec import Struct

from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.jsonbus.bus import Bus, Delivery, Letter, Unroutable
from crossdock.protocols.jsonbus.codec import decode
from crossdock.protocols.jsonbus.letters import letter
from crossdock.protocols.jsonbus.messages import Notification, Request
from crossdock.protocols.jsonbus.names import notify_key
from crossdock.protocols.jsonbus.payloads import fingerprint
from crossdock.protocols.jsonbus.topology import foreign_queue

AGAIN: Final = 1.0
"""Seconds between two tries to send a request while the broker does not take it."""
_PREFETCH: Final = 200

_log: Final[Any] = structlog.get_logger("crossdock.client")


class _Open(Struct, eq=False):
    """A request without an answer yet. ``sent`` is the number of the connection over which it went last, -1 for none."""

    letter: Letter
    fingerprint: str
    answer: asyncio.Future[Notification]
    sent: int = -1
    waiting: int = 0
    sending: bool = False


class Conversation:
    """A client's talk with a node. Its queue of answers is the PHP library's: it vanishes with the connection.

    Args:
        bus: RabbitMQ.
        client_id: names the queue of answers.
        key: the routing key of the node's requests.
        again: seconds between two tries to send a request.
    """

    def __init__(self, bus: Bus, client_id: str, key: str, *, again: float = AGAIN) -> None:
        self._bus = bus
        self._key = key
        self._again = again
        self._connection = 0
        self._open: dict[str, _Open] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        queue = notify_key(client_id)
        bus.require(foreign_queue(queue))
        bus.on_connect(self._connected)
        self._consumer = bus.consume(queue, self._receive, prefetch=_PREFETCH)

    async def ask(self, request: Request) -> Notification:
        """Send a request and wait for its answer. One that is open already is waited for together.

        Raises:
            CrossdockError: ``unavailable`` if nobody takes requests under the key, ``conflict`` if another request with the
                id is open, ``too_large`` or ``invalid`` if it cannot be sent.
        """
        open_ = self._begin(request)
        open_.waiting += 1
        try:
            return await asyncio.shield(open_.answer)
        finally:
            open_.waiting -= 1
            if not open_.waiting:
                del self._open[request.id]
                open_.answer.cancel()

    async def close(self) -> None:
        """Take no more answers; who waits for one is told that there will be none."""
        await self._consumer.close()
        for open_ in self._open.values():
            if not open_.answer.done():
                open_.answer.set_exception(CrossdockError(Code.UNAVAILABLE, "the client was closed"))
        for task in list(self._tasks):
            task.cancel()

    def _begin(self, request: Request) -> _Open:
        same = fingerprint(request)
        open_ = self._open.get(request.id)
        if open_ is None:
            open_ = _Open(letter(request, self._key), same, asyncio.get_running_loop().create_future())
            self._open[request.id] = open_
            self._start(open_)
        elif open_.fingerprint != same:
            raise CrossdockError(Code.CONFLICT, f"another request with the id {request.id!r} is open")
        return open_

    def _connected(self) -> None:
        """Send again what is open: answers that came meanwhile had no queue to go to. The node still has them."""
        self._connection += 1
        for open_ in self._open.values():
            if not open_.sending:
                self._start(open_)

    def _start(self, open_: _Open) -> None:
        open_.sending = True
        task = asyncio.create_task(self._send(open_))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, open_: _Open) -> None:
        """Publish a request until the broker has confirmed it over the connection of now, or there is an answer."""
        try:
            while open_.sent != self._connection and not open_.answer.done():
                await self._try(open_)
        except CrossdockError as error:
            if not open_.answer.done():
                open_.answer.set_exception(error)
        finally:
            open_.sending = False

    async def _try(self, open_: _Open) -> None:
        connection = self._connection
        try:
            await self._bus.publish(open_.letter)
        except (Unroutable, CrossdockError) as error:
            self._check(error, first=open_.sent < 0)
            await asyncio.wait((open_.answer,), timeout=self._again)
        else:
            open_.sent = connection

    def _check(self, error: Unroutable | CrossdockError, *, first: bool) -> None:
        """Raise an error that no further try would mend. A node that was there may be about to come back."""
        if isinstance(error, CrossdockError):
            if error.code is not Code.UNAVAILABLE:
                raise error
        elif first:
            text = f"nobody takes requests under the key {self._key!r}; is the node running, and is that its key?"
            raise CrossdockError(Code.UNAVAILABLE, text)
        _log.info("a request could not be sent", reason=str(error) or "nobody takes it", again=self._again)

    def _receive(self, delivery: Delivery) -> None:
        message = decode(delivery.body)
        delivery.accept()
        if not isinstance(message, Notification):
            _log.warning("what came is no notification", message=type(message).__name__)
            return
        open_ = self._open.get(message.request_id)
        if open_ is None or open_.answer.done():
            _log.debug("an answer came that nobody waits for", request=message.request_id)
        else:
            open_.answer.set_result(message)
