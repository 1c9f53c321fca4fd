"""Wake-ups within one event loop."""

import asyncio


class LocalSignals:
    """Signals between the tasks of one process. Not thread-safe: use it from the event loop only."""

    def __init__(self) -> None:
        self._waiters: dict[str, set[asyncio.Future[bool]]] = {}

    def notify(self, topic: str) -> None:
        """Wake everybody who waits for ``topic`` now; one failed dictionary look-up when nobody does."""
        waiters = self._waiters.pop(topic, None)
        if waiters is not None:
            for waiter in waiters:
                _settle(waiter, notified=True)

    async def wait(self, topic: str, timeout: float) -> bool:
        """Wait until ``topic`` is notified, at most ``timeout`` seconds; tell whether it was."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        self._waiters.setdefault(topic, set()).add(waiter)
        timer = loop.call_later(timeout, _settle, waiter, False)
        try:
            return await waiter
        finally:
            timer.cancel()
            self._forget(topic, waiter)

    def _forget(self, topic: str, waiter: asyncio.Future[bool]) -> None:
        """Leave no trace of a wait that timed out or was cancelled."""
        waiters = self._waiters.get(topic)
        if waiters is not None:
            waiters.discard(waiter)
            if not waiters:
                del self._waiters[topic]


def _settle(waiter: "asyncio.Future[bool]", notified: bool) -> None:
    if not waiter.done():
        waiter.set_result(notified)
