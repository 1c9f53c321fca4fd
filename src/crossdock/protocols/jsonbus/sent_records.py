"""What was sent out and is not settled, as records: what a process that is started again knows of it."""

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

from crossdock.core.jobs import ArtifactRef, Document
from crossdock.core.policy import until
from crossdock.core.ports import Clock, Records
from crossdock.core.requests import Record


class Answer(Struct, frozen=True):
    """What came back. ``data`` is JSON text, or where it lies; ``message`` and ``code`` say why it is not ``good``.

    ``final`` says that another attempt would not be good either.
    """

    good: bool
    data: Document | None = None
    message: str = ""
    code: str = ""
    final: bool = False


class Sent(Struct, frozen=True):
    """What was sent last: the number of the attempt, when (seconds since 1970), and the answer if nobody waited for it."""

    number: int
    at: float
    answer: Answer | None = None


class SentRecords:
    """The records of what one runner has sent, each from its confirm to the end of the attempt.

    Args:
        space: of the records.
        records: where they are.
        clock: the time.
        keep: seconds that a record is kept after it was sent, if nothing settles it.
    """

    def __init__(self, space: str, records: Records, clock: Clock, keep: float) -> None:
        self._space = space
        self._records = records
        self._clock = clock
        self._keep = keep

    async def find(self, name: str) -> Sent | None:
        """Return what is known of something that was sent."""
        record = await self._records.get(self._space, name)
        return None if record is None else _decode(record.value)

    def remember(self, name: str, number: int) -> None:
        """Note that an attempt has been sent just now. A crash before that is on disk may have it sent again."""
        self._records.remember(self._record(name, Sent(number, self._clock.wall())))

    async def keep(self, answered: dict[str, Sent]) -> None:
        """Write down, durably, what has got an answer that nobody waits for."""
        if answered:
            await self._records.put([self._record(name, sent) for name, sent in answered.items()])

    def forget(self, name: str) -> None:
        """Forget what was sent: whatever comes for it is ignored from now on."""
        self._records.forget(self._space, name)

    def left(self, sent: Sent, seconds: float) -> float:
        """Return how much is left of a time that began when something was sent, whatever became of the clock."""
        return until(sent.at + seconds, sent.at, self._clock.wall())

    def _record(self, name: str, sent: Sent) -> Record:
        data = sent.answer.data if sent.answer is not None else None
        digest = data.digest if isinstance(data, ArtifactRef) else None
        return Record(self._space, name, _encode(sent), sent.at + self._keep, digest)


_encode: Final[Callable[[Sent], bytes]] = msgspec.msgpack.Encoder().encode
_decode: Final[Callable[[bytes], Sent]] = msgspec.msgpack.Decoder(Sent).decode
