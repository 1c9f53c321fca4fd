"""What the doors call: those who watch progress, and those who move files."""

from collections.abc import Awaitable, Callable

from msgspec import Struct

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import Document, Lease

Tell = Callable[[str, tuple[bytes, ...]], None]
"""Is given a job's id as clients know it, and the frames of progress behind it: a state, and for TASK task and state."""


def nobody(job: str, frames: tuple[bytes, ...]) -> None:
    """Be told in vain."""
    del job, frames


async def fetch_nothing(url: str) -> bytes:
    """Refuse to fetch."""
    del url
    raise CrossdockError(Code.INVALID, "this server fetches no payloads: only evaluations are accepted")


async def publish_nothing(lease: Lease) -> tuple[str, str] | None:
    """Publish nothing."""
    del lease


async def collect_nothing(lease: Lease) -> Document | None:
    """Collect nothing."""
    del lease


class Hooks(Struct, frozen=True, kw_only=True):
    """What the rest of the server does for the doors.

    ``feed`` is told of all progress, for a monitor elsewhere. ``raw`` is told only what the logs of jobs do not hold:
    progress of jobs that do not run or that run at somebody else, and rejections.
    ``fetch`` returns what a URL holds that a client named, or raises ``invalid`` or ``unavailable``.
    ``publish`` returns the URLs by which a plain worker gets the submission of an evaluation and delivers its results, None
    if there are none; ``collect`` then returns the result of the job, None if there is none to show.
    """

    raw: Tell = nobody
    feed: Tell = nobody
    fetch: Callable[[str], Awaitable[bytes]] = fetch_nothing
    publish: Callable[[Lease], Awaitable[tuple[str, str] | None]] = publish_nothing
    collect: Callable[[Lease], Awaitable[Document | None]] = collect_nothing
