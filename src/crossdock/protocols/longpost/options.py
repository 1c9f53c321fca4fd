"""What can be set about the LONGPOST frontend."""

from msgspec import Struct

from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.longpost.parts import WIDEST


class LongpostOptions(Struct, frozen=True, kw_only=True):
    """The table ``[longpost]`` as the frontend takes it.

    Durations are seconds. ``chunk`` is how many characters of JSON text a result may have before it is sent in parts.
    ``grace`` is how long ``start`` waits for a quick result. ``origins`` are the web origins that may call (``*`` for all).
    ``max_body`` is bytes. An address may ask for ``misses_per_minute`` things that are not there; above ``breaker`` misses
    a second, of all addresses together, callers without an API key are refused.
    """

    chunk: int = 10 * 2**20
    result_ttl: float = 120.0
    cargo_ttl: float = 600.0
    grace: float = 0.05
    public: bool = False
    origins: tuple[str, ...] = ()
    max_body: int = 32 * 2**20
    misses_per_minute: int = 10
    breaker: float = 10.0

    def __post_init__(self) -> None:
        """Refuse a chunk that the widest character would not fit into."""
        if self.chunk < WIDEST:
            raise CrossdockError(Code.INVALID, f"longpost.chunk must be at least {WIDEST} characters")
