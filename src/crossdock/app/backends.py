"""Workers that are somewhere else, as the server's hands."""

from msgspec import Struct

from crossdock.core.ports import Runner


class Backend(Struct, frozen=True, kw_only=True):
    """Workers behind a runner: which kinds they run, and how many jobs they are given at once."""

    name: str
    runner: Runner
    kinds: tuple[str, ...]
    slots: int
    description: str
