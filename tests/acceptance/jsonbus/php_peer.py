"""Peers as the PHP library makes them: its exchange, queues, publishing, consuming and JSON, on the library pika.

Every queue is declared anew by whoever touches it, durable and auto-delete; messages have no properties and no confirms;
consumers acknowledge nothing and take all there is. Lists leave as objects. One connection, heartbeats off, per peer; peers
run in threads of their own, as pika blocks.
"""

import json
import threading
import uuid
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pika

EXCHANGE = "jsonbus"
TURN = 0.05
"""Seconds between two looks if a peer is to end."""

Message = dict[str, Any]


def encode(message: Message) -> bytes:
    """Return a message as ``json_encode($message, JSON_FORCE_OBJECT)`` writes it."""
    text = json.dumps(_forced(message), separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("/", "\\/").encode()


def decode(body: bytes) -> Message:
    """Return what ``json_decode($body, true)`` makes of a body; whoever reads an unreadable one ends with an exception."""
    message = json.loads(body.decode("utf-8"))
    if not isinstance(message, dict) or message.get("type") not in ("request", "task", "job", "notification", "result"):
        raise ValueError("Undefined message type")
    return message


def arrays(value: Any) -> Any:
    """Return a value with arrays as PHP sees them: an object with the names 0, 1, 2 … is a list."""
    if isinstance(value, list):
        return [arrays(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value and list(value) == [str(index) for index in range(len(value))]:
        return [arrays(item) for item in value.values()]
    return {name: arrays(item) for name, item in value.items()}


def _forced(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return {str(index): _forced(item) for index, item in enumerate(value)}
    if isinstance(value, dict):
        return {name: _forced(item) for name, item in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


@contextmanager
def connected(url: str):
    """Give a channel of a new connection."""
    parameters = pika.URLParameters(url)
    parameters.heartbeat = 0
    connection = pika.BlockingConnection(parameters)
    try:
        yield connection.channel()
    finally:
        if connection.is_open:
            connection.close()


class RabbitQueue:
    """The library's class of this name."""

    def __init__(self, channel: Any, name: str, key: str | None = None) -> None:
        self.channel = channel
        self.name = name
        channel.exchange_declare(EXCHANGE, "direct", durable=True, auto_delete=True)
        channel.queue_declare(name, durable=True, auto_delete=True)
        channel.queue_bind(name, EXCHANGE, key or name)

    def push(self, message: Message, key: str | None = None) -> None:
        """Publish, and hear nothing of what becomes of it."""
        self.channel.basic_publish(EXCHANGE, key or self.name, encode(message))

    def consume(self, receive: Callable[[Message], None]) -> None:
        """Have everything that is there, and that comes."""
        self.channel.basic_consume(self.name, lambda _c, _m, _p, body: receive(decode(body)), auto_ack=True)


class Peer(threading.Thread):
    """A peer that consumes until it is told to end. What it ended with stays in ``error``."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.error: BaseException | None = None
        self._ready = threading.Event()
        self._ends = threading.Event()

    def __enter__(self):
        self.start()
        if not self._ready.wait(20) or self.error is not None:
            raise RuntimeError(f"the peer did not start: {self.error}")
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """End it as a script ends: its connection is closed, and with that its queues vanish."""
        self._ends.set()
        self.join(20)

    def run(self) -> None:
        try:
            with connected(self.url) as channel:
                self.begin(channel)
                self._ready.set()
                while not self._ends.is_set():
                    channel.connection.process_data_events(TURN)
        except BaseException as error:
            self.error = error
        finally:
            self._ready.set()

    def begin(self, channel: Any) -> None:
        """Declare and consume what this peer is about."""
        raise NotImplementedError


class Worker(Peer):
    """Takes every job that is there, does it, and pushes its result. ``work`` returns the data or raises."""

    def __init__(self, url: str, node: str, work: Callable[[Message], Any]) -> None:
        super().__init__(url)
        self.node = node
        self.work = work
        self.seen: list[Message] = []

    def begin(self, channel: Any) -> None:
        results = RabbitQueue(channel, f"{self.node}_results")

        def receive(message: Message) -> None:
            self.seen.append(message)
            job = dict(message)
            try:
                data, job["status"] = self.work(job), "success"
            except Exception as error:
                data, job["status"] = {"error": str(error)}, "fail"
            results.push({"job": job, "data": data, "type": "result"})

        RabbitQueue(channel, f"{self.node}_jobs").consume(receive)


class Node(Peer):
    """Makes a job of every request, and a notification of its result. ``extra`` are members of its jobs."""

    def __init__(self, url: str, node: str, requests: str = "requests", **extra: Any) -> None:
        super().__init__(url)
        self.node = node
        self.requests = requests
        self.extra = extra
        self.seen: list[Message] = []
        self.results: list[Message] = []
        self._askers: dict[str, Message] = {}

    def begin(self, channel: Any) -> None:
        self._channel = channel
        self._jobs = RabbitQueue(channel, f"{self.node}_jobs")
        RabbitQueue(channel, f"{self.node}_results").consume(self._answered)
        RabbitQueue(channel, self.requests).consume(self._asked)

    def _asked(self, request: Message) -> None:
        self.seen.append(request)
        job = {"id": uuid.uuid4().hex, "taskId": uuid.uuid4().hex, "createTime": "22-11-2026 17:01:45", "status": "new"}
        self._askers[job["id"]] = request
        carried = {name: request[name] for name in ("params", "data") if name in request}
        self._jobs.push({**job, **carried, **self.extra, "type": "job"})

    def _answered(self, result: Message) -> None:
        self.results.append(result)
        request = self._askers.pop(result["job"]["id"], None)
        if request is None:
            return
        answer = {
            "requestId": request["id"],
            "status": result["job"]["status"],
            "message": "done",
            "data": result.get("data"),
            "type": "notification",
        }
        RabbitQueue(self._channel, f"{request['clientId']}_notify").push(answer)


class Client(Peer):
    """Asks, and hears what comes for it."""

    def __init__(self, url: str, client_id: str, requests: str = "requests") -> None:
        super().__init__(url)
        self.client_id = client_id
        self.requests = requests
        self.heard: list[Message] = []
        self._news = threading.Condition()

    def begin(self, channel: Any) -> None:
        self._channel = channel
        RabbitQueue(channel, f"{self.client_id}_notify").consume(self._hear)

    def ask(self, subject: str, params: Any = None, data: Any = None, *, id: str | None = None) -> str:  # noqa: A002
        """Push a request and return its id."""
        message: Message = {"id": id or uuid.uuid4().hex, "clientId": self.client_id, "subject": subject}
        message |= {name: value for name, value in (("params", params), ("data", data)) if value is not None}
        push = lambda: RabbitQueue(self._channel, self.requests).push({**message, "type": "request"})  # noqa: E731
        self._channel.connection.add_callback_threadsafe(push)
        return message["id"]

    def answers(self, count: int, timeout: float = 30.0) -> list[Message]:
        """Return what has come, once that is as many."""
        with self._news:
            if not self._news.wait_for(lambda: len(self.heard) >= count, timeout):
                raise TimeoutError(f"{len(self.heard)} of {count} answers came in {timeout:.0f} s; {self.error=}")
            return list(self.heard)

    def request(self, subject: str, params: Any = None, data: Any = None, timeout: float = 30.0) -> Message:
        """Ask, and return the answer."""
        asked = self.ask(subject, params, data)
        with self._news:
            if not self._news.wait_for(lambda: any(it["requestId"] == asked for it in self.heard), timeout):
                raise TimeoutError(f"no answer in {timeout:.0f} s; {self.error=}")
            return next(it for it in self.heard if it["requestId"] == asked)

    def _hear(self, message: Message) -> None:
        with self._news:
            self.heard.append(message)
            self._news.notify_all()
