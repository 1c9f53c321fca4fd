"""A worker that knows no more than any ReCodEx worker: it gets an archive from one URL and puts results to another."""

import threading
import time
from typing import Self

import httpx
import zmq

from acceptance.matrix_site import FILES, PATIENCE

PING = 0.5
BAD = b"it does not compile"


def results_of(submission: bytes) -> bytes:
    """Return the archive that the worker puts for the one it got."""
    return b"results of " + submission


class PlainWorker(threading.Thread):
    """The worker. Use it as a context manager; what it ended with stays in ``error``.

    Args:
        port: the workers' door.
    """

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.error: BaseException | None = None
        self._port = port
        self._ends = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self.join(PATIENCE)
        assert self.error is None, self.error

    def run(self) -> None:
        try:
            with zmq.Context() as context, context.socket(zmq.DEALER) as socket, httpx.Client(auth=FILES) as http:
                socket.linger = 0
                socket.connect(f"tcp://127.0.0.1:{self._port}")
                self._work(socket, http)
        except BaseException as error:
            self.error = error

    def _work(self, socket: zmq.Socket, http: httpx.Client) -> None:
        socket.send_multipart([b"init", b"plain", b"env=c"])
        pinged = time.monotonic()
        while not self._ends.is_set():
            if time.monotonic() - pinged > PING:
                socket.send_multipart([b"ping"])
                pinged = time.monotonic()
            if not socket.poll(50):
                continue
            command, *rest = socket.recv_multipart()
            if command == b"eval":
                socket.send_multipart([b"done", rest[0], *_evaluate(http, rest[1].decode(), rest[2].decode())])


def _evaluate(http: httpx.Client, archive: str, results: str) -> list[bytes]:
    submission = http.get(archive).raise_for_status().content
    if submission == BAD:
        return [b"FAILED", BAD]
    http.put(results, content=results_of(submission)).raise_for_status()
    return [b"OK", b""]
