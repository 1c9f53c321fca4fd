"""A link to a broker elsewhere, as ``crossdock worker`` puts a worker on it."""

from collections.abc import Callable

from msgspec import Struct

from crossdock.app.stopping import Hands
from crossdock.core.ports import Artifacts, Dispatch
from crossdock.core.requests import Capabilities
from crossdock.worker import Worker


def _itself(worker: Worker) -> Hands:
    return worker


class Attachment(Struct, frozen=True, kw_only=True):
    """Both ends of a link, and what its address says of the worker.

    ``place`` is the address as people may see it. ``hands`` makes of a worker what is run and drained.
    """

    dispatch: Dispatch
    artifacts: Artifacts
    offers: Capabilities
    slots: int | None
    place: str
    hands: Callable[[Worker], Hands] = _itself
