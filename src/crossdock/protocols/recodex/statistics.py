"""The counters that operators ask for, by the names of the original broker."""

from typing import Final

from crossdock.core.broker import Broker
from crossdock.core.counters import Counters
from crossdock.core.lifecycle import State
from crossdock.protocols.recodex.messages import Stats

RETRIED: Final = "attempts that failed and were followed by another"


def statistics(broker: Broker, counters: Counters) -> Stats:
    """Return the counters in the order of the wire, without the last one, ``is-frozen``.

    They are about all jobs and workers of this broker, however they came in: each job that succeeded, each attempt that
    failed, each worker that is attached.
    """
    figures = broker.stats()
    ended = {state: sum(n for (_, found), n in figures.finished.items() if found is state) for state in State}
    workers = broker.oversight.workers()
    idle = sum(not worker.leases for worker in workers)
    values = {
        "evaluated-jobs": ended[State.SUCCEEDED],
        "failed-jobs": ended[State.FAILED] + counters.values[RETRIED],
        "idle-worker-count": idle,
        "jobs-in-progress": len(workers) - idle,
        "queued-jobs": sum(figures.queued.values()),
        "worker-count": len(workers),
    }
    return Stats(tuple((name, str(value)) for name, value in values.items()))
