"""The judge of a simulated history: one function for each promise, each returns what was broken."""

import sys
from collections import Counter
from collections.abc import Iterator

from crossdock.core.jobs import Job, OutcomeKind, Tally
from crossdock.core.lifecycle import TERMINAL, State
from crossdock.core.log import whole
from crossdock.core.requests import Entry
from machines.simulation import POLICY, World

_ENDS = {state.value for state in TERMINAL}


def verdict(world: World) -> list[str]:
    """Return every promise that a history broke, in words."""
    broken = [*world.wrong]
    for promise in PROMISES:
        broken += promise(world)
    return broken


def _jobs(world: World) -> dict[int, Job]:
    return world.store._tables.jobs


def _log(world: World, job: Job) -> list[Entry]:
    """Return the log of a job as its clients read it."""
    written = world.store._tables.entries.get(job.id, {})
    return whole(job, [written[offset] for offset in sorted(written)], 0, sys.maxsize)


def accepted_jobs_are_there(world: World) -> Iterator[str]:
    """An acknowledged submit survives; by content, because ids might be used again after a loss."""
    for number, ids in world.client.accepted.items():
        for job_id in ids:
            job = _jobs(world).get(job_id)
            if job is None or job.payload != world.client.plans[number].request.payload:
                yield f"plan {number}: job {job_id} was acknowledged and is not there"


def one_key_is_one_job(world: World) -> Iterator[str]:
    """The same key is one job, whatever was lost, doubled or repeated."""
    for number, ids in world.client.accepted.items():
        if len(ids) > 1:
            yield f"plan {number}: one key became the jobs {sorted(ids)}"
    counts = Counter(job.payload for job in _jobs(world).values() if job.retry_of is None)
    for payload, count in counts.items():
        if count > 1:
            yield f"{payload!r}: {count} jobs"


def one_end(world: World) -> Iterator[str]:
    """Every job ends, once; its log has no gaps and one end, after which only late reports are logged."""
    for job in _jobs(world).values():
        if not job.terminal:
            yield f"job {job.id}: it is {job.state}"
        log = _log(world, job)
        offsets = [entry.offset for entry in log]
        if offsets != list(range(job.events)):
            yield f"job {job.id}: its log has the offsets {offsets}, it says {job.events}"
        events = [entry.event for entry in log]
        ends = [event for event in events if event in _ENDS]
        if job.terminal and ends != [job.state.value]:
            yield f"job {job.id}: it is {job.state}, its log has the ends {ends}"
        if ends and set(events[events.index(ends[0]) + 1 :]) - {"late"}:
            yield f"job {job.id}: something happened after its end: {events}"


def ends_do_not_change(world: World) -> Iterator[str]:
    """What a client was shown as an end is the end."""
    for job_id, ends in world.client.seen.items():
        job = _jobs(world).get(job_id)
        if job is not None and ends != {(job.state, job.result)}:
            yield f"job {job_id}: shown as {sorted(map(str, ends))}, it is {job.state} with {job.result!r}"


def results_are_those_that_were_accepted(world: World) -> Iterator[str]:
    """The result is the one whose report counted; it was of the newest lease, and no other report ever counted."""
    for worker in world.workers:
        for lease, outcome in worker.accepted:
            job = _jobs(world).get(lease.job)
            if job is None or outcome.kind is not OutcomeKind.SUCCEEDED:
                continue
            if (job.state, job.result) != (State.SUCCEEDED, outcome.result):
                yield f"job {job.id}: {outcome.result!r} was accepted, it is {job.state} with {job.result!r}"
            if job.token != lease.token:
                yield f"job {job.id}: a success of lease {lease.token} was accepted, but it was leased again as {job.token}"


def only_accepted_jobs_run(world: World) -> Iterator[str]:
    """No worker was given a job that was never on disk."""
    for worker in world.workers:
        for lease in worker.leases:
            if lease.job not in _jobs(world):
                yield f"job {lease.job}: it was leased and never accepted"


def tokens_are_used_once(world: World) -> Iterator[str]:
    """No two leases have the same token, also over restarts."""
    tokens = Counter(lease.token for worker in world.workers for lease in worker.leases)
    for token, count in tokens.items():
        if count > 1:
            yield f"token {token}: {count} leases"


def attempts_are_bounded(world: World) -> Iterator[str]:
    """Nothing is run for ever: what was handed back does not count, what was lost does."""
    for job in _jobs(world).values():
        if job.array is not None:
            continue
        events = Counter(entry.event for entry in _log(world, job))
        allowed = POLICY.attempts if job.overrides is None or job.overrides.attempts is None else job.overrides.attempts
        if events["leased"] - events["released"] > allowed or job.attempt > allowed:
            yield f"job {job.id}: {events['leased']} leases, {events['released']} handed back, {allowed} allowed"
        if job.state is State.SUCCEEDED and not events["leased"]:
            yield f"job {job.id}: it succeeded without being leased"


def everybody_was_told(world: World) -> Iterator[str]:
    """Ends are told at least once, always the same, under one id; never of a job that has not ended so."""
    for job in _jobs(world).values():
        told = world.client.told.get(job.id, [])
        if job.terminal and not told:
            yield f"job {job.id}: nobody was told of its end"
        if {notification.event for notification in told} - {job.state.value}:
            yield f"job {job.id}: told {[notification.event for notification in told]}, it is {job.state}"
        if len({notification.id for notification in told}) > 1:
            yield f"job {job.id}: told under the ids {[notification.id for notification in told]}"
    if world.store._tables.notifications:
        yield f"notifications are left: {sorted(world.store._tables.notifications)}"


def children_come_after_their_parents(world: World) -> Iterator[str]:
    """A job that comes after another runs only when that one succeeded, and fails when it did not."""
    for job in _jobs(world).values():
        if job.retry_of is not None:
            continue
        states = {_jobs(world)[parent].state for parent in job.after if parent in _jobs(world)}
        if job.attempt and states != {State.SUCCEEDED} and job.after:
            yield f"job {job.id}: it ran though its parents are {states}"
        if states - {State.SUCCEEDED} and job.state is State.SUCCEEDED:
            yield f"job {job.id}: it succeeded though its parents are {states}"


def _arrays(world: World) -> Iterator[tuple[Job, int, Tally]]:
    """Return the arrays that have ended, with their sizes and tallies."""
    for job in _jobs(world).values():
        if job.array is not None and job.terminal:
            yield job, job.array.count, job.tally or Tally()


def members_are_counted(world: World) -> Iterator[str]:
    """The tally of an array adds up and is what its bitmaps say, in which every member has ended once at most."""
    for job, count, tally in _arrays(world):
        succeeded = failed = 0
        for segment in world.store._tables.segments.get(job.id, {}).values():
            bits = [int.from_bytes(bitmap, "little") for bitmap in (segment.succeeded, segment.failed, segment.cancelled)]
            if bits[0] & bits[1] | bits[0] & bits[2] | bits[1] & bits[2]:
                yield f"array {job.id}: members ended twice"
            succeeded, failed = succeeded + bits[0].bit_count(), failed + bits[1].bit_count()
        if (tally.succeeded, tally.failed) != (succeeded, failed):
            yield f"array {job.id}: {tally}, but on disk {succeeded} succeeded and {failed} failed"
        if tally.finished != count:
            yield f"array {job.id}: {tally} does not add up"


def members_have_their_own_results(world: World) -> Iterator[str]:
    """The outcome of a member is written once, and it is that of this member."""
    for job, count, _ in _arrays(world):
        results = [result for block in world.store._tables.blocks.get(job.id, ()) for result in block.results]
        indexes = Counter(result.index for result in results)
        if indexes and (max(indexes.values()) > 1 or max(indexes) >= count):
            yield f"array {job.id}: outcomes were written twice: {indexes.most_common(1)}"
        for result in results:
            if result.result not in {None, b"[%d,%d]" % (job.id, result.index)}:
                yield f"array {job.id}: member {result.index} has the result {result.result!r}"


PROMISES = (
    accepted_jobs_are_there,
    one_key_is_one_job,
    one_end,
    ends_do_not_change,
    results_are_those_that_were_accepted,
    only_accepted_jobs_run,
    tokens_are_used_once,
    attempts_are_bounded,
    everybody_was_told,
    children_come_after_their_parents,
    members_are_counted,
    members_have_their_own_results,
)
