"""One call of a function, and how what it returned or raised becomes an outcome. The same in a child and in the loop."""

import traceback
from collections.abc import Awaitable
from typing import Final, cast

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import Outcome, OutcomeKind
from crossdock.runners.function.context import Context
from crossdock.runners.function.raised import Failed, Retry
from crossdock.runners.function.registry import Function
from crossdock.runners.function.results import NotJson, encode

_MESSAGE_LIMIT: Final = 2000
_TRACE_LIMIT: Final = 8000

CANCELLED: Final = Outcome(kind=OutcomeKind.CANCELLED, code="cancelled", message="stopped when it was asked to")


def execute(function: Function, ctx: Context, payload: bytes) -> Outcome:
    """Run a sync function on a payload. Exits (``SystemExit``) pass through."""
    try:
        return finished(ctx, call(function, ctx, payload))
    except Exception as error:  # noqa: BLE001 - user code raises what it likes
        return raised(function, ctx, error)


async def execute_async(function: Function, ctx: Context, payload: bytes) -> Outcome:
    """Run an async function on a payload."""
    try:
        return finished(ctx, await cast("Awaitable[object]", call(function, ctx, payload)))
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 - as above
        # An exit would end the whole loop, with everybody's jobs.
        return raised(function, ctx, error)


def call(function: Function, ctx: Context, payload: bytes) -> object:
    """Call a function with the arguments that its payload stands for."""
    arguments = function.parameters.bind(payload)
    return function.call(ctx, **arguments) if function.parameters.takes_context else function.call(**arguments)


def finished(ctx: Context, value: object) -> Outcome:
    """Return the outcome of a call that returned ``value``."""
    return CANCELLED if ctx.saw_cancel else Outcome(kind=OutcomeKind.SUCCEEDED, result=encode(value))


def raised(function: Function, ctx: Context, error: BaseException) -> Outcome:
    """Return the outcome of a call that raised ``error``; the traceback of an unexpected one goes to the job's log."""
    if ctx.saw_cancel:
        return CANCELLED
    match error:
        case Failed():
            return _failed(error.code, error.message)
        case Retry():
            return Outcome(kind=OutcomeKind.ERRORED, code="retry", message=error.message, retry_after=error.after)
        case NotJson():
            return _failed("result_not_json", str(error))
        case CrossdockError(code=Code.INVALID):
            return _failed(error.code, error.message)
        case CrossdockError():
            return Outcome(kind=OutcomeKind.ERRORED, code=error.code, message=error.message)
        case _:
            ctx.log("".join(traceback.format_exception(error))[-_TRACE_LIMIT:])
            kind = OutcomeKind.FAILED if isinstance(error, function.fatal) else OutcomeKind.ERRORED
            name = type(error).__name__
            return Outcome(kind=kind, code=name, message=f"{name}: {error}"[:_MESSAGE_LIMIT])


def over_memory(limit: int) -> Outcome:
    """Return the outcome of an attempt that wanted more than ``limit`` bytes."""
    return Outcome(
        kind=OutcomeKind.ERRORED, code="memory_limit", message=f"used more memory than its limit of {limit:,} bytes"
    )


def timed_out(seconds: float | None) -> Outcome:
    """Return the outcome of an attempt that took longer than it may."""
    return Outcome(kind=OutcomeKind.TIMED_OUT, code="timeout", message=f"took longer than its limit of {seconds:g} s")


def _failed(code: str, message: str) -> Outcome:
    return Outcome(kind=OutcomeKind.FAILED, code=code, message=message[:_MESSAGE_LIMIT])
