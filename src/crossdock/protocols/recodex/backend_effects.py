"""What the workers' door wants done, as data: whoever carries it out is another's business."""

from msgspec import Struct

from crossdock.core.jobs import Outcome
from crossdock.core.requests import Capabilities
from crossdock.protocols.recodex.messages import Done, Extended, Frames, Init, Progress, ToWorker


class Running(Struct, frozen=True, gc=False):
    """A job at a plain worker. ``token`` is 0 if the worker says that it runs it, and nothing here is known of it."""

    job: str
    token: int = 0
    attempt: int = 1
    result: str = ""


class Send(Struct, frozen=True, gc=False):
    """Send a message."""

    peer: bytes
    message: ToWorker


class Attach(Struct, frozen=True, gc=False):
    """Introduce a plain worker to the core, or replace what is known of it; ``tokens`` are leases that it holds."""

    worker: str
    capabilities: Capabilities
    description: str
    tokens: tuple[int, ...] = ()


class Welcome(Struct, frozen=True, gc=False):
    """Introduce a worker that speaks the extension; what it says of itself is in ``init``."""

    peer: bytes
    init: Init


class Detach(Struct, frozen=True, gc=False):
    """Let the core forget a worker. What it holds and did not report is handed back.

    ``token`` is the lease that a plain worker had, 0 if it had none.
    """

    worker: str
    token: int = 0


class Lose(Struct, frozen=True, gc=False):
    """Let the core forget a worker that has fallen silent; the attempts it held have failed.

    ``running`` is what a plain worker had; what one with the extension holds is known to who speaks it.
    """

    worker: str
    outcome: Outcome
    running: Running | None = None


class Want(Struct, frozen=True, gc=False):
    """A plain worker is free: claim for it. Fact: :meth:`BackendSession.given`."""

    worker: str


class Reclaim(Struct, frozen=True, gc=False):
    """Find the lease of a job that a peer runs from before. Fact: :meth:`BackendSession.reclaimed`."""

    peer: bytes
    job: str


class End(Struct, frozen=True, gc=False):
    """A peer is done with the job that it was given."""

    running: Running
    done: Done


class Inherit(Struct, frozen=True, gc=False):
    """A stranger is done with a job that no connected worker holds: it may be from before a restart."""

    done: Done


class Release(Struct, frozen=True, gc=False):
    """Hand a lease back unstarted."""

    token: int


class Note(Struct, frozen=True, gc=False):
    """Progress of a lease."""

    token: int
    message: Progress


class Pass(Struct, frozen=True, gc=False):
    """Progress to pass on to whoever watches; ``stray`` if it will not be in the log of a running job."""

    frames: Frames
    stray: bool


class Ask(Struct, frozen=True, gc=False):
    """A question in the extension."""

    worker: str
    peer: bytes
    message: Extended


class Complain(Struct, frozen=True, gc=False):
    """Count and log what a peer did wrong."""

    peer: bytes
    name: str
    reason: str


Effect = Send | Attach | Welcome | Detach | Want | Reclaim | End | Inherit | Lose | Release | Note | Pass | Ask | Complain
