"""What can be set about the two ReCodEx doors."""

from pathlib import Path
from typing import Literal

from msgspec import Struct

from crossdock.protocols.recodex.messages import CLIENT_PORT, WORKER_PORT


class Curve(Struct, frozen=True, kw_only=True):
    """Encryption and authentication of the doors (ZeroMQ's CURVE).

    ``secret_key`` is the server's in ZeroMQ's own base 85 (40 characters). ``clients`` is a directory of certificates, files
    ``NAME.key`` as ``zmq.auth.create_certificates`` makes them; only the peers whose public keys are in it may connect.
    """

    secret_key: str
    clients: Path


class RecodexOptions(Struct, frozen=True, kw_only=True):
    """The table ``[recodex]`` as the doors take it.

    ``clients`` and ``workers`` are ZeroMQ endpoints; an address beyond loopback needs ``curve`` or ``insecure``.
    A worker that has said nothing for ``max_liveness`` times ``ping_interval`` seconds is lost.
    ``max_request_failures`` is how often an evaluation is tried in all. ``no_worker`` says what becomes of a job that no
    attached worker could take: it is rejected, or it waits. Job ids are remembered for ``remember`` seconds.
    ``in_flight`` is how many jobs may be on their way to the disk before the clients' door stops reading.
    ``told`` says whether somebody listens to the outbox for how evaluations ended; if not, nothing is put there.
    """

    clients: str = f"tcp://127.0.0.1:{CLIENT_PORT}"
    workers: str = f"tcp://127.0.0.1:{WORKER_PORT}"
    ping_interval: float = 1.0
    max_liveness: int = 4
    max_request_failures: int = 3
    no_worker: Literal["reject", "queue"] = "reject"
    remember: float = 7 * 86400.0
    in_flight: int = 2000
    told: bool = True
    insecure: bool = False
    curve: Curve | None = None

    @property
    def silence(self) -> float:
        """Seconds of silence after which a worker is lost."""
        return self.ping_interval * self.max_liveness
