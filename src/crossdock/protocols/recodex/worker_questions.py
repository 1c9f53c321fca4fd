"""What a worker of ours has asked its broker, until the answer comes; and the leases it holds of it."""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import Lease
from crossdock.protocols.recodex.codec import encode_from_worker
from crossdock.protocols.recodex.extension import (
    Answer,
    Claim,
    Grant,
    Judged,
    Put,
    Question,
    Refused,
    Renew,
    Renewed,
    Report,
    ReportMembers,
    decode_answer,
    encode_body,
)
from crossdock.protocols.recodex.messages import Extended

_AGAIN: Final = "the connection to the broker was lost in the middle of an upload; send it again from the beginning"


class Settled(Struct, frozen=True):
    """A question has its answer, or is not going to have one."""

    ticket: int
    answer: Answer | CrossdockError


class Questions:
    """Questions by ticket. They outlive connections: those that may be repeated are, at the next introduction."""

    def __init__(self) -> None:
        self.leases: deque[Lease] = deque()
        """Leases that came when nobody waited for them any more."""
        self.held: set[int] = set()
        """The tokens of all leases that have not ended, as far as is known here."""
        self._open: dict[int, Question] = {}
        self._told_twice: set[int] = set()
        self._tickets = 0

    def ask(self, question: Question) -> int:
        """Open a question and return its ticket."""
        self._tickets += 1
        self._open[self._tickets] = question
        if isinstance(question, Renew):  # its worker names all it holds
            self.hold(question.tokens)
        return self._tickets

    def message(self, ticket: int) -> list[bytes]:
        """Return the frames of an open question."""
        return encode_from_worker(Extended(ticket, encode_body(self._open[ticket])))

    def forget(self, ticket: int) -> None:
        """Close a question whose answer nobody waits for any more."""
        self._open.pop(ticket, None)
        self._told_twice.discard(ticket)

    def hold(self, tokens: Iterable[int]) -> None:
        """Note what the worker holds."""
        self.held = {*tokens, *(lease.token for lease in self.leases)}

    def welcomed(self, named: Sequence[int], alive: Sequence[int]) -> list[Settled | list[bytes]]:
        """Note which of the tokens that an introduction named are leases; return what is to be said again or given up."""
        self._end(set(named) - set(alive))
        again: list[Settled | list[bytes]] = []
        for ticket, question in list(self._open.items()):
            if isinstance(question, Put):
                again.append(self._settle(ticket, CrossdockError(Code.UNAVAILABLE, _AGAIN)))
            else:
                again.append(self.message(ticket))
        return again

    def give_up(self, error: CrossdockError) -> list[Settled]:
        """Settle every question with an error, and hold nothing any more."""
        self._end(set(self.held))
        return [self._settle(ticket, error) for ticket in list(self._open)]

    def unknown(self, ticket: int, answer: Answer) -> bool:
        """Tell whether the broker says to a report that it does not know us: then it has to be made again, once."""
        if not isinstance(answer, Refused) or answer.code != Code.NOT_FOUND or ticket in self._told_twice:
            return False
        if not isinstance(self._open.get(ticket), Report | ReportMembers):
            return False
        self._told_twice.add(ticket)
        return True

    def answered(self, ticket: int, answer: Answer) -> Settled | None:
        """Take an answer; None if its question has been closed."""
        question = self._open.get(ticket)
        if isinstance(answer, Grant):
            self.held.update(lease.token for lease in answer.leases)
            if question is None:
                self.leases.extend(answer.leases)
                return self._give_out()
        if question is None:
            return None
        if isinstance(answer, Judged) and isinstance(question, Report):
            self.held.discard(question.token)
        if isinstance(answer, Renewed) and isinstance(question, Renew):
            self._end(set(question.tokens) - set(answer.renewal.alive))
        return self._settle(ticket, error_of(answer) if isinstance(answer, Refused) else answer)

    def _give_out(self) -> Settled | None:
        """Give leases that came for an earlier claim to one that waits now."""
        claims = ((ticket, question) for ticket, question in self._open.items() if isinstance(question, Claim))
        ticket, claim = next(claims, (0, None))
        if claim is None or not self.leases:
            return None
        leases = [self.leases.popleft() for _ in range(min(claim.limit, len(self.leases)))]
        return self._settle(ticket, Grant(tuple(leases)))

    def _settle(self, ticket: int, answer: Answer | CrossdockError) -> Settled:
        self.forget(ticket)
        return Settled(ticket, answer)

    def _end(self, tokens: set[int]) -> None:
        self.held -= tokens
        self.leases = deque(lease for lease in self.leases if lease.token not in tokens)


def read_answer(message: Extended) -> Answer:
    """Return what the broker says. What cannot be understood is a refusal to whoever asked."""
    try:
        return decode_answer(message.body)
    except msgspec.DecodeError as error:
        return Refused(Code.INTERNAL, f"the broker's answer cannot be understood: {error}")


def error_of(refused: Refused) -> CrossdockError:
    """Return a refusal as the core's error."""
    known = {code.value: code for code in Code}
    return CrossdockError(known.get(refused.code, Code.INTERNAL), refused.message)
