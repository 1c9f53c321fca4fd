"""Clients of json-bus nodes, ours or others."""

from crossdock.protocols.jsonbus.client.asynchronous import AsyncJsonbusClient
from crossdock.protocols.jsonbus.client.blocking import JsonbusClient
from crossdock.protocols.jsonbus.client.calls import Reply, RequestFailedError

__all__ = ["AsyncJsonbusClient", "JsonbusClient", "Reply", "RequestFailedError"]
