"""What a lease is for, piece by piece: a job, or members of an array one after the other."""

from collections.abc import Awaitable, Callable
from typing import cast

from msgspec import Struct

from crossdock.core.identifiers import MemberId, encode_id, encode_member
from crossdock.core.jobs import Lease, MemberOutcome, Outcome, OutcomeKind
from crossdock.core.ports import Attempt
from crossdock.core.tables import member_payload


class Piece(Struct, frozen=True):
    """A job, or a member of an array: its id as text, the number of its attempt, and its payload."""

    name: str
    number: int
    payload: bytes


async def run_pieces(lease: Lease, attempt: Attempt, run: Callable[[Piece], Awaitable[Outcome]]) -> Outcome:
    """Run what a lease is for, and return how the lease ends.

    Args:
        lease: its payload has to be loaded.
        attempt: is told how members ended.
        run: runs a piece. When a member was cancelled, all of them are.
    """
    payload = cast("bytes", lease.payload)
    members = lease.members
    if members is None:
        return await run(Piece(encode_id(lease.job), lease.attempt, payload))
    numbers = members.attempts or (1,) * len(members.indexes)
    for index, added, number in zip(members.indexes, members.parameters, numbers, strict=True):
        outcome = await run(Piece(encode_member(MemberId(lease.job, index)), number, member_payload(payload, added)))
        if outcome.kind is OutcomeKind.CANCELLED:
            return outcome
        await attempt.member(MemberOutcome(index=index, outcome=outcome))
    return Outcome(kind=OutcomeKind.SUCCEEDED)
