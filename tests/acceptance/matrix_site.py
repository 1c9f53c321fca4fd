"""The server of the matrix with all of its doors, and everybody whom it gives jobs to, in processes of their own."""

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
from rabbit_node import free_port
from servers import CROSSDOCK, Program, Server, running

from acceptance.jsonbus.php_peer import Message, Worker
from acceptance.recodex.recodex_site import WebApplication
from rabbit import Vhost

APP = Path(__file__).with_name("matrix_app.py")
SLOTS = 2
PATIENCE = 30.0
INLINE = 65_536
"""Bytes (characters, for LONGPOST) above which a result goes another way than inside an answer."""

FILES = ("worker", "s3cret/&")
PLACES = {
    "here": "server",
    "over_http": "http",
    "over_recodex": "recodex",
    "endpoint": "far",
    "queue": "queue",
    "php": "php",
    "node": "far",
}
"""Every kind, and the place in which it has to run."""

NEAR = """
[worker]
slots = {slots}
hwgroup = "server"
[longpost]
chunk = {inline}
[files]
username = {user}
password = {password}
[recodex]
clients = "tcp://127.0.0.1:{clients}"
workers = "tcp://127.0.0.1:{workers}"
monitor = ""
notifier = {{ url = "{application}", username = "broker", password = "reports" }}
[jsonbus]
url = "{rabbit}"
node = "near"
inline = {inline}
lists = {kinds}
[jsonbus.nodes.node]
request_key = "far_request"
[backends.longpost.endpoint]
url = "{far}/longpost/endpoint"
poll_first = 0.02
[backends.jsonbus.queue]
workers = "own"
slots = {slots}
[backends.jsonbus.php]
slots = {slots}
attempts = 1
lists = true
"""

FAR = """
[worker]
slots = {slots}
[longpost]
chunk = {inline}
[jsonbus]
url = "{rabbit}"
node = "far"
request_key = "far_request"
inline = {inline}
"""


def eventually(fact: Callable[[], object], what: str) -> Any:
    """Return a fact once it is one."""
    deadline = time.monotonic() + PATIENCE
    while not (found := fact()):
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.01)
    return found


def php(job: Message) -> object:
    """Do what the function ``work`` does, as a worker in PHP."""
    params = job["params"]
    if params["task"] == "fail":
        raise ValueError(f"{params['value']} cannot be done")
    return {"place": "php", "value": params["value"]}


class Site:
    """The server, and who works for it.

    Args:
        vhost: RabbitMQ.
        folder: for the directories of all processes.
    """

    def __init__(self, vhost: Vhost, folder: Path) -> None:
        self.vhost = vhost
        self.clients, self.workers = free_port(), free_port()
        self._folder = folder
        self._stack = ExitStack()
        self.php = Worker(vhost.url, "php", php)
        self.application = WebApplication()
        self._stack.callback(self.application.close)
        self.far = self._server("far", FAR)
        self.server = self._server("server", NEAR, app="main")

    def open(self) -> None:
        """Start everything. On return there is somebody for every kind."""
        for server in (self.far, self.server):
            self._stack.enter_context(running(server))
        self._worker("http", self.server.url, app="main")
        self._worker("recodex", f"recodex+tcp://127.0.0.1:{self.workers}", app="main")
        self._worker("queue", f"jsonbus+{self.vhost.url}?node=queue", app="far")
        self._stack.enter_context(self.php)
        doors = {"svc.near.requests", "svc.far.requests", "svc.queue.jobs", "svc.php.results"}
        eventually(lambda: doors <= set(self.vhost.queues()), "the queues")
        eventually(lambda: {"http", "recodex"} <= self.groups(), "the workers elsewhere")

    def close(self) -> None:
        """End everything."""
        self._stack.close()

    def _place(self, name: str, text: str = "") -> Path:
        place = self._folder / name
        place.mkdir()
        values: dict[str, object] = {
            "slots": SLOTS,
            "inline": INLINE,
            "rabbit": self.vhost.url,
            "kinds": json.dumps([*PLACES]),
        }
        values |= {"clients": self.clients, "workers": self.workers, "application": self.application.url}
        values |= {"user": json.dumps(FILES[0]), "password": json.dumps(FILES[1])}
        values["far"] = "" if name == "far" else self.far.url
        (place / "crossdock.toml").write_text(text.format(**values))
        return place

    def _server(self, name: str, text: str, *, app: str = "far") -> Server:
        data, place = self._folder / f"{name}-data", self._place(name, text)
        return Server(f"{APP}:{app}", data, port=free_port(), cwd=place)

    def _worker(self, name: str, url: str, *, app: str) -> None:
        command = [CROSSDOCK, "worker", f"{APP}:{app}", "--connect", url, "--slots", str(SLOTS)]
        command += ["--hwgroup", name] if app == "main" else []
        self._stack.enter_context(running(Program(command, self._folder / f"{name}.log", self._place(name))))

    def groups(self) -> set[str]:
        """Return the hardware groups of the attached workers."""
        return {worker["group"] for worker in httpx.get(f"{self.server.url}/workers").json()["workers"]}
