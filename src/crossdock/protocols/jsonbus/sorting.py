"""Deliveries, taken out of the bytes of a connection; everything else is for the AMQP library. No input or output.

The library hands every frame through two queues and makes a task of every delivery, which costs more than all that follows,
and it gives up the connection over properties that it cannot read.
"""

import struct
from collections.abc import Callable
from typing import Final

import pamqp.frame
from msgspec import Struct
from pamqp import commands
from pamqp.base import Frame
from pamqp.exceptions import PAMQPException

_FRAME: Final = struct.Struct(">BHI")
_METHOD, _HEADER, _BODY, _HEARTBEAT = 1, 2, 3, 8
_KINDS: Final = frozenset((_METHOD, _HEADER, _BODY, _HEARTBEAT))
_END: Final = 0xCE
_DELIVER: Final = struct.pack(">HH", 60, 60)
_TAG: Final = struct.Struct(">QB")
_SIZE: Final = struct.Struct(">Q")
_SIZE_AT: Final = 4
"""Where a content header has the size of the body."""

Overhear = Callable[[Frame], None]


class Arrived(Struct, frozen=True, gc=False):
    """A delivery: its number on the channel, its routing key, and its properties as they came."""

    tag: int
    redelivered: bool
    key: str
    properties: bytes
    body: bytes


Take = Callable[[Arrived], None]


class _Begun(Struct, gc=False):
    """A delivery of which some frames are still to come; ``left`` are bytes of its body, -1 before its header."""

    method: bytes
    header: bytes = b""
    left: int = -1
    pieces: list[bytes] = []


class Sorter:
    """Sorts the frames of one connection.

    Args:
        overhear: is given what RabbitMQ says about the whole connection: blocked, unblocked, close.
    """

    def __init__(self, overhear: Overhear) -> None:
        self._overhear = overhear
        self._takers: dict[int, Take] = {}
        self._begun: dict[int, _Begun] = {}
        self._held = bytearray()
        self._odd = False
        """Whether something came that is no frame; the library knows what to say about that."""

    def divert(self, channel: int, take: Take) -> None:
        """Give what is delivered on a channel to ``take``, which must not raise."""
        self._takers[channel] = take
        self._begun.pop(channel, None)

    def leave(self, channel: int, take: Take) -> None:
        """Divert nothing more, unless the number has become that of another channel."""
        if self._takers.get(channel) == take:
            del self._takers[channel]
            self._begun.pop(channel, None)

    def sort(self, data: bytes) -> bytes:
        """Take bytes of the socket, and return those for the library: whole frames."""
        if self._odd:
            return data
        if self._held:
            self._held += data
            data = bytes(self._held)
            self._held.clear()
        rest: list[bytes] = []
        place = kept = 0
        try:
            while ends := _end(data, place):
                if self._ours(data, place, ends):
                    rest.append(data[kept:place])
                    kept = ends
                place = ends
        except (ValueError, IndexError, struct.error):
            self._odd, place = True, len(data)
        self._held += data[place:]
        rest.append(data[kept:place])
        return b"".join(rest)

    def _ours(self, data: bytes, place: int, ends: int) -> bool:
        """Look at a frame; tell whether it is not for the library."""
        kind, channel, _ = _FRAME.unpack_from(data, place)
        if channel in self._takers:
            return self._divert(kind, channel, data[place + _FRAME.size : ends - 1])
        if kind == _METHOD and not channel:
            self._listen(data[place:ends])
        return False

    def _divert(self, kind: int, channel: int, payload: bytes) -> bool:
        """Take a frame that belongs to a delivery; tell whether it does."""
        if kind == _METHOD:
            if not payload.startswith(_DELIVER):
                return False
            self._begun[channel] = _Begun(payload)
            return True
        begun = self._begun.get(channel)
        if begun is None:
            return False
        if kind == _HEADER:
            begun.header = payload
            (begun.left,) = _SIZE.unpack_from(payload, _SIZE_AT)
        else:
            begun.pieces.append(payload)
            begun.left -= len(payload)
        if not begun.left:
            del self._begun[channel]
            self._takers[channel](_arrived(begun))
        return True

    def _listen(self, frame: bytes) -> None:
        try:
            content = pamqp.frame.unmarshal(frame)[2]
        except PAMQPException:
            return  # the library says so when it comes to it
        if isinstance(content, commands.Connection.Blocked | commands.Connection.Unblocked | commands.Connection.Close):
            self._overhear(content)


def _end(data: bytes, place: int) -> int:
    """Return where a frame ends, 0 if more has to come. Raises ValueError if it is none."""
    if len(data) < place + _FRAME.size:
        return 0
    kind, _, size = _FRAME.unpack_from(data, place)
    ends = place + _FRAME.size + size + 1
    if kind not in _KINDS:
        raise ValueError(f"a frame of kind {kind}")
    if ends > len(data):
        return 0
    if data[ends - 1] != _END:
        raise ValueError("a frame without its end")
    return ends


def _arrived(begun: _Begun) -> Arrived:
    method, pieces = begun.method, begun.pieces
    place = _SIZE_AT + 1 + method[_SIZE_AT]  # behind the consumer's tag
    tag: int
    redelivered: int
    tag, redelivered = _TAG.unpack_from(method, place)
    place += _TAG.size
    place += 1 + method[place]  # behind the exchange
    key = method[place + 1 : place + 1 + method[place]].decode("utf-8", "replace")
    body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    return Arrived(tag, bool(redelivered & 1), key, begun.header, body)
