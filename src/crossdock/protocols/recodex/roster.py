"""The workers that are connected, by connection and by the id that the core knows them under."""

from collections.abc import Iterator

from msgspec import Struct

from crossdock.protocols.recodex.backend_effects import Running
from crossdock.protocols.recodex.messages import EXTENSION, Init


class Peer(Struct, eq=False):
    """A connection that introduced itself. ``heard`` is in seconds that never go back."""

    id: bytes
    worker: str
    init: Init
    heard: float
    running: Running | None = None

    @property
    def extended(self) -> bool:
        """Whether it speaks our extension."""
        return self.init.about(EXTENSION) is not None


class Roster:
    """All peers that have introduced themselves."""

    def __init__(self) -> None:
        self._peers: dict[bytes, Peer] = {}
        self._by_worker: dict[str, Peer] = {}

    def __iter__(self) -> Iterator[Peer]:
        return iter(list(self._peers.values()))

    def __len__(self) -> int:
        return len(self._peers)

    def __contains__(self, worker: str | None) -> bool:
        """Tell whether a worker of this id is connected."""
        return worker in self._by_worker

    def get(self, peer: bytes) -> Peer | None:
        """Return who is at the other end of a connection."""
        return self._peers.get(peer)

    def find(self, worker: str) -> Peer | None:
        """Return the peer that is a worker."""
        return self._by_worker.get(worker)

    def holders(self, job: str) -> list[Peer]:
        """Return the peers that were given a job of this id; several may be, as a client may use an id again.

        Asked only after reconnections, so it may look at all of them.
        """
        peers = self._peers.values()
        return [peer for peer in peers if (held := peer.running) is not None and held.token and held.job == job]

    def quiet_holder(self, job: str, since: float) -> Peer | None:
        """Return the peer whose job a new connection may go on with: it has said nothing ``since``, and is the only one."""
        quiet = [peer for peer in self.holders(job) if peer.heard < since]
        return quiet[0] if len(quiet) == 1 else None

    def claimant(self, job: str) -> Peer | None:
        """Return the peer that came last of those which say that they run a job, and were not given it."""
        claimed = Running(job)
        claims = [peer for peer in self._peers.values() if peer.running == claimed]
        return claims[-1] if claims else None

    def add(self, peer: Peer) -> None:
        """Add a peer, in place of any with the same connection or worker."""
        self._peers[peer.id] = peer
        self._by_worker[peer.worker] = peer

    def remove(self, peer: Peer) -> None:
        """Forget a peer."""
        if self._peers.get(peer.id) is peer:
            del self._peers[peer.id]
        if self._by_worker.get(peer.worker) is peer:
            del self._by_worker[peer.worker]
