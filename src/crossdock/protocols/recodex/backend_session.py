"""The workers' door as a pure machine: messages and the time in, effects out.

A worker is known by the routing id of its connection, its *peer*. To the core it is a worker with an id of our own making,
which outlives the connection: whoever names a job that runs takes over the id of the worker that was given it.

The wire has no fencing token. What a peer says about a job counts for the lease that was recorded when the job was sent to
it, and for no other one.
"""

from collections.abc import Callable
from typing import Final

from crossdock.protocols.recodex.backend_effects import (
    Ask,
    Attach,
    Complain,
    Detach,
    Effect,
    End,
    Inherit,
    Lose,
    Note,
    Pass,
    Reclaim,
    Release,
    Running,
    Send,
    Want,
    Welcome,
)
from crossdock.protocols.recodex.messages import (
    ABORTED,
    EVALUATION,
    EXTENSION,
    FAILED,
    FINISHED,
    INTERNAL_ERROR,
    Done,
    Evaluate,
    Extended,
    FromWorker,
    Init,
    Intro,
    Malformed,
    Ping,
    Pong,
    Progress,
    ToWorker,
    Unknown,
)
from crossdock.protocols.recodex.roster import Peer, Roster
from crossdock.protocols.recodex.translation import STATUSES, capabilities, lost

_STALL: Final = 1.0
"""Seconds between two looks at the time from which on it was us who slept, not the workers."""

_MISSED: Final = 2
"""Ping intervals without a word after which a peer may be the former connection of a worker that came back."""


class BackendSession:
    """What the backend knows of its peers.

    Args:
        silence: seconds after which a worker that says nothing is lost.
        failures: how often a job is tried in all.
        names: makes ids for workers.
        interval: seconds between two pings of a worker.
    """

    def __init__(self, silence: float, failures: int, names: Callable[[], str], interval: float = 1.0) -> None:
        self.roster = Roster()
        self._silence = silence
        self._quiet = min(_MISSED * interval, silence)
        self._failures = failures
        self._names = names
        self._looked: float | None = None
        self._welcoming: dict[bytes, int] = {}
        """Who introduced itself with the extension and has no answer yet, and how often it has pinged since."""

    def receive(self, peer: bytes, message: FromWorker, now: float) -> list[Effect]:
        """Take a message."""
        known = self.roster.get(peer)
        if known is not None:
            known.heard = now
        if isinstance(message, Ping):
            return _ping(self._welcoming, peer, known)
        if isinstance(message, Progress):
            return _progress(known, message)
        if isinstance(message, Done):
            return self._done(peer, known, message)
        if isinstance(message, Init):
            return self._init(peer, known, message, now)
        if isinstance(message, Extended):
            extended = known is not None and known.extended
            return [Ask(known.worker, peer, message) if known is not None and extended else Send(peer, Intro())]
        return [_nonsense(peer, message)]

    # Workers come

    def _init(self, peer: bytes, known: Peer | None, message: Init, now: float) -> list[Effect]:
        if message.about(EXTENSION) is not None:
            self._welcoming.setdefault(peer, 0)
            return [Welcome(peer, message)]
        if known is not None and not known.extended:
            return _init_again(known, message)
        joined = Peer(peer, self._names(), message, now)
        left = [] if known is None else self._part(known)
        current = message.about("current_job")
        if not current:
            self.roster.add(joined)
            return [*left, _attach(joined), Want(joined.worker)]
        joined.running = Running(current)
        if not self.roster.holders(current):
            self.roster.add(joined)
            return [*left, _attach(joined), Reclaim(peer, current)]
        before = self.roster.quiet_holder(current, now - self._quiet)
        if before is not None:
            return [*left, _replace(self.roster, before, joined)]
        # Whoever has the job is alive, or seems to be: this one may have lost it to that one. Time will tell.
        self.roster.add(joined)
        return [*left, _attach(joined)]

    def welcomed(self, peer: bytes, worker: str, init: Init, now: float) -> list[Effect]:
        """Take the fact that a worker which speaks the extension is attached under the name it gave itself."""
        known = self.roster.get(peer)
        left = self._part(known) if known is not None and known.worker != worker else []
        before = self.roster.find(worker)
        if before is not None:
            self.roster.remove(before)
        self.roster.add(Peer(peer, worker, init, now))
        return [*left, *[Send(peer, Pong())] * self._welcoming.pop(peer, 0)]

    def turned_away(self, peer: bytes) -> list[Effect]:
        """Take the fact that a worker which speaks the extension was refused."""
        answer = Intro() if self.roster.get(peer) is None else Pong()
        return [Send(peer, answer)] * self._welcoming.pop(peer, 0)

    def reclaimed(self, peer: bytes, job: str, worker: str | None, running: Running) -> list[Effect]:
        """Take what was found about the job that a peer runs from before.

        Args:
            peer: who runs it.
            job: the job it named.
            worker: the id of the worker that had the lease, None if the lease has ended.
            running: what is known of the lease; a late success may still count.
        """
        known = self.roster.get(peer)
        if known is None or known.running != Running(job):
            return []
        if worker in self.roster:  # somebody else runs it by now
            return []
        known.running = running
        if worker is None:
            return []
        left = Detach(known.worker)
        self.roster.remove(known)
        known.worker = worker
        self.roster.add(known)
        return [left, _attach(known)]

    # Workers work

    def given(self, worker: str, running: Running, archive: str) -> list[Effect]:
        """Take a lease for a worker that wanted one."""
        peer = self.roster.find(worker)
        if peer is None or peer.running is not None:
            return [Release(running.token)]
        peer.running = running
        return [Send(peer.id, Evaluate(running.job, archive, running.result))]

    def _done(self, peer: bytes, known: Peer | None, message: Done) -> list[Effect]:
        if known is None:
            return self._done_by_stranger(peer, message)
        running = known.running
        if running is None or running.job != message.job:
            return [Complain(peer, "done with another job", message.job)]
        if message.status not in STATUSES:
            return [Complain(peer, "done with an unknown status", message.status)]
        known.running = None
        end = End(running, message) if running.token else Inherit(message)
        return [*_last_words(running, message, self._failures), end, Want(known.worker)]

    def _done_by_stranger(self, peer: bytes, message: Done) -> list[Effect]:
        """Take the end of a job over a connection that did not introduce itself.

        The transport may have reconnected below a worker, with the message in its queue. As long as the job was only ever
        given to one worker, it can be no one else.
        """
        if message.status not in STATUSES:
            return [Complain(peer, "done with an unknown status", message.status)]
        holders = self.roster.holders(message.job)
        if not holders or (running := holders[0].running) is None:
            return [Inherit(message)]
        holder = holders[0]
        if running.attempt > 1 or len(holders) > 1:
            return [Complain(peer, "done by a stranger", message.job)]
        holder.running = None
        return [*_last_words(running, message, self._failures), End(running, message), Want(holder.worker)]

    # Workers go

    def tick(self, now: float) -> list[Effect]:
        """Let time pass: workers that were silent for too long are lost.

        All that came by ``now`` must have been received before. If it was us who did nothing for a while, nobody is blamed.
        """
        slept = 0.0 if self._looked is None else now - self._looked
        self._looked = now
        effects: list[Effect] = []
        if slept > _STALL:
            for peer in self.roster:
                peer.heard += slept
        for peer in self.roster:
            if now - peer.heard <= self._quiet:
                continue
            returned = _return(self.roster, peer, now - self._quiet)
            if not returned and now - peer.heard > self._silence:
                returned = self._lose(peer)
            effects += returned
        return effects

    def undelivered(self, peer: bytes, message: ToWorker) -> list[Effect]:
        """Take the fact that a message could not be sent, as the connection is no more.

        A job goes back at once. What the peer had before is another matter: it may come back over a new connection.
        """
        known = self.roster.get(peer)
        return self._part(known) if known is not None and isinstance(message, Evaluate) else []

    def forgotten(self, peer: Peer) -> list[Effect]:
        """Take the fact that the core does not know a worker that is connected."""
        wanted: list[Effect] = [] if peer.running is not None else [Want(peer.worker)]
        return [_attach(peer), *wanted]

    def left(self, worker: str) -> None:
        """Take the fact that a worker said good-bye."""
        known = self.roster.find(worker)
        if known is not None:
            self.roster.remove(known)

    def _part(self, peer: Peer) -> list[Effect]:
        """Forget a peer whose job, if any, was not begun; the core hands it back."""
        self.roster.remove(peer)
        return [Detach(peer.worker, 0 if peer.running is None else peer.running.token)]

    def _lose(self, peer: Peer) -> list[Effect]:
        self.roster.remove(peer)
        running = peer.running
        if running is None or not running.token:
            return [Lose(peer.worker, lost(1, self._failures))]
        gives_up = running.attempt >= self._failures
        aborted = Pass((running.job.encode(), ABORTED.encode()), stray=False)
        told = _gave_up(running.job) if gives_up else [aborted]
        return [Lose(peer.worker, lost(running.attempt, self._failures), running), *told]


def _replace(roster: Roster, before: Peer, joined: Peer) -> Attach:
    """Let a worker go on over another connection: the old one has nothing to say any more."""
    roster.remove(before)
    joined.worker, joined.running = before.worker, before.running
    roster.add(joined)
    return _attach(joined)


def _return(roster: Roster, before: Peer, since: float) -> list[Effect]:
    """Give the job of a peer that is quiet to the one that said it runs it while that was still in doubt."""
    job = "" if before.running is None else before.running.job
    joined = roster.claimant(job) if job else None
    if joined is None or roster.quiet_holder(job, since) is not before:
        return []
    roster.remove(joined)
    return [Detach(joined.worker), _replace(roster, before, joined)]


def _attach(peer: Peer) -> Attach:
    held = () if peer.running is None or not peer.running.token else (peer.running.token,)
    description = peer.init.about("description") or ""
    return Attach(peer.worker, capabilities(peer.init, (EVALUATION,)), description, held)


def _init_again(known: Peer, message: Init) -> list[Effect]:
    """Replace what is known of a worker, unless it says the same again."""
    same = known.init.group == message.group and sorted(known.init.headers) == sorted(message.headers)
    known.init = message
    return [] if same else [_attach(known)]


def _ping(welcoming: dict[bytes, int], peer: bytes, known: Peer | None) -> list[Effect]:
    """Answer a ping; after an introduction with the extension not before the welcome, which tells that we know it."""
    if peer in welcoming:
        welcoming[peer] += 1
        return []
    return [Send(peer, Intro() if known is None else Pong())]


def _last_words(running: Running, message: Done, failures: int) -> list[Effect]:
    """Return what watchers have to hear that the worker does not say: that a job is given up."""
    last = message.status == INTERNAL_ERROR and running.attempt >= failures
    return _gave_up(running.job) if last else []


def _nonsense(peer: bytes, message: Unknown | Malformed) -> Complain:
    if isinstance(message, Malformed):
        return Complain(peer, "malformed message", f"{message.command}: {message.reason}")
    return Complain(peer, "unknown command", repr(message.command))


def _progress(known: Peer | None, message: Progress) -> list[Effect]:
    running = None if known is None else known.running
    if running is None or not running.token or running.job != message.job:
        return [Pass(message.frames, stray=True)]
    return [Note(running.token, message), Pass(message.frames, stray=False)]


def _gave_up(job: str) -> list[Effect]:
    return [Pass((job.encode(), word.encode()), stray=False) for word in (FAILED, FINISHED)]
