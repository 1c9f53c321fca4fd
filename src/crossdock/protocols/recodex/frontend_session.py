"""The clients' door as a pure machine: messages in, effects out, facts in, replies out.

Replies carry no job id, so clients match them by order. A peer's replies therefore leave in the order of its requests, those
to one request side by side, however its jobs overtake one another on their way to the disk.
"""

from collections import deque
from itertools import count
from typing import Final

from msgspec import Struct

from crossdock.protocols.recodex.messages import (
    Accept,
    Ack,
    Eval,
    Freeze,
    FromClient,
    GetStats,
    Malformed,
    Reject,
    Stats,
    ToClient,
    Unfreeze,
    Unknown,
)
from crossdock.protocols.recodex.translation import FROZEN, refusal


class Send(Struct, frozen=True, gc=False):
    """Send a reply."""

    peer: bytes
    message: ToClient


class Offer(Struct, frozen=True, gc=False):
    """Make a job of this, if that is possible. Fact: :class:`Accept` or :class:`Reject`."""

    ticket: int
    message: Eval


class Keep(Struct, frozen=True, gc=False):
    """Write on the disk whether the broker is frozen. Fact: :class:`Ack`, or None if that failed."""

    ticket: int
    frozen: bool


class Look(Struct, frozen=True, gc=False):
    """Read the counters. Fact: :class:`Stats`."""

    ticket: int


class Complain(Struct, frozen=True, gc=False):
    """Count and log what a peer did wrong."""

    peer: bytes
    name: str
    reason: str


Effect = Send | Offer | Keep | Look | Complain


class _Exchange:
    """One request and its replies: those that may leave, and whether the last one is among them."""

    __slots__ = ("done", "peer", "replies")

    def __init__(self, peer: bytes) -> None:
        self.peer = peer
        self.replies: list[ToClient] = []
        self.done = False


_LONGEST: Final = 1000
"""Characters that the text of a rejection may have: it may quote what the client sent, which may be very long."""
_IS_FROZEN: Final = {False: "0", True: "1"}


class FrontendSession:
    """What the frontend knows of its clients: whom it still owes which replies, and whether jobs are accepted.

    Args:
        frozen: whether the broker was frozen when it ended.
    """

    def __init__(self, *, frozen: bool = False) -> None:
        self.frozen = frozen
        self._tickets = count(1)
        self._open: dict[int, _Exchange] = {}
        self._queues: dict[bytes, deque[_Exchange]] = {}
        self._queued = 0

    @property
    def unsettled(self) -> int:
        """How many requests wait for a fact, or for their turn behind one that does."""
        return self._queued

    def receive(self, peer: bytes, message: FromClient) -> list[Effect]:
        """Take a message."""
        if isinstance(message, Unknown):
            return [Complain(peer, "unknown command", repr(message.command))]
        if isinstance(message, Malformed):
            return self._malformed(peer, message)
        exchange = _Exchange(peer)
        if not isinstance(message, Eval):
            effects: list[Effect] = [self._command(message, self._ticket(exchange))]
            self._append(exchange)
            return effects
        if message.separated:
            exchange.replies.append(Ack())
        reason = FROZEN if self.frozen else refusal(message)
        offered: list[Effect] = []
        if reason is None:
            offered.append(Offer(self._ticket(exchange), message))
        else:
            exchange.replies.append(Reject(reason))
            exchange.done = True
        return [*self._queue(exchange), *offered]

    def settle(self, ticket: int, reply: Accept | Reject | Stats | Ack | None) -> list[Effect]:
        """Take a fact: the last reply to a request, None if there is none."""
        exchange = self._open.pop(ticket)
        if isinstance(reply, Stats):
            reply = Stats((*reply.values, ("is-frozen", _IS_FROZEN[self.frozen])))
        elif isinstance(reply, Reject) and len(reply.text) > _LONGEST:
            reply = Reject(f"{reply.text[:_LONGEST]}...")
        if reply is not None:
            exchange.replies.append(reply)
        exchange.done = True
        return self._flush(exchange.peer)

    def _malformed(self, peer: bytes, message: Malformed) -> list[Effect]:
        exchange = _Exchange(peer)
        exchange.done = True
        if message.separated:
            exchange.replies.append(Ack())
        exchange.replies.append(Reject(f"Malformed message: {message.reason}."))
        return [Complain(peer, "malformed message", message.reason), *self._queue(exchange)]

    def _command(self, message: GetStats | Freeze | Unfreeze, ticket: int) -> Effect:
        if isinstance(message, GetStats):
            return Look(ticket)
        self.frozen = isinstance(message, Freeze)
        return Keep(ticket, self.frozen)

    def _ticket(self, exchange: _Exchange) -> int:
        ticket = next(self._tickets)
        self._open[ticket] = exchange
        return ticket

    def _queue(self, exchange: _Exchange) -> list[Effect]:
        self._append(exchange)
        return self._flush(exchange.peer)

    def _append(self, exchange: _Exchange) -> None:
        self._queues.setdefault(exchange.peer, deque()).append(exchange)
        self._queued += 1

    def _flush(self, peer: bytes) -> list[Effect]:
        """Send what is next in turn for a peer."""
        queue = self._queues.get(peer)
        sent: list[Effect] = []
        while queue:
            head = queue[0]
            sent += [Send(peer, reply) for reply in head.replies]
            head.replies.clear()
            if not head.done:
                return sent
            queue.popleft()
            self._queued -= 1
        self._queues.pop(peer, None)
        return sent
