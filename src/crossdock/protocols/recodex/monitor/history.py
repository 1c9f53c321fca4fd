"""What was told on one channel so far, as WebSocket frames for whoever comes later."""

from collections.abc import Iterable
from typing import Final

from websockets.frames import Frame, Opcode

from crossdock.protocols.recodex.monitor.messages import PROGRESS

_MOST: Final = 16 * 1024 * 1024
"""Bytes that are kept."""
_PROGRESS_TEXT: Final = f'{{"command": "{PROGRESS}"'


class History:
    """Frames by position, which only grows.

    Frames from a server are not masked and ours are not compressed, so they are the same for everybody and made once. Of
    ``PROGRESS`` only the newest is kept; of everything the oldest goes when it is too much. What goes leaves an empty place.
    """

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._size = 0
        self._oldest = 0
        self._progress: int | None = None

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, texts: Iterable[str]) -> bytes:
        """Add messages; return their frames."""
        added = b"".join([self._add(text) for text in texts])
        while self._size > _MOST:
            self._forget(self._oldest)
            self._oldest += 1
        return added

    def read(self, position: int, most: int) -> tuple[bytes, int]:
        """Return the frames from a position on, about ``most`` bytes of them, and the position behind them."""
        data = bytearray()
        while position < len(self._frames) and len(data) < most:
            data += self._frames[position]
            position += 1
        return bytes(data), position

    def _add(self, text: str) -> bytes:
        frame = Frame(Opcode.TEXT, text.encode()).serialize(mask=False)
        if text.startswith(_PROGRESS_TEXT):
            if self._progress is not None:
                self._forget(self._progress)
            self._progress = len(self._frames)
        self._frames.append(frame)
        self._size += len(frame)
        return frame

    def _forget(self, position: int) -> None:
        self._size -= len(self._frames[position])
        self._frames[position] = b""
