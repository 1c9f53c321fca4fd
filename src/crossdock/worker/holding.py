"""A lease that a worker holds, and what its attempt has said that the broker does not know yet."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from crossdock.core.errors import CrossdockError
from crossdock.core.jobs import Lease, MemberOutcome, Outcome, OutcomeKind
from crossdock.core.ports import Dispatch
from crossdock.core.requests import Note, Verdict
from crossdock.worker.sending import Delivery

_NOTE_PAUSE: Final = 0.1
"""Seconds between two deliveries of notes of one job."""
_NOTES_HELD: Final = 1000
_MEMBERS_HELD: Final = 500

_log: Final = structlog.get_logger("crossdock.worker")


class Holding:
    """One lease. It is the :class:`~crossdock.core.ports.Attempt` that a runner talks to.

    Notes and outcomes of members gather here and are sent in batches by the worker, so that user code never waits for the
    broker; only a chunk whose members end faster than the broker takes them is slowed down.

    Args:
        lease: what is held.
        dispatch: the broker.
        delivery: how reports get there.
        gathered: called when there is something to :meth:`send`.
    """

    def __init__(self, lease: Lease, dispatch: Dispatch, delivery: Delivery, gathered: "Callable[[Holding], None]") -> None:
        self.lease: Final = lease
        self.task: asyncio.Task[None] | None = None
        self.killed = False
        self.fate: Outcome | None = None
        """What to report of a killed attempt; None: nothing, as the lease is not ours any more."""
        self._reporting = False
        self._dispatch = dispatch
        self._delivery = delivery
        self._gathered = gathered
        self._asked = asyncio.Event()
        self._notes: list[Note] = []
        self._left_out = 0
        self._noted_at = -_NOTE_PAUSE
        self._members: list[MemberOutcome] = []
        self._members_left = len(lease.members.indexes) if lease.members is not None else None
        self._calls: list[Callable[[bool], None]] = []
        self._sending = asyncio.Lock()

    @property
    def cancelled(self) -> bool:
        """Whether the attempt was asked to stop."""
        return self._asked.is_set()

    async def wait_cancelled(self) -> None:
        """Return once the attempt is asked to stop."""
        await self._asked.wait()

    def ask_to_stop(self) -> None:
        """Ask the attempt to stop."""
        self._asked.set()

    @property
    def running(self) -> bool:
        """Whether the attempt goes on: the last word of it has not been said."""
        return not self._reporting and not self.killed and self._members_left != 0

    def kill(self, fate: Outcome | None) -> None:
        """End the attempt at once, if it is still running."""
        if self.running and self.task is not None:
            self.killed, self.fate = True, fate
            self.task.cancel()

    def note(self, note: Note) -> None:
        """Take progress or a line for the log. Progress that was not sent yet is replaced by newer."""
        notes = self._notes
        if note.progress is not None and notes and notes[-1].progress is not None:
            notes[-1] = note
        elif len(notes) < _NOTES_HELD:
            notes.append(note)
        else:
            self._left_out += 1
        self._gathered(self)

    async def member(self, outcome: MemberOutcome) -> None:
        """Take the outcome of one member of a chunk."""
        self._members.append(outcome)
        self._gathered(self)
        if len(self._members) >= _MEMBERS_HELD:
            await self._send_members_or_stop()

    def when_reported(self, call: Callable[[bool], None]) -> None:
        """Have this called when it is settled what became of what was said so far."""
        self._calls.append(call)

    def over(self) -> None:
        """Let those know who still wait for it that nobody has taken note."""
        calls, self._calls = self._calls, []
        for call in calls:
            call(False)

    async def send(self) -> None:
        """Send what has gathered, notes not more often than people can read."""
        await self._send_members_or_stop()
        if not self._notes or self._reporting:
            return
        if time.monotonic() - self._noted_at < _NOTE_PAUSE:
            self._gathered(self)
        else:
            await self._send_notes()

    async def finish(self, outcome: Outcome) -> None:
        """Send what has gathered, and then how the attempt ended; a chunk has ended with its last member."""
        self._reporting = True
        await self._send_notes()
        try:
            await self._send_members()
            if self.killed:  # what is reported is not what the runner returned
                self.over()
            if self._members_left != 0:
                await self._report(outcome)
        except CrossdockError as error:
            await self._report(_refused(error))

    async def _report(self, outcome: Outcome) -> None:
        token = self.lease.token
        verdict = await self._deliver(lambda: self._dispatch.report(token, outcome))
        if verdict is None or verdict.late:
            _log.warning("a report came too late", job=self.lease.job, token=token, outcome=outcome.kind.value)

    async def _send_notes(self) -> None:
        notes, self._notes = self._notes, []
        if self._left_out:
            notes.append(Note(log=f"({self._left_out} notes were left out: they came faster than they could be sent)"))
            self._left_out = 0
        self._noted_at = time.monotonic()
        try:
            for note in notes:
                await self._dispatch.note(self.lease.token, note)
        except CrossdockError as error:
            # Notes are a courtesy: one that gets lost must not keep the job from ending.
            _log.info("notes were lost", job=self.lease.job, reason=str(error))

    async def _send_members_or_stop(self) -> None:
        try:
            await self._send_members()
        except CrossdockError as error:
            self.kill(_refused(error))

    async def _send_members(self) -> None:
        async with self._sending:
            members, self._members = self._members, []
            if not members:
                return
            verdict = await self._deliver(lambda: self._dispatch.report_members(self.lease.token, members))
            if self._members_left is not None:
                self._members_left -= len(members)
        if verdict is None or verdict.late:
            self.kill(None)

    async def _deliver(self, report: Callable[[], Awaitable[Verdict]]) -> Verdict | None:
        """Report, and tell those who wait for it whether the broker has taken note."""
        calls, self._calls = self._calls, []
        taken = False
        try:
            verdict = await self._delivery.deliver(report)
            taken = verdict is not None
        finally:
            for call in calls:
                call(taken)
        return verdict


def _refused(error: CrossdockError) -> Outcome:
    """Return how a job ends whose report the broker does not take: it will not take it tomorrow either."""
    return Outcome(kind=OutcomeKind.FAILED, code=error.code, message=f"the report was refused: {error.message}")
