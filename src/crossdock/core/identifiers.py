"""Identifiers of jobs and members: integers inside, short text outside.

A job id is a 63-bit integer that grows with time, so the order of ids is the order of submission. Outside it is 13
characters of Crockford's base 32 in lower case. A member of an array is written ``ARRAY.INDEX``.
"""

from typing import Final

from msgspec import Struct

from crossdock.core.errors import Code, CrossdockError

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES: Final = {character: value for value, character in enumerate(_ALPHABET)}
_LENGTH: Final = 13
_SEQUENCE_BITS: Final = 20
_MAX_DIGITS: Final = 10


class MemberId(Struct, frozen=True):
    """One member of an array: the array's job id and the member's position, counted from 0."""

    array: int
    index: int


class IdSource:
    """Hands out job ids that grow, also over restarts and clocks that go back.

    Args:
        last: the greatest id ever issued by this store, 0 if none.
    """

    def __init__(self, last: int = 0) -> None:
        self._last = last

    def next(self, wall: float) -> int:
        """Return a new id. ``wall`` is the time in seconds since 1970."""
        self._last = max(self._last + 1, int(wall * 1000) << _SEQUENCE_BITS)
        return self._last


def issued_at(job_id: int) -> float:
    """Return about when an id was issued, in seconds since 1970."""
    return (job_id >> _SEQUENCE_BITS) / 1000


def encode_id(job_id: int) -> str:
    """Return the text form of a job id."""
    characters: list[str] = []
    for _ in range(_LENGTH):
        characters.append(_ALPHABET[job_id & 31])
        job_id >>= 5
    return "".join(reversed(characters))


def decode_id(text: str) -> int:
    """Return the job id written as ``text``.

    Raises:
        CrossdockError: ``not_found`` if the text is no id, as nothing can have that id.
    """
    value = 0
    if len(text) == _LENGTH:
        for character in text.lower():
            digit = _VALUES.get(character)
            if digit is None:
                break
            value = value << 5 | digit
        else:
            if value < 1 << 63:
                return value
    raise CrossdockError(Code.NOT_FOUND, f"there is no job {text[:40]!r}")


def encode_member(member: MemberId) -> str:
    """Return the text form ``ARRAY.INDEX`` of a member's id."""
    return f"{encode_id(member.array)}.{member.index}"


def decode_any(text: str) -> int | MemberId:
    """Return the job id or member id written as ``text``.

    Raises:
        CrossdockError: ``not_found`` if the text is neither.
    """
    array, dot, index = text.partition(".")
    if not dot:
        return decode_id(text)
    if index.isascii() and index.isdigit() and len(index) <= _MAX_DIGITS:
        return MemberId(decode_id(array), int(index))
    raise CrossdockError(Code.NOT_FOUND, f"there is no job {text[:40]!r}")
