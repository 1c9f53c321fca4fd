"""The composition root: the only place where a configured name becomes an object."""

from crossdock.app.remote import run_worker as run_worker
from crossdock.app.server import run_server as run_server
from crossdock.app.server import serve as serve
