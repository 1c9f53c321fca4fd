"""The notifier: the web application hears how jobs ended, whatever happens to either side meanwhile.

It is fed by the outbox, so what is owed is on disk from the moment that the job ended. A call that fails is repeated, ever
less often but at least every few minutes, until the application takes it or the job's own time to be kept is over (a week
by default): only then is it given up, with a line in the log and a count. There is no answer after which it is given up
earlier. Wrong credentials, for one, are answered with 400, and are corrected by an operator who then wants every call.

Several calls are under way at once. A failed one waits in the outbox and not in anybody's way. Calls about the same job id
keep their order while the process runs; after a restart, one that had failed may come after its successor.

An evaluation's worker has stored the results itself. The result of a job of another kind is put to the URL its client
named, and the call follows. A URL that refuses the result for good makes the call ``FAILED``, with the reason.
"""

import asyncio
import time
import traceback
from collections import deque
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import msgspec
import structlog
from msgspec import Struct

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import Job
from crossdock.core.lifecycle import State
from crossdock.core.ports import Artifacts, Intake, Outbox
from crossdock.core.requests import Notification
from crossdock.http.egress import Egress
from crossdock.protocols.recodex.hooks import Tell
from crossdock.protocols.recodex.messages import CHANNEL, EVALUATION, FAILED, OK, Owed
from crossdock.protocols.recodex.monitor.endings import last_words
from crossdock.protocols.recodex.notifier.requests import Requests, Trouble, segment

_log: Final[Any] = structlog.get_logger("crossdock.recodex.notifier")

_CLAIM: Final = 256
_WAIT: Final = 30.0
_REPORTS: Final = 1000
_MESSAGE: Final = 16 * 1024
"""Characters of a message that are passed on."""


class NotifierOptions(Struct, frozen=True, kw_only=True):
    """Whom to tell, and how hard to try. Durations are seconds.

    ``url`` is the base address of the calls, empty if nobody wants to know; with an empty name and password they carry no
    credentials. ``results`` are names and passwords for URLs that results are put to, by the beginning of those. The pause
    after a failed try doubles from ``first`` up to ``longest``. ``parallel`` is how many requests may be under way to one
    host. A result is given up after ``refusals`` answers that promise no better.
    """

    url: str
    username: str = ""
    password: str = ""
    results: Mapping[str, tuple[str, str]] = {}
    first: float = 1.0
    longest: float = 300.0
    timeout: float = 30.0
    parallel: int = 8
    refusals: int = 5


class NotifierCounts(Struct):
    """What became of calls so far: delivered, tries that failed, given up at the end of a job's time, reports dropped."""

    delivered: int = 0
    failed: int = 0
    given_up: int = 0
    dropped: int = 0


class Notifier:
    """Tells the web application.

    Args:
        options: whom and how.
        intake: where jobs are.
        outbox: what is owed.
        artifacts: where large results are.
        egress: where results may be put.
        feed: told of ends that no worker tells, for a monitor elsewhere.
    """

    def __init__(
        self,
        options: NotifierOptions,
        intake: Intake,
        outbox: Outbox,
        artifacts: Artifacts,
        egress: Egress,
        feed: Tell | None = None,
    ) -> None:
        self.counts = NotifierCounts()
        self._options = options
        self._intake = intake
        self._outbox = outbox
        self._artifacts = artifacts
        self._egress = egress
        self._feed = feed
        self._lanes: dict[str, _Lane] = {}
        self._turns: dict[str, _Turn] = {}
        self._reports: deque[tuple[str, dict[str, str]]] = deque()
        self._reported = asyncio.Event()

    async def run(self) -> None:
        """Tell until cancelled. What is under way then stays owed."""
        options = self._options
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=2 * options.parallel)
        timeout = httpx.Timeout(options.timeout, connect=min(5.0, options.timeout))
        auth = (options.username, options.password) if options.username or options.password else None
        client = httpx.AsyncClient(trust_env=False, follow_redirects=False, limits=limits, timeout=timeout)
        async with client, asyncio.TaskGroup() as group:
            requests = Requests(client, options.url, auth)
            group.create_task(self._report_all(requests), name="reports to the web application")
            while True:
                for notification in await self._outbox.claim(CHANNEL, _CLAIM, _WAIT):
                    self._accept(group, requests, notification)
                await asyncio.sleep(0)  # what has gathered during an outage may be very much

    def error(self, message: str) -> None:
        """Tell of something wrong that concerns no job. Kept in memory only: a restart forgets what was not told yet."""
        self._report("error", {"message": message[:_MESSAGE]})

    def job_status(self, name: str, status: str, message: str = "") -> None:
        """Tell how a job ended that the core knows nothing of; kept as :meth:`error` is."""
        self._report(f"job-status/{segment(name)}", _status(status, message))

    # What is owed

    def _accept(self, group: asyncio.TaskGroup, requests: Requests, notification: Notification) -> None:
        """Deliver a notification when it is its turn among those about the same job id."""
        try:
            owed = Owed.read(notification.address)
        except msgspec.DecodeError:
            owed = Owed(notification.address)
        turn = self._turns.setdefault(owed.id, _Turn(notification.id))
        if turn.current == notification.id:
            self._enqueue(group, requests, _Call(notification, owed))
        else:
            turn.behind.append(_Call(notification, owed))

    def _enqueue(self, group: asyncio.TaskGroup, requests: Requests, call: "_Call") -> None:
        url = call.owed.result_url if call.owed.kind != EVALUATION else self._options.url
        lane = self._lanes.setdefault(_host(url), _Lane())
        lane.queue.append(call)
        if lane.busy < self._options.parallel:
            lane.busy += 1
            group.create_task(self._drive(group, requests, lane))

    async def _drive(self, group: asyncio.TaskGroup, requests: Requests, lane: "_Lane") -> None:
        try:
            while lane.queue:
                call = lane.queue.popleft()
                if await self._deliver(requests, call):
                    self._pass_turn(group, requests, call.owed.id)
        finally:
            lane.busy -= 1
            if not lane.busy and not lane.queue:
                self._lanes = {name: each for name, each in self._lanes.items() if each is not lane}

    def _pass_turn(self, group: asyncio.TaskGroup, requests: Requests, name: str) -> None:
        turn = self._turns[name]
        if not turn.behind:
            del self._turns[name]
            return
        call = turn.behind.popleft()
        turn.current = call.notification.id
        self._enqueue(group, requests, call)

    async def _deliver(self, requests: Requests, call: "_Call") -> bool:
        """Make a call; tell whether it is settled. Else it comes back by the outbox."""
        notification = call.notification
        try:
            job = await self._intake.job(notification.job)
        except CrossdockError as error:
            if error.code is not Code.NOT_FOUND:
                await self._outbox.postpone(notification, self._options.first)
                return False
            await self._outbox.delivered(notification)  # it was deleted with all that is to be told
            return True
        try:
            if self._feed is not None and not notification.attempts:
                for word in await last_words(self._intake, job):
                    self._feed(call.owed.id, (word.encode(),))
            # Whole requests too, as an answer may come byte by byte. Uploads may take long but have to go on.
            trouble = await self._tell(requests, call, job)
        except TimeoutError:
            trouble = Trouble("it took too long")
        except Exception as error:  # noqa: BLE001 - a fault over one call must not be the end of all others
            _log.error("notifier failed", job=call.owed.id, trace="".join(traceback.format_exception(error)))
            trouble = Trouble(repr(error))
        if trouble is None:
            self.counts.delivered += 1
            await self._outbox.delivered(notification)
            return True
        return await self._put_off(call, job, trouble)

    async def _tell(self, requests: Requests, call: "_Call", job: Job) -> Trouble | None:
        owed, options = call.owed, self._options
        good = call.notification.event == State.SUCCEEDED
        message = job.message or (str(State.CANCELLED) if call.notification.event == State.CANCELLED else job.code)
        if good and owed.kind != EVALUATION and owed.result_url:
            trouble = await requests.put(owed.result_url, job.result, self._artifacts, self._egress, options.results)
            if trouble is not None and not (trouble.final and call.notification.attempts >= options.refusals - 1):
                return trouble
            if trouble is not None:
                good, message = False, f"The result could not be put to its URL: {trouble.reason}"
        if not options.url:
            return None
        async with asyncio.timeout(options.timeout):
            fields = _status(OK if good else FAILED, message)
            return await requests.call(f"job-status/{segment(owed.id)}", fields)

    async def _put_off(self, call: "_Call", job: Job, trouble: Trouble) -> bool:
        """Try again later, unless the job's time is over; tell whether it is."""
        notification, options = call.notification, self._options
        self.counts.failed += 1
        attempt = notification.attempts + 1
        if job.expires is not None and time.time() > job.expires:
            self.counts.given_up += 1
            _log.error("notification given up", job=call.owed.id, attempts=attempt, reason=trouble.reason)
            await self._outbox.delivered(notification)
            return True
        pause = min(options.longest, options.first * 2.0 ** min(notification.attempts, 64))
        _log.warning("notification failed", job=call.owed.id, attempt=attempt, reason=trouble.reason, again_in=pause)
        await self._outbox.postpone(notification, pause)
        return False

    # What concerns no job of ours

    def _report(self, path: str, fields: dict[str, str]) -> None:
        if not self._options.url:
            return
        if len(self._reports) >= _REPORTS:
            self._reports.popleft()
            self.counts.dropped += 1
        self._reports.append((path, fields))
        self._reported.set()

    async def _report_all(self, requests: Requests) -> None:
        """Make the calls that nothing on disk speaks of, one after the other."""
        pause = self._options.first
        while True:
            while self._reports:
                report = self._reports[0]
                trouble = await requests.call(*report)
                if trouble is not None:
                    self.counts.failed += 1
                    _log.warning("report failed", path=report[0], reason=trouble.reason, again_in=pause)
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, self._options.longest)
                    continue
                pause = self._options.first
                self.counts.delivered += 1
                if self._reports and self._reports[0] is report:
                    self._reports.popleft()
            self._reported.clear()
            await self._reported.wait()


class _Call(Struct, frozen=True):
    notification: Notification
    owed: Owed


class _Lane:
    """What is to be told to one host, and how many requests to it are under way."""

    def __init__(self) -> None:
        self.queue: deque[_Call] = deque()
        self.busy = 0


class _Turn:
    """Which notification about a job id is next, and what comes after it."""

    def __init__(self, current: int) -> None:
        self.current = current
        self.behind: deque[_Call] = deque()


def _status(status: str, message: str) -> dict[str, str]:
    return {"status": status} if status == OK else {"message": message[:_MESSAGE], "status": status}


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:  # what is wrong with it is found out when it is asked
        return ""
