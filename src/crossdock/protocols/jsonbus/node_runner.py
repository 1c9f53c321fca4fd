"""Asks other nodes: to our worker it is a runner, to the node a client.

A job of a kind that a node answers for becomes a Request, whose Notification is waited for. The id of the Request follows
from the job's, so one that is repeated is the same one to the node: after a crash, when the connection was lost, and when
the answer took too long. Answers that nobody waits for when they come are kept for whoever runs the job next.
"""

from typing import Any, Final
from uuid import UUID, uuid5

import msgspec
import structlog
from msgspec import Struct

from crossdock.core.counters import Counters
from crossdock.core.documents import load
from crossdock.core.errors import CrossdockError
from crossdock.core.jobs import Lease, Outcome, OutcomeKind
from crossdock.core.ports import Artifacts, Attempt, Clock, Records
from crossdock.http.egress import Egress
from crossdock.protocols.jsonbus import hops
from crossdock.protocols.jsonbus.bus import Bus, Delivery, Letter
from crossdock.protocols.jsonbus.codec import decode
from crossdock.protocols.jsonbus.collecting import Collector
from crossdock.protocols.jsonbus.json_text import listed
from crossdock.protocols.jsonbus.letters import letter
from crossdock.protocols.jsonbus.messages import Notification, Request
from crossdock.protocols.jsonbus.names import answers_queue, notify_key, request_key
from crossdock.protocols.jsonbus.options import AskOptions
from crossdock.protocols.jsonbus.payloads import data_of
from crossdock.protocols.jsonbus.pieces import Piece, run_pieces
from crossdock.protocols.jsonbus.pushing import Patience, push
from crossdock.protocols.jsonbus.result_reference import reference_of
from crossdock.protocols.jsonbus.return_queue import ReturnQueue
from crossdock.protocols.jsonbus.sent_records import Answer, SentRecords
from crossdock.protocols.jsonbus.topology import Part, own_queue
from crossdock.protocols.jsonbus.waiting import Arrival, Awaited, Stop, Waiting

SPACE: Final = "jsonbus.asked"
"""Records of requests that were sent, by their ids."""

_NAMESPACE: Final = UUID("c0a9f2e6-3b44-5d0b-9c39-6b7d1f0f5a20")
_KEEP: Final = 2 * 86400.0
_NOBODY: Final = 30.0
"""Seconds that a node's queue may be missing: one that is started again is soon back."""
_CANCELLED: Final = Outcome(kind=OutcomeKind.CANCELLED, code="cancelled")

_log: Final[Any] = structlog.get_logger("crossdock.jsonbus")
_NULL: Final = b"null"


def ask_parts(options: AskOptions) -> tuple[Part, ...]:
    """Return the exchanges and queues that it takes to ask other nodes."""
    return own_queue(answers_queue(options.node), notify_key(options.node))


def request_id(name: str) -> str:
    """Return the id of the request that is sent for a job, or a member of an array, by the text of its id."""
    return str(uuid5(_NAMESPACE, name))


class NodeRunner:
    """Implements :class:`~crossdock.core.ports.Runner` by asking the node that a kind is named after.

    Its worker has to be a local one, and its kinds those of ``node_kind``. Thousands may wait at once.

    Args:
        options: our name, and what the nodes are called by.
        bus: RabbitMQ.
        records: where what was asked is remembered.
        artifacts: where large answers rest.
        clock: the time.
        egress: where data may be fetched from that an answer names by a URL.
        counters: where oddities are counted.
        patience: the pauses while a node cannot be asked.
    """

    def __init__(
        self,
        options: AskOptions,
        bus: Bus,
        records: Records,
        artifacts: Artifacts,
        clock: Clock,
        egress: Egress,
        *,
        counters: Counters | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.counters = counters or Counters(clock.monotonic, _log.warning)
        self._options = options
        self._bus = bus
        self._records = records
        self._artifacts = artifacts
        self._patience = patience or Patience(nobody=_NOBODY)
        self._collector = Collector(artifacts, egress, options.largest)
        self._waiting = Waiting(SentRecords(SPACE, records, clock, _KEEP), artifacts, clock, self.counters, exact=False)
        self._returns = ReturnQueue(bus, answers_queue(options.node), self._waiting, self.counters)

    async def start(self) -> None:
        """Declare what is needed and begin to take answers."""
        self._returns.start(ask_parts(self._options), self._receive, self._options.prefetch)

    async def run(self, lease: Lease, attempt: Attempt) -> Outcome:
        """Run a lease, whose payload has to be loaded, to its end. Cancelling this leaves the answer to the next run."""
        behind = await hops.read(self._records, lease.job) + 1
        if behind > hops.LIMIT:
            text = f"the request has passed {behind - 1} nodes: they need each other in a circle"
            return Outcome(kind=OutcomeKind.FAILED, code="circle", message=text)
        return await run_pieces(lease, attempt, lambda piece: self._run(piece, behind, lease, attempt))

    async def stop(self) -> None:
        """Take no more answers."""
        await self._returns.stop()
        await self._collector.close()

    # One request

    async def _run(self, piece: Piece, behind: int, lease: Lease, attempt: Attempt) -> Outcome:
        waiting = self._waiting
        name = request_id(piece.name)
        awaited = waiting.expect(name, lease.attempt, attempt, lease.timeout)
        try:
            sent = await waiting.sent.find(name)
            if sent is not None and sent.answer is not None:
                return await self._settle(awaited, Arrival(sent.answer), lease.kind)
            if sent is not None and sent.number == lease.attempt:
                awaited.sent = True
                waiting.limit(awaited, None if lease.timeout is None else waiting.sent.left(sent, lease.timeout))
            elif (failed := await self._ask(name, piece.payload, behind, lease.kind, awaited)) is not None:
                return failed
            else:
                waiting.sent.remember(name, lease.attempt)
            return await self._wait(awaited, lease)
        finally:
            waiting.leave(awaited)

    async def _wait(self, awaited: Awaited, lease: Lease) -> Outcome:
        match await awaited.ended:
            case Arrival() as arrival:
                return await self._settle(awaited, arrival, lease.kind)
            case Stop.CANCELLED:
                self._waiting.sent.forget(awaited.name)
                return _CANCELLED
            case Stop.TIMED_OUT:
                text = f"the node {lease.kind!r} did not answer within {lease.timeout or 0:g} s"
                return Outcome(kind=OutcomeKind.TIMED_OUT, code="timeout", message=text)

    async def _ask(self, name: str, payload: bytes, behind: int, node: str, awaited: Awaited) -> Outcome | None:
        key = self._options.keys.get(node) or request_key(node)
        try:
            asked = self._letter(name, payload, behind, node, key)
        except CrossdockError as error:
            return Outcome(kind=OutcomeKind.FAILED, code=error.code, message=error.message)
        nobody = f"the node {node!r} is not there: no queue is bound under {key!r}"
        return await push(self._bus, asked, awaited, self._patience, nobody)

    def _letter(self, name: str, payload: bytes, behind: int, node: str, key: str) -> Letter:
        request = Request(
            id=name,
            client_id=self._options.node,
            subject=self._options.subjects.get(node) or node,
            params=payload,
            data=data_of(payload),
        )
        return letter(request, key, headers={hops.HEADER: behind})

    # Answers

    def _receive(self, delivery: Delivery) -> None:
        message = decode(delivery.body)
        if not isinstance(message, Notification):
            self._returns.bury(delivery, message, "an answer that cannot be used", "it is no notification")
            return
        self._waiting.receive(message.request_id, None, _answer_of(message), delivery)

    async def _settle(self, awaited: Awaited, arrival: Arrival, node: str) -> Outcome:
        answer = arrival.answer
        if not answer.good:
            text = answer.message or f"the node {node!r} says that it failed"
            outcome = Outcome(kind=OutcomeKind.FAILED, code=answer.code or "node_failed", message=text)
        else:
            outcome = await self._success(awaited.name, answer, node)
        self._waiting.settle(awaited, arrival)
        return outcome

    async def _success(self, name: str, answer: Answer, node: str) -> Outcome:
        data = _NULL if answer.data is None else await load(self._artifacts, answer.data)
        reference = reference_of(Notification(request_id=name, status="success", message="", data=data))
        if reference is None:
            return Outcome(kind=OutcomeKind.SUCCEEDED, result=listed(data) if node in self._options.lists else data)
        try:
            return Outcome(kind=OutcomeKind.SUCCEEDED, result=await self._collector.fetch(reference))
        except CrossdockError as error:
            # Asked again, the node names a URL that is valid for some time more.
            text = f"the result of the node {node!r} cannot be fetched: {error.message}"
            return Outcome(kind=OutcomeKind.ERRORED, code=error.code, message=text)


class _Coded(Struct):
    """What the data of a failure may say to programs."""

    code: str = ""


def _answer_of(notification: Notification) -> Answer:
    if notification.status == "success":
        return Answer(good=True, data=notification.data)
    try:
        coded = _coded.decode(notification.data or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        coded = _Coded()
    return Answer(good=False, message=notification.message, code=coded.code)


_coded: Final = msgspec.json.Decoder(_Coded)
