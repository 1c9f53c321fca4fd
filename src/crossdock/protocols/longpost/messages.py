"""The messages of LONGPOST as frozen types: four requests, two replies, and tokens that keep the form they came in.

Tokens and payloads stay JSON text. A token has to be echoed in the very form the client sent, and a payload is handed on
without being looked into, so neither is ever turned into Python objects and back.
"""

import json
from typing import Final

from msgspec import Struct

MAX_TOKEN: Final = 2**53 - 1
"""The greatest task token: browsers carry tokens as JavaScript numbers."""

_MAX_DIGITS: Final = len(str(MAX_TOKEN))
_CARGO_DIGITS: Final = 32
_HEXADECIMAL: Final = frozenset("0123456789abcdef")


class Token(Struct, frozen=True):
    """A token as it stood in a message: the JSON text of a string or of another scalar."""

    json: bytes

    @classmethod
    def of(cls, value: str | int) -> "Token":
        """Return the token whose value is ``value``."""
        return cls(json.dumps(value).encode())

    @property
    def text(self) -> str:
        """The value of a string, the literal of anything else."""
        raw = self.json
        if raw[:1] != b'"':
            return raw.decode("ascii")
        if b"\\" in raw:
            return str(json.loads(raw))
        return raw[1:-1].decode()

    @property
    def task(self) -> str | None:
        """The canonical decimal text of a task token, None if this cannot be one.

        The string ``"123"`` and the number ``123`` are the same token: worker.js sends back a number for the string it got.
        """
        if len(self.json) > 8 * _MAX_DIGITS:  # even written in \uXXXX escapes a task token is shorter
            return None
        text = self.text
        if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
            return None
        number = int(text)
        return text if number <= MAX_TOKEN and str(number) == text else None

    @property
    def cargo(self) -> str | None:
        """The 32 hexadecimal digits of a cargo token of ours, None if this cannot be one."""
        if self.json[:1] != b'"' or len(self.json) > 8 * _CARGO_DIGITS:
            return None
        text = self.text
        return text if len(text) == _CARGO_DIGITS and _HEXADECIMAL.issuperset(text) else None


class Start(Struct, frozen=True):
    """Begin a task. ``payload`` is JSON text of any value."""

    payload: bytes = b"{}"


class Get(Struct, frozen=True):
    """Ask for the result of a task."""

    token: Token


class Stop(Struct, frozen=True):
    """Give a task up."""

    token: Token


class Cargo(Struct, frozen=True):
    """Ask for one part of a long result."""

    token: Token


Request = Start | Get | Stop | Cargo


class Answer(Struct, frozen=True):
    """The reply to ``start``, ``get`` and ``stop``: the four members of the protocol, ``more`` being ``continue``.

    ``result`` is JSON text (ready), cargo tokens in the order of joining (done and more), or None.
    """

    token: Token
    done: bool
    more: bool
    result: str | tuple[Token, ...] | None = None


class Part(Struct, frozen=True):
    """The reply to ``cargo``."""

    token: Token
    result: str


Reply = Answer | Part


class Failure(Struct, frozen=True):
    """What has no message in the protocol: an HTTP status, with a text for people. ``retry_after`` is seconds."""

    status: int
    message: str
    retry_after: int | None = None


def running(token: Token) -> Answer:
    """Return the answer for a task that goes on."""
    return Answer(token, done=False, more=True)


def gone(token: Token) -> Answer:
    """Return the answer for a task nobody knows: never there, delivered, stopped, expired or somebody else's."""
    return Answer(token, done=False, more=False)


def stopped(token: Token) -> Answer:
    """Return the answer to every ``stop``."""
    return Answer(token, done=True, more=False)


def delivered(token: Token, result: str | tuple[Token, ...]) -> Answer:
    """Return the answer that carries a result: its text, or the tokens of its parts."""
    return Answer(token, done=True, more=not isinstance(result, str), result=result)
