"""The server that a command talks to."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from crossdock.cli.failures import CommandError, ExitCode

if TYPE_CHECKING:
    from crossdock.protocols.ogc.client import Client


@contextmanager
def connected(server: str) -> "Generator[Client, None, None]":
    """Give a client of the server; what goes wrong with the connection becomes a line that says what to do.

    Raises:
        CommandError: with the exit code for a server that does not answer, or for one that refuses.
    """
    from crossdock.core.errors import Code, CrossdockError
    from crossdock.protocols.ogc.client import Client

    try:
        with Client(server, os.environ.get("CROSSDOCK_API_KEY") or None) as client:
            yield client
    except CrossdockError as error:
        if error.code is Code.UNAVAILABLE:
            raise CommandError(_unreachable(error), ExitCode.UNREACHABLE) from error
        if error.code is Code.UNAUTHORIZED:
            text = f"{error.message}; put a key that may do this into CROSSDOCK_API_KEY"
            raise CommandError(text, ExitCode.USAGE) from error
        # 1 is for jobs that failed: what the server does not take is wrong use, and a script can tell the two apart.
        raise CommandError(error.message, ExitCode.FAILED if error.code is Code.INTERNAL else ExitCode.USAGE) from error


def _unreachable(error: Exception) -> str:
    # A cause means that no answer came; without one the server itself said that it cannot now.
    hint = "; is `crossdock serve` running there? --server or CROSSDOCK_SERVER names another" if error.__cause__ else ""
    return f"{getattr(error, 'message', error)}{hint}"
