"""Subscriber callbacks: what the outbox owes to URLs, delivered until they take it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import msgspec
import structlog
from msgspec import Struct

from crossdock.core.broker import Broker
from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import Job
from crossdock.core.lifecycle import State
from crossdock.core.requests import Notification
from crossdock.http.egress import Egress
from crossdock.protocols.ogc.codec import CHANNEL
from crossdock.protocols.ogc.documents import JSON, status_info
from crossdock.protocols.ogc.frontend.results import results_document

_log: Final[Any] = structlog.get_logger("crossdock.ogc.callbacks")

_CLAIM: Final = 256
_WAIT: Final = 30.0


class Patience(Struct, frozen=True, kw_only=True):
    """How hard to try. Durations are seconds; the pause doubles with every attempt."""

    attempts: int = 16
    first: float = 1.0
    longest: float = 3600.0
    timeout: float = 30.0
    parallel: int = 4


class Callbacks:
    """Delivers callbacks. Every receiver has a lane of its own, so that a slow one delays nobody else.

    Args:
        broker: owes them.
        egress: where requests may lead.
        base: the server's URL for links, if it is known.
        patience: how hard to try.
    """

    def __init__(self, broker: Broker, egress: Egress, base: str = "", patience: Patience | None = None) -> None:
        self._broker = broker
        self._egress = egress
        self._base = base
        self._patience = patience or Patience()
        self._lanes: dict[str, _Lane] = {}

    async def run(self) -> None:
        """Deliver until cancelled. What is under way then stays owed."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
        timeout = httpx.Timeout(self._patience.timeout, connect=5.0)
        client = httpx.AsyncClient(trust_env=False, follow_redirects=False, limits=limits, timeout=timeout)
        async with client, asyncio.TaskGroup() as group:
            while True:
                for notification in await self._broker.outbox.claim(CHANNEL, _CLAIM, _WAIT):
                    self._dispatch(group, client, notification)

    def _dispatch(self, group: asyncio.TaskGroup, client: httpx.AsyncClient, notification: Notification) -> None:
        parts = urlsplit(notification.address)
        lane = self._lanes.setdefault(f"{parts.scheme}://{parts.netloc}", _Lane())
        lane.queue.append(notification)
        if lane.busy < self._patience.parallel:
            lane.busy += 1
            group.create_task(self._drive(lane, client))

    async def _drive(self, lane: "_Lane", client: httpx.AsyncClient) -> None:
        try:
            while lane.queue:
                await self._deliver(client, lane.queue.popleft())
        finally:
            lane.busy -= 1
            self._lanes = {name: each for name, each in self._lanes.items() if each.busy or each.queue}

    async def _deliver(self, client: httpx.AsyncClient, notification: Notification) -> None:
        try:
            async with asyncio.timeout(self._patience.timeout):
                trouble = await self._post(client, notification)
        except TimeoutError:
            trouble = "it took too long"
        if trouble is None:
            await self._broker.outbox.delivered(notification)
            return
        attempt = notification.attempts + 1
        if attempt >= self._patience.attempts:
            _log.warning("callback given up", job=notification.job, attempts=attempt, reason=trouble)
            await self._broker.outbox.delivered(notification)
            return
        pause = min(self._patience.longest, self._patience.first * 2.0**notification.attempts)
        _log.info("callback failed", job=notification.job, attempt=attempt, reason=trouble, again_in=pause)
        await self._broker.outbox.postpone(notification, pause)

    async def _post(self, client: httpx.AsyncClient, notification: Notification) -> str | None:
        """Send it; return what is wrong, if anything."""
        try:
            job = await self._broker.intake.job(notification.job)
            target = await self._egress.judge(notification.address)
        except CrossdockError as error:
            # A job that is swept already has nothing left to tell.
            return None if error.code is Code.NOT_FOUND else error.message
        headers = {
            "host": target.host,
            "content-type": JSON,
            "crossdock-notification": str(notification.id),
            "crossdock-event": notification.event,
        }
        try:
            async with client.stream(
                "POST",
                target.url,
                headers=headers,
                content=self._content(job, notification),
                extensions={"sni_hostname": target.name},
            ) as response:
                return None if response.is_success else f"the receiver answered {response.status_code}"
        except (httpx.HTTPError, CrossdockError) as error:
            return f"{type(error).__name__}: {error}"

    def _content(self, job: Job, notification: Notification) -> bytes | AsyncIterator[bytes]:
        if notification.event == State.SUCCEEDED and job.state is State.SUCCEEDED:
            return results_document(self._broker, job)
        return msgspec.json.encode(status_info(job, self._base))


class _Lane:
    """What is owed to one receiver, and how many requests to it are under way."""

    def __init__(self) -> None:
        self.queue: deque[Notification] = deque()
        self.busy = 0
