"""A proxy that holds requests while the server behind it is away, as production proxies do.

The old LONGPOST clients give up at the first poll that cannot connect. Behind this they do not notice a restart.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import httpx


class Front:
    """Forwards POST requests to a server; use it in a ``with`` block.

    Args:
        server: the address of the server.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._turn = threading.Condition()
        self._passing = 0
        self._closed = False
        self._listener = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._listener.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._listener.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown()
        self._listener.server_close()

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Let what is on its way pass, then hold new requests until the block ends."""
        with self._turn:
            self._closed = True
            self._turn.wait_for(lambda: self._passing == 0)
        yield
        with self._turn:
            self._closed = False
            self._turn.notify_all()

    def forward(self, path: str, content: bytes) -> httpx.Response:
        """Pass a request on once the door is open."""
        with self._turn:
            self._turn.wait_for(lambda: not self._closed)
            self._passing += 1
        try:
            return httpx.post(self._server + path, content=content, headers={"Content-Type": "application/json"}, timeout=10)
        finally:
            with self._turn:
                self._passing -= 1
                self._turn.notify_all()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        front = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                reply = front.forward(self.path, self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(reply.status_code)
                self.send_header("Content-Type", reply.headers["Content-Type"])
                self.send_header("Content-Length", str(len(reply.content)))
                self.end_headers()
                self.wfile.write(reply.content)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
