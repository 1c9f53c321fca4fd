"""Clients for any server that speaks LONGPOST: one that blocks, one for asyncio. Both only drive :mod:`.polling`."""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Final

import httpx
import msgspec

from crossdock.core.errors import Code, CrossdockError
from crossdock.http.closing import AsyncClosing, Closing
from crossdock.protocols.longpost.codec import encode_request
from crossdock.protocols.longpost.messages import Request
from crossdock.protocols.longpost.polling import Ask, Delays, GoneError, Polling, Stage, Step, WorkerError

HEADERS: Final = {"content-type": "application/json"}
TIMEOUT: Final = httpx.Timeout(30.0, connect=10.0)
STOP_SECONDS: Final = 5.0
STOP_TIMEOUT: Final = httpx.Timeout(STOP_SECONDS)

MAX_RESULT: Final = 256 * 2**20
"""Bytes of the answers that make a result, at most."""

RETRIES: Final = 3
"""Polls in a row that may go unanswered before a task is given up."""

OnPoll = Callable[[float], None]
"""Called before each pause with its length in seconds."""


class Task:
    """A task that was started; hand it to ``result`` or ``stop`` of the client that started it."""

    def __init__(self, polling: Polling, step: Step) -> None:
        self.polling = polling
        self.step = step
        self.unanswered = 0
        self.gathered = 0
        """Bytes of the parts of the result that have come."""

    @property
    def token(self) -> str | None:
        """The task's token, None if the result came with the start."""
        return self.polling.token.text if self.polling.token else None

    def answered(self, status: int, body: bytes) -> None:
        """Take the answer to what was asked last."""
        self.unanswered = 0
        if self.polling.stage is Stage.COLLECTING:
            self.gathered += len(body)
        self.step = self.polling.receive(status, body)

    def unreachable(self, error: httpx.TransportError) -> None:
        """Go on after a request that got no answer, or raise its error if that will not do."""
        self.unanswered += 1
        again = self.polling.lost()
        if again is None or self.unanswered > RETRIES:
            raise error
        self.step = again

    def result(self) -> object:
        """Return the value of the result that has arrived."""
        if isinstance(self.step, Ask):
            raise AssertionError("the task has not ended")  # noqa: TRY004 - a fault of ours, not of an argument
        return json.loads(self.step.text)


class LongpostClient(Closing):
    """A blocking client of one endpoint.

    Args:
        url: the endpoint, such as ``http://127.0.0.1:8080/longpost/mandelbrot``.
        delays: the pauses between polls.
        headers: sent with every request, ``Authorization`` for example.
        max_result: bytes that a result may have on its way; one that is larger is not read to its end.
    """

    def __init__(
        self,
        url: str,
        *,
        delays: Delays | None = None,
        headers: Mapping[str, str] | None = None,
        max_result: int = MAX_RESULT,
    ) -> None:
        self._url = url
        self._max = max_result
        self._delays = delays
        self._http = httpx.Client(headers={**(headers or {}), **HEADERS}, timeout=TIMEOUT)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def start(self, payload: object) -> Task:
        """Start a task. ``payload`` is any JSON value.

        Raises:
            WorkerError: the server refused it, or the worker failed at once.
            httpx.TransportError: the server cannot be reached.
        """
        polling = Polling(self._delays)
        ask = polling.start(payload_text(payload))
        return Task(polling, polling.receive(*self._post(ask.request)))

    def result(self, task: Task, timeout: float | None = None, on_poll: OnPoll | None = None) -> object:
        """Wait for the result of a task and return its value. On giving up, for any reason, the task is stopped.

        Args:
            task: what ``start`` returned.
            timeout: seconds to wait at most.
            on_poll: told of every pause.

        Raises:
            WorkerError: the worker failed.
            GoneError: the server does not know the task any more.
            TimeoutError: it took longer than ``timeout``.
            CrossdockError: ``too_large`` if the result is, ``invalid`` if the server does not keep to the protocol.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while isinstance(task.step, Ask):
                time.sleep(pause(task.step, deadline, time.monotonic(), on_poll))
                try:
                    task.answered(*self._post(task.step.request, read=task.gathered))
                except httpx.TransportError as error:
                    task.unreachable(error)
        except BaseException:
            self.stop(task)
            raise
        return task.result()

    def run(self, payload: object, timeout: float | None = None, on_poll: OnPoll | None = None) -> object:
        """Start a task and wait for its result; see ``start`` and ``result``."""
        return self.result(self.start(payload), timeout, on_poll)

    def stop(self, task: Task) -> None:
        """Tell the server that the result is not wanted any more, if it has something to stop and can be reached."""
        stop = task.polling.abandon()
        if stop is not None:
            with contextlib.suppress(httpx.HTTPError):
                self._post(stop, STOP_TIMEOUT)

    def _post(self, request: Request, timeout: httpx.Timeout = TIMEOUT, read: int = 0) -> tuple[int, bytes]:
        """Return status and body of an answer; ``read`` bytes of the same result have come before."""
        body = bytearray()
        with self._http.stream("POST", self._url, content=encode_request(request), timeout=timeout) as response:
            for piece in response.iter_bytes():
                body += piece
                check_size(read + len(body), self._max)
        return response.status_code, bytes(body)


class AsyncLongpostClient(AsyncClosing):
    """A client of one endpoint for asyncio.

    Args:
        url: the endpoint.
        delays: the pauses between polls.
        headers: sent with every request.
        max_result: bytes that a result may have on its way.
    """

    def __init__(
        self,
        url: str,
        *,
        delays: Delays | None = None,
        headers: Mapping[str, str] | None = None,
        max_result: int = MAX_RESULT,
    ) -> None:
        self._url = url
        self._max = max_result
        self._delays = delays
        self._http = httpx.AsyncClient(headers={**(headers or {}), **HEADERS}, timeout=TIMEOUT)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def start(self, payload: object) -> Task:
        """Start a task; see :meth:`LongpostClient.start`."""
        return await self.start_text(payload_text(payload))

    async def start_text(self, payload: bytes) -> Task:
        """Start a task with a payload that is JSON text already."""
        polling = Polling(self._delays)
        ask = polling.start(payload)
        posting = asyncio.create_task(self._post(ask.request))
        try:
            answer = await asyncio.shield(posting)
        except asyncio.CancelledError:
            await self._call_off(polling, posting)
            raise
        return Task(polling, polling.receive(*answer))

    async def _call_off(self, polling: Polling, posting: asyncio.Task[tuple[int, bytes]]) -> None:
        """Stop a task whose start nobody waits for any more: its token is in an answer that is still on its way."""
        with contextlib.suppress(TimeoutError, httpx.HTTPError, WorkerError, GoneError, CrossdockError):
            answer = await asyncio.wait_for(posting, STOP_SECONDS)
            await self.stop(Task(polling, polling.receive(*answer)))

    async def result(self, task: Task, timeout: float | None = None, on_poll: OnPoll | None = None) -> object:
        """Wait for the result of a task and return its value; see :meth:`LongpostClient.result`."""
        await self.finish(task, timeout, on_poll)
        return task.result()

    async def finish(self, task: Task, timeout: float | None = None, on_poll: OnPoll | None = None) -> str:
        """Wait for the result of a task and return its JSON text. On giving up, for any reason, the task is stopped."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        try:
            while isinstance(task.step, Ask):
                await asyncio.sleep(pause(task.step, deadline, loop.time(), on_poll))
                try:
                    task.answered(*await self._post(task.step.request, read=task.gathered))
                except httpx.TransportError as error:
                    task.unreachable(error)
        except BaseException:
            await asyncio.shield(self.stop(task))
            raise
        return task.step.text

    async def run(self, payload: object, timeout: float | None = None, on_poll: OnPoll | None = None) -> object:
        """Start a task and wait for its result; see ``start`` and ``result``."""
        return await self.result(await self.start(payload), timeout, on_poll)

    async def stop(self, task: Task) -> None:
        """Tell the server that the result is not wanted any more; see :meth:`LongpostClient.stop`."""
        stop = task.polling.abandon()
        if stop is not None:
            with contextlib.suppress(httpx.HTTPError):
                await self._post(stop, STOP_TIMEOUT)

    async def _post(self, request: Request, timeout: httpx.Timeout = TIMEOUT, read: int = 0) -> tuple[int, bytes]:
        """Return status and body of an answer; see :meth:`LongpostClient._post`."""
        body = bytearray()
        async with self._http.stream("POST", self._url, content=encode_request(request), timeout=timeout) as response:
            async for piece in response.aiter_bytes():
                body += piece
                check_size(read + len(body), self._max)
        return response.status_code, bytes(body)


def payload_text(payload: object) -> bytes:
    """Return a payload as JSON text.

    Raises:
        CrossdockError: ``invalid`` if it has no JSON form.
    """
    try:
        return msgspec.json.encode(payload)
    except (TypeError, ValueError, RecursionError) as error:
        raise CrossdockError(Code.INVALID, f"the payload has no JSON form: {error}") from None


def check_size(size: int, limit: int) -> None:
    """Give a result up that is larger than it may be.

    Raises:
        CrossdockError: ``too_large``.
    """
    if size > limit:
        raise CrossdockError(
            Code.TOO_LARGE, f"the result is larger than the {limit:,} bytes that are read of one (max_result)"
        )


def pause(ask: Ask, deadline: float | None, now: float, on_poll: OnPoll | None) -> float:
    """Return the seconds to sleep before asking; at the deadline there is one last poll.

    Raises:
        TimeoutError: the deadline has passed.
    """
    if deadline is not None and now >= deadline:
        raise TimeoutError("the task did not end in time")
    seconds = ask.after if deadline is None else min(ask.after, deadline - now)
    if seconds and on_poll is not None:
        on_poll(seconds)
    return seconds


__all__ = ["AsyncLongpostClient", "Delays", "GoneError", "LongpostClient", "Task", "WorkerError"]
