"""One attempt on a remote LONGPOST endpoint, and what its end means here."""

from http import HTTPStatus
from typing import Final

import httpx
import msgspec

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.jobs import Outcome, OutcomeKind
from crossdock.protocols.longpost.client import AsyncLongpostClient
from crossdock.protocols.longpost.polling import GoneError, WorkerError

_PASSING: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
"""Statuses below 500 that say "not now", not "never"."""


async def run_remotely(client: AsyncLongpostClient, payload: bytes, timeout: float | None) -> Outcome:
    """Run a payload on the endpoint of ``client``; return how it ended.

    Cancelling this coroutine stops the remote task.

    Args:
        client: the endpoint.
        payload: JSON text.
        timeout: seconds.
    """
    try:
        text = await client.finish(await client.start_text(payload), timeout)
        return Outcome(kind=OutcomeKind.SUCCEEDED, result=_sound(text))
    except WorkerError as error:
        return _refused(error)
    except TimeoutError:
        return Outcome(kind=OutcomeKind.TIMED_OUT, code="timeout", message="the remote task did not end in time")
    except GoneError as error:
        return Outcome(kind=OutcomeKind.ERRORED, code="gone", message=str(error))
    except httpx.HTTPError as error:
        return Outcome(kind=OutcomeKind.ERRORED, code="unreachable", message=f"the remote endpoint: {error!r}")
    except (CrossdockError, msgspec.DecodeError, UnicodeError, RecursionError) as error:
        if isinstance(error, CrossdockError) and error.code is Code.TOO_LARGE:  # as it will be the next time
            return Outcome(
                kind=OutcomeKind.FAILED, code=error.code, message=f"the remote endpoint's answer: {error.message}"
            )
        return Outcome(kind=OutcomeKind.ERRORED, code="protocol", message=f"the remote endpoint's answer: {error}")


def _sound(text: str) -> bytes:
    """Return a result as it is kept, having made sure that it is JSON."""
    document = text.encode()
    msgspec.json.decode(document)
    return document


def _refused(error: WorkerError) -> Outcome:
    final = HTTPStatus.BAD_REQUEST <= error.status < HTTPStatus.INTERNAL_SERVER_ERROR and error.status not in _PASSING
    kind = OutcomeKind.FAILED if final else OutcomeKind.ERRORED
    return Outcome(kind=kind, code=str(error.status), message=str(error))
