"""A worker's session on a stage: the test plays the broker and the clock, and reads what happens as lines."""

import msgspec

from crossdock.core.jobs import Lease, Outcome, OutcomeKind
from crossdock.core.requests import Capabilities, Note, Renewal, Step, WorkerInfo
from crossdock.protocols.recodex.codec import decode_from_worker, encode_to_worker
from crossdock.protocols.recodex.extension import Question, Welcome, decode_question, encode_body
from crossdock.protocols.recodex.messages import Evaluate, Extended, Pong
from crossdock.protocols.recodex.worker_pulse import Pulse
from crossdock.protocols.recodex.worker_questions import Settled
from crossdock.protocols.recodex.worker_session import Dial, HangUp, Transmit, WorkerSession

GOOD = Outcome(kind=OutcomeKind.SUCCEEDED, result=b"1")
WRONG = Outcome(kind=OutcomeKind.FAILED, code="wrong", message="no config")
BROKEN = Outcome(kind=OutcomeKind.ERRORED, code="upload", message="no upload")


class Stage:
    """One worker, as the broker sees it."""

    def __init__(self, *kinds: str, values: dict[str, tuple[str, ...]] | None = None, old_done: bool = False) -> None:
        offers = Capabilities(group="group1", values={**(values or {}), "kind": kinds or ("evaluation",)})
        info = WorkerInfo(id="w", slots=4, capabilities=offers, description="a worker")
        self.session = WorkerSession(info, Pulse(), old_done=old_done)
        self.settled: dict[int, object] = {}
        self.now = 0.0

    def at(self, now: float) -> list[str]:
        """Let time pass; return what was said meanwhile, each line with its time."""
        lines: list[str] = []
        while self.session.pulse.due <= now:
            self.now = max(self.now, self.session.pulse.due)
            self.session.tick(self.now)
            lines += [f"{self.now:g} {line}" for line in self.said()]
        self.now = now
        return lines

    def said(self) -> list[str]:
        """Return what was said since the last time."""
        effects, self.session.effects = self.session.effects, []
        for effect in effects:
            if isinstance(effect, Settled):
                self.settled[effect.ticket] = effect.answer
        return [_line(effect) for effect in effects if not isinstance(effect, Settled)]

    def hear(self, *messages) -> list[str]:
        """Let the broker say something: a message, or frames; return the answer."""
        for message in messages:
            frames = message if isinstance(message, list) else encode_to_worker(message)
            self.session.receive(frames, self.now)
        return self.said()

    def plain(self) -> "Stage":
        """Let the broker be an ordinary one that knows us."""
        self.at(0.0)
        assert self.hear(Pong()) == []
        return self

    def extended(self, *alive: int) -> "Stage":
        """Let the broker be one of ours."""
        self.at(0.0)
        assert self.hear(welcome(*alive), Pong()) == []
        return self

    def lease(self) -> Lease:
        """Return the one lease that has to be there."""
        [lease] = self.session.next_leases(9)
        return lease

    def end(self, lease: Lease, outcome: Outcome = GOOD) -> list[str]:
        """End an evaluation."""
        assert self.session.end(lease.token, outcome)
        return self.said()

    def step(self, lease: Lease, phase: str, *task: str) -> list[str]:
        """Say how far an attempt is."""
        self.session.note(lease.token, Note(step=Step(phase, *task)))
        return self.said()

    def ask(self, question: Question) -> int:
        """Ask the broker."""
        return self.session.ask(question)


def evaluate(job: str) -> Evaluate:
    """Return an evaluation."""
    return Evaluate(job, f"http://files/{job}.zip", f"http://files/{job}.result")


def answer(ticket: int, message) -> Extended:
    """Return an answer of our broker."""
    return Extended(ticket, encode_body(message))


def welcome(*alive: int) -> Extended:
    """Return the welcome of our broker."""
    return answer(0, Welcome(Renewal(alive, ())))


def _line(effect) -> str:
    if isinstance(effect, Dial):
        return "(dial)"
    if isinstance(effect, HangUp):
        return "(hang up)"
    assert isinstance(effect, Transmit)
    message = decode_from_worker(effect.frames)
    if isinstance(message, Extended):
        question = decode_question(message.body)
        return f"{message.ticket} {msgspec.to_builtins(question)['type']}"
    shown = [part for part in effect.frames if not part.startswith(b"crossdock=")]
    return "|".join(part.decode(errors="backslashreplace") for part in shown)
