"""The child's end of the socket: blocking, and safe to use from the threads of user code."""

import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Final

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import Progress
from crossdock.runners.function.context import Content, refuse_text
from crossdock.runners.function.frames import (
    Assembler,
    Cancel,
    FromChild,
    FromParent,
    Piece,
    Stored,
    Told,
    from_parent,
    head,
)

_READ: Final = 256 * 1024
_PIECE: Final = 256 * 1024
_QUIET: Final = 0.05
"""Seconds between two progress frames."""


class Link:
    """Frames over a socket. The parent's end of it is the parent's life: without it this process ends at once."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._assembler = Assembler()
        self._frames: deque[tuple[FromParent, bytes]] = deque()
        self._sending = threading.Lock()
        self._receiving = threading.Lock()
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def send(self, message: FromChild, body: bytes = b"") -> None:
        """Send one frame, waiting while the parent is slow."""
        start = head(message, len(body))
        with self._sending:
            self._socket.sendall(start + body if len(body) < _PIECE else start)
            if len(body) >= _PIECE:
                self._socket.sendall(body)

    def receive(self) -> tuple[FromParent, bytes]:
        """Return the next frame, waiting for it."""
        with self._receiving:
            while not self._frames:
                self._read()
            return self._frames.popleft()

    def peek_cancel(self, number: int) -> bool:
        """Tell, without waiting, whether a frame that cancels run ``number`` has come."""
        if not self._receiving.acquire(blocking=False):
            return False
        try:
            while self._poll.poll(0):
                self._read()
            return any(isinstance(message, Cancel) and message.number == number for message, _ in self._frames)
        finally:
            self._receiving.release()

    def _read(self) -> None:
        data = self._socket.recv(_READ)
        if not data:
            os._exit(0)
        self._frames.extend((from_parent.decode(text), body) for text, body in self._assembler.feed(data))


class ChildChannel:
    """What contexts in a child speak through, for one run."""

    def __init__(self, link: Link, number: int) -> None:
        self._link = link
        self._number = number
        self._cancelled = False
        self._lock = threading.Lock()
        self._storing = threading.Lock()
        self._held: Progress | None = None
        self._sent_at = -_QUIET
        self._flusher: threading.Thread | None = None
        self._over = threading.Event()

    @property
    def cancelled(self) -> bool:
        """Whether the run was asked to stop."""
        self._cancelled = self._cancelled or self._link.peek_cancel(self._number)
        return self._cancelled

    def progress(self, progress: Progress) -> None:
        """Send progress now, or hold it for a moment if the last was sent just before."""
        with self._lock:
            if self._over.is_set():
                return
            now = time.monotonic()
            if now - self._sent_at >= _QUIET:
                self._held, self._sent_at = None, now
                self._link.send(Told(progress=progress))
                return
            self._held = progress
            if self._flusher is None:
                # Only code that reports faster than people can read pays for this thread.
                self._flusher = threading.Thread(target=self._flush_often, daemon=True)
                self._flusher.start()

    def log(self, text: str) -> None:
        """Send a line, and before it the progress it follows."""
        with self._lock:
            if not self._over.is_set():
                self._flush()
                self._link.send(Told(log=text))

    def close(self) -> None:
        """Send what is held back; the run is over."""
        with self._lock:
            self._flush()
            self._over.set()

    def artifact(self, content: Content, media_type: str) -> dict[str, object]:
        """Stream an artifact to the parent and wait until it is at rest.

        Raises:
            CrossdockError: if it could not be stored.
        """
        with self._storing:
            for piece in _pieces(content):
                self._link.send(Piece(media_type), piece)
            self._link.send(Piece(media_type, last=True))
            stored = self._stored()
        if stored.code:
            raise CrossdockError(Code(stored.code), stored.message)
        return {"digest": stored.digest, "size": stored.size, "media_type": media_type}

    def _stored(self) -> Stored:
        while True:
            match self._link.receive():
                case Stored() as stored, _:
                    return stored
                case Cancel(number=self._number), _:
                    self._cancelled = True
                case _:
                    pass

    def _flush(self) -> None:
        if self._held is not None:
            self._link.send(Told(progress=self._held))
            self._held, self._sent_at = None, time.monotonic()

    def _flush_often(self) -> None:
        while not self._over.wait(_QUIET):
            with self._lock:
                self._flush()


def _pieces(content: Content) -> Iterator[bytes]:
    refuse_text(content)
    match content:
        case bytes():
            yield from (content[start : start + _PIECE] for start in range(0, len(content), _PIECE))
        case PathLike():
            with Path(content).open("rb") as file:
                while piece := file.read(_PIECE):
                    yield piece
        case Iterable():
            yield from map(bytes, content)
        case _:
            raise TypeError("a sync function makes artifacts of bytes, a Path or an ordinary iterable of bytes")
