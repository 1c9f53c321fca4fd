"""Who is answered, and where: the address of what the outbox owes on this bus."""

from collections.abc import Callable
from hashlib import blake2b
from typing import Final
from uuid import UUID, uuid5

import msgspec
from msgspec import Struct

from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.jsonbus.names import notify_key
from crossdock.protocols.jsonbus.topology import BUS

CHANNEL: Final = "jsonbus"
"""The channel of the outbox."""

_NAMESPACE: Final = UUID("0f2d7a86-5b1e-5c0f-9a55-3f1f0f7c4b11")
_OWN: Final = "svc."
"""How the names of our own queues begin, which are nobody's mailbox."""
_SEPARATOR: Final = b"\0"


class Asker(Struct, frozen=True, gc=False, omit_defaults=True):
    """A request of a client, as it is answered. ``reply`` is the queue that its ``reply_to`` named, which goes first."""

    client: str
    request: str
    reply: str = ""

    @property
    def text(self) -> str:
        """The address as text."""
        return _encode(self).decode()

    @property
    def route(self) -> tuple[str, str]:
        """The exchange and the routing key of answers.

        Raises:
            CrossdockError: ``invalid`` if there is no queue of that name.
        """
        if not self.reply:
            return BUS, notify_key(self.client)
        if self.reply.startswith(_OWN):
            raise CrossdockError(Code.INVALID, f"reply_to names a queue of the service itself; take one without {_OWN!r}")
        return "", self.reply

    @property
    def identity(self) -> str:
        """What is the same for every delivery of the request: the key of its cached answer, 40 hexadecimal digits."""
        return digest(self.client, self.request)

    def message_id(self, cause: str) -> str:
        """Return the id of an answer, the same when it is sent again. ``cause`` is what it follows from, such as a job."""
        return str(uuid5(_NAMESPACE, f"{cause}\n{self.client}\n{self.request}"))


def read_asker(address: str) -> Asker:
    """Return who is meant by an address.

    Raises:
        msgspec.DecodeError: it is none of ours.
    """
    return _decode(address)


def digest(*parts: str) -> str:
    """Return 40 hexadecimal digits that stand for these texts and no others."""
    length = _SEPARATOR.join(b"%d" % len(part) for part in parts)
    return blake2b(_SEPARATOR.join((length, *(part.encode() for part in parts))), digest_size=20).hexdigest()


_encode: Final[Callable[[Asker], bytes]] = msgspec.json.Encoder().encode
_decode: Final[Callable[[str], Asker]] = msgspec.json.Decoder(Asker).decode
