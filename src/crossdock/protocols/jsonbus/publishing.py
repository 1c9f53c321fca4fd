"""Publishes letters over one channel with confirms, many at once."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, cast

import structlog
from aiormq import Channel
from aiormq.exceptions import (
    ChannelAccessRefused,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    DeliveryError,
    PublishError,
)

from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.jsonbus.bus import Letter, QueueFull, Unroutable
from crossdock.protocols.jsonbus.complaints import FAILURES, explain, too_large
from crossdock.protocols.jsonbus.link import Link, cancelled_from_outside
from crossdock.protocols.jsonbus.outlet import Outlet

_REFUSED: Final = 60.0
"""Seconds until it is tried again to publish to an exchange that we may not publish to.

RabbitMQ closes the channel over each try, and all that is under way on it has to be published again.
"""

_DEFAULT: Final = "amq.default"
"""What RabbitMQ calls the exchange without a name."""

_log: Final[Any] = structlog.get_logger("crossdock.jsonbus")


class Publisher:
    """Publishes over a link.

    Args:
        link: the connection.
        patience: seconds within which RabbitMQ has to confirm a letter, and to unblock us.
        vanished: is told when an exchange was gone, and with it maybe queues.
    """

    def __init__(self, link: Link, patience: float, vanished: Callable[[], None]) -> None:
        self._link = link
        self._vanished = vanished
        self._patience = patience
        self._outlet: Outlet | None = None
        self._opening = asyncio.Lock()
        self._most: int | None = None
        self._flying: dict[str, asyncio.Future[None]] = {}
        self._refused: dict[str, tuple[float, CrossdockError]] = {}
        """Exchanges that we may not publish to: until when that is believed, and what to say."""

    async def publish(self, letter: Letter) -> None:
        """Publish a letter and wait for the confirm; see :class:`Bus`."""
        if self._most is not None and len(letter.body) > self._most:
            raise _too_large(len(letter.body), self._most)
        until, refused = self._refused.get(letter.exchange, (0.0, None))
        if refused is not None and time.monotonic() < until:
            raise CrossdockError(refused.code, refused.message)
        # The library tells which letter came back by its id alone, so the same one flies once at a time.
        while (before := self._flying.get(letter.id)) is not None:
            await asyncio.wait([before])
        landed = self._flying[letter.id] = asyncio.get_running_loop().create_future()
        try:
            if not await self._published(letter):
                # The exchange was gone: RabbitMQ deletes the PHP library's one with its last binding.
                self._link.declarations.forget()
                self._vanished()
                if not await self._published(letter):
                    raise Unroutable(f"the exchange {letter.exchange} is gone")
        finally:
            del self._flying[letter.id]
            landed.set_result(None)

    async def _published(self, letter: Letter) -> bool:
        """Publish once. Returns false if the exchange is not there."""
        try:
            async with asyncio.timeout(self._patience):
                await self._link.open.wait() if self._link.session.usable else self._link.connection
                outlet = await self._ready()
                await outlet.send(letter)
        except FAILURES as error:
            if isinstance(error, ChannelNotFoundEntity) and f"no exchange '{letter.exchange}'" in str(error):
                return False
            raise self._meaning(letter, error) from None
        except asyncio.CancelledError:
            # The library says this also to those who wait on a connection that breaks.
            if cancelled_from_outside():
                raise
            raise _lost() from None
        return True

    def _meaning(self, letter: Letter, error: Exception) -> Exception:
        """Return what an error means for a letter."""
        if isinstance(error, CrossdockError):
            return error
        if isinstance(error, PublishError):
            return Unroutable(f"no queue is bound to {letter.exchange} under {letter.key}")
        if isinstance(error, DeliveryError):
            return QueueFull()
        if isinstance(error, TimeoutError):
            return self._late()
        if isinstance(error, ChannelPreconditionFailed):
            return self._precondition(letter, error)
        if isinstance(error, ChannelAccessRefused):
            return self._forbidden(letter, error)
        return _lost()

    def _forbidden(self, letter: Letter, error: ChannelAccessRefused) -> CrossdockError:
        """Return what it means for a letter that RabbitMQ forbade one to somebody on its channel."""
        if f"exchange '{letter.exchange or _DEFAULT}'" not in str(error):
            return _lost()
        complaint = explain(error, self._link.broker, self._link.declarations.parts, "").error
        if self._refused.get(letter.exchange, (0.0, complaint))[0] < time.monotonic():
            self._refused[letter.exchange] = time.monotonic() + _REFUSED, complaint
            _log.error("RabbitMQ refuses what we publish", exchange=letter.exchange or _DEFAULT, why=complaint.message)
        return complaint

    async def _ready(self) -> Outlet:
        """Return an open channel on the present connection, on which all is declared."""
        connection = self._link.connection
        outlet = self._outlet
        if outlet is not None and outlet.usable(connection) and self._link.declarations.complete(connection):
            return outlet
        async with self._opening:
            for refused in await self._link.declarations.ensure(connection):
                self._link.complain(refused)
            if self._outlet is None or not self._outlet.usable(connection):
                channel = cast("Channel", await connection.channel(on_return_raises=True))
                self._outlet = Outlet(channel, self._link.writer)
            return self._outlet

    def _precondition(self, letter: Letter, error: ChannelPreconditionFailed) -> CrossdockError:
        self._most = too_large(str(error)) or self._most
        if self._most is not None and len(letter.body) > self._most:
            return _too_large(len(letter.body), self._most)
        return _unavailable(f"the channel was closed: {error}")

    def _late(self) -> CrossdockError:
        if self._link.session.reason:
            return _unavailable(
                f"RabbitMQ blocks whoever publishes ({self._link.session.reason}). It needs more memory or disk, or"
                f" consumers: rabbitmqctl status shows its alarms"
            )
        return _unavailable(f"RabbitMQ did not confirm a message within {self._patience:g} s")


def _unavailable(text: str) -> CrossdockError:
    return CrossdockError(Code.UNAVAILABLE, text)


def _too_large(size: int, most: int) -> CrossdockError:
    return CrossdockError(
        Code.TOO_LARGE, f"a message of {size} bytes is more than the {most} that RabbitMQ takes (its max_message_size)"
    )


def _lost() -> CrossdockError:
    return _unavailable("the connection to RabbitMQ was lost before a message was confirmed; it may have arrived")
