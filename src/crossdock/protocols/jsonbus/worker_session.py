"""What a worker holds of a jobs queue: who has which job, what runs already, and when a delivery is settled.

A delivery is acknowledged once the broker has confirmed the result, so that a worker that dies loses none. RabbitMQ closes
the channel of a delivery that nobody acknowledges for half an hour. A job that runs for long is therefore acknowledged while
it runs; from then on the node's own lease decides. The time is an argument, in seconds that never go back.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

import structlog
from msgspec import Struct

from crossdock.core.errors import CrossdockError
from crossdock.core.jobs import Lease, Outcome, OutcomeKind
from crossdock.protocols.jsonbus.bus import Delivery
from crossdock.protocols.jsonbus.codec import decode
from crossdock.protocols.jsonbus.messages import Job, Result
from crossdock.protocols.jsonbus.worker_address import WorkerAddress
from crossdock.protocols.jsonbus.worker_jobs import Work, job_of, number_of, result_of, work_of

LEASE_LENGTH: Final = 60.0
"""Seconds that a lease says it lasts. Nobody counts them: it stands as long as this session says so."""
BOUNCE: Final = 10.0
"""Seconds after which a job of a foreign queue goes back that no slot has got free for. Such a queue cannot be told to send
nothing, and counts no deliveries; where both can be done, a job waits."""
_REMEMBERED: Final = 1000
"""Attempts that have ended and may be delivered once more, as their acknowledgement got lost."""
_UNTOLD: Final = Work("", b"{}")
"""What a job asks for that does not say what it is; how it ends is known before it begins."""

_log: Final[Any] = structlog.get_logger("crossdock.worker")


class _Held(Struct, eq=False):
    token: int
    job: Job
    delivery: Delivery
    since: float
    waits: float
    work: Work
    refusal: Outcome | None = None
    claimed: bool = False
    acknowledged: bool = False

    def acknowledge(self) -> None:
        self.delivery.accept()
        self.acknowledged = True


class WorkerSession:
    """The jobs of one worker at one jobs queue.

    Args:
        address: how jobs are to be understood and for how long they may stay unacknowledged.
        kinds: what the worker can do.
    """

    def __init__(self, address: WorkerAddress, kinds: Sequence[str]) -> None:
        self._address = address
        self._kinds = kinds
        self._tokens = 0
        self._held: dict[int, _Held] = {}
        self._by_id: dict[str, _Held] = {}
        self._ended: OrderedDict[tuple[str, int], None] = OrderedDict()
        self.leaving = False
        """Whether nothing more is taken."""

    @property
    def acknowledged(self) -> int:
        """How many jobs take a slot without a delivery that counts as unsettled at the broker."""
        return sum(held.acknowledged for held in self._held.values())

    @property
    def waiting(self) -> bool:
        """Whether there is a job that nobody has claimed."""
        return any(not held.claimed for held in self._held.values())

    def receive(self, delivery: Delivery, now: float, *, foreign: bool = False) -> None:
        """Take a delivery in: a job to be done, one that runs already, or something that has no place in the queue."""
        if self.leaving:
            delivery.reject(requeue=True)
            return
        try:
            job = job_of(decode(delivery.body))
        except CrossdockError as error:
            _log.error("a message in the jobs queue was refused", reason=error.message, key=delivery.key)
            delivery.reject(requeue=False)
            return
        if not self._known(job, delivery):
            waits = min(BOUNCE, self._address.ack_after) if foreign else self._address.ack_after
            self._hold(job, delivery, now, waits)

    def next_leases(self, limit: int) -> list[Lease]:
        """Return up to ``limit`` jobs that nobody has claimed, in the order they came."""
        found = [held for held in self._held.values() if not held.claimed][:limit]
        for held in found:
            held.claimed = True
        return [_lease(held) for held in found]

    def alive(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """Return those tokens that are still leases."""
        return tuple(token for token in tokens if token in self._held)

    def expire(self, now: float) -> None:
        """Acknowledge what has run for so long that RabbitMQ would soon take it back; give back what did not begin."""
        for held in list(self._held.values()):
            age = now - held.since
            if not held.claimed and age >= held.waits:
                self._give_back(held)
            elif not held.acknowledged and age >= self._address.ack_after:
                held.acknowledge()

    def answer(self, token: int, outcome: Outcome) -> Result | None:
        """Return what is to be published of an end before it is :meth:`settled`.

        None says that there is nothing to publish: the token is no lease any more, or the job was given back.
        """
        held = self._held.get(token)
        if held is None:
            return None
        if outcome.kind is OutcomeKind.RELEASED and not held.acknowledged:
            self._give_back(held)
            return None
        return result_of(held.job, held.refusal or outcome)

    def settled(self, token: int) -> None:
        """Note that the broker has confirmed the result of a job: its delivery is done with."""
        held = self._held.get(token)
        if held is None:
            return
        self._drop(held)
        if not held.acknowledged:
            held.acknowledge()
        if held.job.attempt is not None:
            self._ended[held.job.id, held.job.attempt] = None
            if len(self._ended) > _REMEMBERED:
                self._ended.popitem(last=False)

    def pause(self) -> None:
        """Take nothing more, and give back what nobody has claimed."""
        self.leaving = True
        for held in list(self._held.values()):
            if not held.claimed:
                self._give_back(held)

    def leave(self) -> None:
        """Take nothing more, and give back everything that has not ended."""
        self.leaving = True
        for held in list(self._held.values()):
            self._give_back(held)

    def _known(self, job: Job, delivery: Delivery) -> bool:
        """Deal with a job that we know already; return False if it is to be done."""
        if job.attempt is not None and (job.id, job.attempt) in self._ended:
            delivery.accept()
            return True
        held = self._by_id.get(job.id)
        if held is None:
            return False
        if _newer(job, held.job):
            # The node has given the old attempt up: its result would count no more.
            self._drop(held)
            held.delivery.accept()
            return False
        if job.attempt != held.job.attempt or held.acknowledged:
            delivery.accept()
        else:
            # The connection was lost, and with it the old delivery; or the node was too impatient to wait.
            held.delivery.accept()
            held.delivery = delivery
        return True

    def _hold(self, job: Job, delivery: Delivery, now: float, waits: float) -> None:
        refusal = None
        try:
            work = work_of(job, self._kinds, self._address.kind, lists=self._address.lists)
        except CrossdockError as error:
            work, refusal = _UNTOLD, _refusal(error.message)
        else:
            if work.kind not in self._kinds:
                known = ", ".join(sorted(self._kinds))
                refusal = _refusal(f"this worker has no kind {work.kind!r}; it has {known}")
        self._tokens += 1
        held = _Held(self._tokens, job, delivery, now, waits, work, refusal)
        self._held[held.token] = self._by_id[job.id] = held

    def _give_back(self, held: _Held) -> None:
        self._drop(held)
        if not held.acknowledged:
            held.delivery.reject(requeue=True)

    def _drop(self, held: _Held) -> None:
        del self._held[held.token]
        del self._by_id[held.job.id]


def _lease(held: _Held) -> Lease:
    return Lease(
        job=number_of(held.job),
        token=held.token,
        attempt=held.job.attempt or 1,
        kind=held.work.kind,
        payload=held.work.payload,
        length=LEASE_LENGTH,
    )


def _newer(job: Job, than: Job) -> bool:
    return job.attempt is not None and than.attempt is not None and job.attempt > than.attempt


def _refusal(message: str) -> Outcome:
    return Outcome(kind=OutcomeKind.ERRORED, code="unknown_kind", message=message)
