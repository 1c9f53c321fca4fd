"""LONGPOST, also called WORKER: long computations behind one URL, asked for with POST and polled."""

from crossdock.protocols.longpost.backend import LongpostRunner
from crossdock.protocols.longpost.client import AsyncLongpostClient, LongpostClient
from crossdock.protocols.longpost.frontend import routes
from crossdock.protocols.longpost.options import LongpostOptions
from crossdock.protocols.longpost.polling import Delays, GoneError, WorkerError

__all__ = [
    "AsyncLongpostClient",
    "Delays",
    "GoneError",
    "LongpostClient",
    "LongpostOptions",
    "LongpostRunner",
    "WorkerError",
    "routes",
]
