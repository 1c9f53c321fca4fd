"""Runs kinds of jobs on workers behind a jobs queue of json-bus: to our worker it is a runner, to theirs a node.

A lease is pushed as a Job (or a Task), and its Result is waited for. ``attempt`` in the Job is the fence: what comes back
with another number changes nothing. Nobody can be asked to stop over this bus, so a job that is cancelled is abandoned.

The queue of foreign workers is the PHP library's. It is never declared here: as long as no worker has declared it, a push
comes back, and the job waits for a worker instead of wearing out its attempts in a queue that nobody reads.

What a crash can do, and nothing else: between a push and the record of it, the same attempt is pushed again and may run
twice, and one Result of it counts. Between a Result and the end of its job, RabbitMQ delivers the Result again. While
nobody waits, Results of what is on record are kept there for whoever runs the job next.
"""

from typing import Any, Final

import structlog

from crossdock.core.counters import Counters
from crossdock.core.errors import CrossdockError
from crossdock.core.identifiers import encode_id
from crossdock.core.jobs import Lease, Outcome, OutcomeKind
from crossdock.core.ports import Artifacts, Attempt, Clock, Records
from crossdock.protocols.jsonbus.backend_jobs import Assignment, answer_of, assignment_letter
from crossdock.protocols.jsonbus.bus import Bus, Delivery
from crossdock.protocols.jsonbus.codec import decode
from crossdock.protocols.jsonbus.letters import attempt_of
from crossdock.protocols.jsonbus.messages import Result
from crossdock.protocols.jsonbus.names import jobs_queue, results_queue
from crossdock.protocols.jsonbus.options import BackendOptions
from crossdock.protocols.jsonbus.pieces import Piece, run_pieces
from crossdock.protocols.jsonbus.pushing import Patience, push
from crossdock.protocols.jsonbus.return_queue import ReturnQueue
from crossdock.protocols.jsonbus.sent_records import Sent, SentRecords
from crossdock.protocols.jsonbus.topology import JOBS, Part, bus, own_queue
from crossdock.protocols.jsonbus.waiting import Arrival, Awaited, Stop, Waiting

SPACE: Final = "jsonbus.pushed"
"""Records of jobs that were pushed, by their ids."""

_AFTERWARDS: Final = 3600.0
"""Seconds that a Result is waited for after its lease, as a late success is better than none."""
_PREFETCH: Final = 200
_CANCELLED: Final = Outcome(kind=OutcomeKind.CANCELLED, code="cancelled")

_log: Final[Any] = structlog.get_logger("crossdock.jsonbus")


def backend_parts(options: BackendOptions) -> tuple[Part, ...]:
    """Return the exchanges and queues that a backend needs. The queue of foreign workers is theirs to declare."""
    results = own_queue(results_queue(options.name), options.results_key)
    if options.foreign:
        return bus(), *results
    return *results, *own_queue(jobs_queue(options.name), options.jobs_key, exchange=JOBS)


class JsonbusRunner:
    """Implements :class:`~crossdock.core.ports.Runner` with hands behind a jobs queue.

    Its worker has to be a local one with as many slots as ``options`` says, and its kinds those of ``backend_kind``.

    Args:
        options: the backend.
        bus: RabbitMQ.
        records: where what was pushed is remembered.
        artifacts: where large Results rest that nobody waits for.
        clock: the time.
        counters: where oddities are counted.
        patience: the pauses while a job cannot be pushed.
    """

    def __init__(
        self,
        options: BackendOptions,
        bus: Bus,
        records: Records,
        artifacts: Artifacts,
        clock: Clock,
        *,
        counters: Counters | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.counters = counters or Counters(clock.monotonic, _log.warning)
        self._options = options
        self._bus = bus
        self._clock = clock
        self._patience = patience or Patience()
        sent = SentRecords(SPACE, records, clock, options.lease + _AFTERWARDS)
        self._waiting = Waiting(sent, artifacts, clock, self.counters, exact=True)
        self._returns = ReturnQueue(bus, results_queue(options.name), self._waiting, self.counters)

    async def start(self) -> None:
        """Declare what is needed and begin to take Results."""
        prefetch = max(_PREFETCH, 4 * self._options.slots)
        self._returns.start(backend_parts(self._options), self._receive, prefetch)

    async def run(self, lease: Lease, attempt: Attempt) -> Outcome:
        """Run a lease, whose payload has to be loaded, to its end. Cancelling this leaves the Result to the next run."""
        task = encode_id(lease.job)

        async def run(piece: Piece) -> Outcome:
            assignment = Assignment(piece.name, task, piece.number, piece.payload, lease.kind)
            return await self._run(assignment, lease.timeout, attempt)

        return await run_pieces(lease, attempt, run)

    async def stop(self) -> None:
        """Take no more Results."""
        await self._returns.stop()

    # One attempt

    async def _run(self, assignment: Assignment, limit: float | None, attempt: Attempt) -> Outcome:
        waiting = self._waiting
        awaited = waiting.expect(assignment.name, assignment.number, attempt, limit)
        try:
            sent = await waiting.sent.find(assignment.name)
            if sent is not None and sent.answer is not None and (sent.number == assignment.number or sent.answer.good):
                return self._settle(awaited, Arrival(sent.answer))
            return await self._push_and_wait(assignment, sent, awaited)
        finally:
            waiting.leave(awaited)

    async def _push_and_wait(self, assignment: Assignment, sent: Sent | None, awaited: Awaited) -> Outcome:
        waiting, lease = self._waiting, self._options.lease
        if sent is not None and sent.number == assignment.number:
            awaited.sent = True
            waiting.limit(awaited, waiting.sent.left(sent, lease))
        else:
            failed = await self._push(assignment, awaited)
            if failed is not None:
                return failed
            waiting.sent.remember(assignment.name, assignment.number)
            waiting.limit(awaited, lease)
        match await awaited.ended:
            case Arrival() as arrival:
                return self._settle(awaited, arrival)
            case Stop.CANCELLED:
                waiting.sent.forget(assignment.name)
                return _CANCELLED
            case Stop.TIMED_OUT:
                text = f"no result came within {lease:g} s of the push"
                return Outcome(kind=OutcomeKind.TIMED_OUT, code="timeout", message=text)

    async def _push(self, assignment: Assignment, awaited: Awaited) -> Outcome | None:
        key = self._options.jobs_key
        try:
            pushed = assignment_letter(assignment, self._options, self._clock.wall())
        except CrossdockError as error:
            return Outcome(kind=OutcomeKind.FAILED, code=error.code, message=error.message)
        nobody = f"no worker of the backend {self._options.name!r} is there: no queue is bound under {key!r}"
        return await push(self._bus, pushed, awaited, self._patience, nobody)

    # Results

    def _receive(self, delivery: Delivery) -> None:
        message = decode(delivery.body)
        if not isinstance(message, Result) or message.job.status == "new":
            self._returns.bury(delivery, message, "a result that cannot be used", "it is no result of a job that has ended")
            return
        job = message.job
        # Whoever got a Task has made a job of it, and its id is known to nobody else.
        wrapped = self._options.message == "task" and not self._waiting.waits(job.id)
        number = attempt_of(delivery.headers) if job.attempt is None else job.attempt
        self._waiting.receive(
            job.task_id if wrapped else job.id, number, answer_of(message, lists=self._options.lists), delivery
        )

    def _settle(self, awaited: Awaited, arrival: Arrival) -> Outcome:
        self._waiting.settle(awaited, arrival)
        answer = arrival.answer
        if answer.good:
            return Outcome(kind=OutcomeKind.SUCCEEDED, result=answer.data)
        kind = OutcomeKind.FAILED if answer.final else OutcomeKind.ERRORED
        return Outcome(kind=kind, code=answer.code, message=answer.message)
