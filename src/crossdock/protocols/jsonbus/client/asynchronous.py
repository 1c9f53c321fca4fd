"""The client of a json-bus node for asyncio."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from crossdock.core.extras import extra
from crossdock.http.closing import AsyncClosing
from crossdock.protocols.jsonbus.client import calls
from crossdock.protocols.jsonbus.client.calls import LARGEST, Reply
from crossdock.protocols.jsonbus.client.conversation import Conversation
from crossdock.protocols.jsonbus.client.fetching import Fetcher
from crossdock.protocols.jsonbus.client.quiet import keep_quiet
from crossdock.protocols.jsonbus.messages import Notification
from crossdock.protocols.jsonbus.result_reference import reference_of


class AsyncJsonbusClient(AsyncClosing):
    """Sends requests to a node. Its methods raise :class:`~crossdock.core.errors.CrossdockError`.

    Use it as a context manager, or call :meth:`close`. It connects when it is first needed; several tasks may share it. The
    arguments are those of :class:`~crossdock.protocols.jsonbus.client.JsonbusClient`.
    """

    def __init__(
        self, url: str, client_id: str = "", *, request_key: str = "", lists: bool = False, largest: int = LARGEST
    ) -> None:
        self.address = calls.parse_address(url, request_key)
        self.client_id = calls.check_client_id(client_id)
        self._lists = lists
        self._fetcher = Fetcher(largest)
        self._stack = AsyncExitStack()
        self._conversation: Conversation | None = None
        self._connecting = asyncio.Lock()

    async def request(
        self,
        subject: str,
        params: Mapping[str, Any] | None = None,
        data: Any = None,
        *,
        timeout: float | None = None,
        id: str = "",  # noqa: A002 - it is called that on the bus
    ) -> Reply:
        """Send a request and return the node's answer.

        See :meth:`~crossdock.protocols.jsonbus.client.JsonbusClient.request`.
        """
        request = calls.new_request(self.client_id, subject, params, data, id)
        try:
            async with asyncio.timeout(timeout):
                notification = await (await self._connected()).ask(request)
                return calls.reply_of(notification, await self._data(notification), lists=self._lists)
        except TimeoutError:
            text = f"no answer to the request {request.id} in {timeout:g} s; the same id asks for it again"
            raise TimeoutError(text) from None

    async def close(self) -> None:
        """Close the connections."""
        await self._stack.aclose()
        await self._fetcher.close()

    async def _connected(self) -> Conversation:
        async with self._connecting:
            if self._conversation is None:
                self._conversation = await self._connect()
            return self._conversation

    async def _connect(self) -> Conversation:
        with extra("jsonbus", "json-bus needs"):
            from crossdock.protocols.jsonbus.connection import Connection
            from crossdock.protocols.jsonbus.link import ConnectionOptions
        keep_quiet()
        bus = Connection(ConnectionOptions(url=self.address.url, ca=self.address.ca, name=self.client_id))
        conversation = Conversation(bus, self.client_id, self.address.key)
        await bus.start()
        self._stack.push_async_callback(bus.close)
        self._stack.push_async_callback(conversation.close)
        return conversation

    async def _data(self, notification: Notification) -> bytes | None:
        reference = reference_of(notification)
        return notification.data if reference is None else await self._fetcher.fetch(reference)
