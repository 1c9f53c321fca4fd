"""The blocking client of a json-bus node. A thread of its own keeps the connection alive between requests."""

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from crossdock.core.errors import Code, CrossdockError
from crossdock.http.closing import Closing
from crossdock.protocols.jsonbus.client.asynchronous import AsyncJsonbusClient
from crossdock.protocols.jsonbus.client.calls import LARGEST, Reply

Answer = TypeVar("Answer")


class JsonbusClient(Closing):
    """Sends requests to a node. Its methods raise :class:`~crossdock.core.errors.CrossdockError`.

    Use it as a context manager, or call :meth:`close`. Threads may share it.

    Args:
        url: ``jsonbus+amqp://USER:PASSWORD@HOST:PORT/VHOST?node=NAME``, see
            :func:`~crossdock.protocols.jsonbus.client.calls.parse_address`.
        client_id: names the queue of answers; a new one if it is not given. Two clients must not have the same.
        request_key: the routing key of requests, if neither ``node`` nor ``request_key`` in the URL say it.
        lists: make lists again of what a PHP node made objects of.
        largest: bytes of a result that is fetched from where the answer says it lies.
    """

    def __init__(
        self, url: str, client_id: str = "", *, request_key: str = "", lists: bool = False, largest: int = LARGEST
    ) -> None:
        self._client = AsyncJsonbusClient(url, client_id, request_key=request_key, lists=lists, largest=largest)
        self.address = self._client.address
        self.client_id = self._client.client_id
        self._loop = asyncio.new_event_loop()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._closed = False

    def request(
        self,
        subject: str,
        params: Mapping[str, Any] | None = None,
        data: Any = None,
        *,
        timeout: float | None = None,
        id: str = "",  # noqa: A002 - it is called that on the bus
    ) -> Reply:
        """Send a request and return the node's answer. If the connection is lost meanwhile, it is asked again.

        Args:
            subject: what is wanted.
            params: its parameters.
            data: anything beside them.
            timeout: seconds to wait for the answer; None: as long as it takes.
            id: of the request. A node of ours answers the same request again from memory; a new id asks anew.

        Raises:
            RequestFailedError: the node has answered that it failed.
            TimeoutError: there was no answer in time. The node may be working on it all the same.
            CrossdockError: ``unavailable`` if the broker cannot be reached or no node takes the request, ``unauthorized``,
                ``conflict`` if another request with this id is open here, ``invalid`` or ``too_large`` if it cannot be sent.
        """
        return self._run(self._client.request(subject, params, data, timeout=timeout, id=id))

    def close(self) -> None:
        """Close the connections."""
        with self._starting:
            if self._closed:
                return
            self._closed = True
            thread = self._thread
        if thread is not None:
            asyncio.run_coroutine_threadsafe(self._client.close(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        with self._starting:
            if self._closed:
                work.close()
                raise CrossdockError(Code.UNAVAILABLE, "the client was closed")
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop.run_forever, name="json-bus client", daemon=True)
                self._thread.start()
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # an interrupt of the main thread
            raise
