"""A child process that runs sync functions, one at a time, until its parent goes away.

Started as ``python -P -m crossdock.runners.function.child FD PARENT APP``.
"""

import ctypes
import faulthandler
import os
import resource
import signal
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final, cast

import msgspec

from crossdock.core.errors import CrossdockError
from crossdock.core.identifiers import MemberId, decode_id, encode_member
from crossdock.core.jobs import Outcome, OutcomeKind
from crossdock.runners.function.context import Context
from crossdock.runners.function.execution import CANCELLED, execute, over_memory
from crossdock.runners.function.frames import Broken, Ended, Ready, Run, split
from crossdock.runners.function.link import ChildChannel, Link
from crossdock.runners.function.loading import load_app
from crossdock.runners.function.members import merged
from crossdock.runners.function.registry import App, Function

_PR_SET_PDEATHSIG: Final = 1


def main(descriptor: int, parent: int, reference: str) -> None:
    """Load the app and serve runs."""
    _prepare(parent)
    sock = socket.socket(fileno=descriptor)
    sock.set_inheritable(False)
    link = Link(sock)
    try:
        app = load_app(reference)
    except CrossdockError as error:
        link.send(Broken(error.message))
        return
    link.send(Ready())
    while True:
        message, body = link.receive()
        if isinstance(message, Run):
            _serve(app, link, message, body)


def _prepare(parent: int) -> None:
    # A terminal or a service manager signals every process of a group; only the parent decides when a run ends.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _ignore)
    faulthandler.enable()
    # Output goes to the parent's standard error, line by line, however it is buffered there.
    cast("Any", sys.stdout).reconfigure(line_buffering=True)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Do nothing. Unlike SIG_IGN a handler is not passed on to the programs that user code starts."""


def _serve(app: App, link: Link, run: Run, body: bytes) -> None:
    (payload, *inputs), rest = split(body, run.sizes)
    function = app.functions.get(run.kind)
    channel = ChildChannel(link, run.number)
    if function is None:
        outcome = Outcome(kind=OutcomeKind.ERRORED, code="unknown_kind", message=f"the app has no function {run.kind!r}")
    elif run.indexes is None:
        outcome = _execute(function, Context(channel, run.job, run.attempt, inputs), payload or b"", run.memory)
    else:
        outcome = _serve_members(function, channel, link, run, (payload or b"", inputs, rest))
    channel.close()
    _send_outcome(link, None, outcome)


def _serve_members(
    function: Function, channel: ChildChannel, link: Link, run: Run, parts: tuple[bytes, list[bytes | None], bytes]
) -> Outcome:
    template, inputs, parameters = parts
    try:
        payloads = merged(template, msgspec.json.decode(parameters, type=list[dict[str, msgspec.Raw]]))
    except CrossdockError as error:
        return Outcome(kind=OutcomeKind.FAILED, code=error.code, message=error.message)
    array = decode_id(run.job)
    for index, payload in zip(run.indexes or (), payloads, strict=True):
        if channel.cancelled:
            return CANCELLED
        ctx = Context(channel, encode_member(MemberId(array, index)), run.attempt, inputs)
        _send_outcome(link, index, _execute(function, ctx, payload, run.memory))
    return Outcome(kind=OutcomeKind.SUCCEEDED)


def _execute(function: Function, ctx: Context, payload: bytes, limit: int | None) -> Outcome:
    if limit is None:
        return execute(function, ctx, payload)
    # The handlers of an error need memory too; past the limit they may fail as well.
    with suppress(MemoryError), _limited(limit):
        outcome = execute(function, ctx, payload)
        if outcome.code != MemoryError.__name__:
            return outcome
    return over_memory(limit)


@contextmanager
def _limited(size: int) -> Generator[None]:
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (size if hard == resource.RLIM_INFINITY else min(size, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def _send_outcome(link: Link, index: int | None, outcome: Outcome) -> None:
    ended = Ended(outcome.kind, index, outcome.code, outcome.message, outcome.retry_after)
    link.send(ended, cast("bytes | None", outcome.result) or b"")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
