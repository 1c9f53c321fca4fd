"""How requests end, as notifications: pure functions from a job's last snapshot, or from a refusal, to a letter."""

from collections.abc import Callable
from typing import Final

import msgspec

from crossdock.core.identifiers import encode_id
from crossdock.core.jobs import Job
from crossdock.core.lifecycle import State
from crossdock.protocols.jsonbus.asker import Asker
from crossdock.protocols.jsonbus.bus import Letter
from crossdock.protocols.jsonbus.frontend_session import Refusal
from crossdock.protocols.jsonbus.letters import letter
from crossdock.protocols.jsonbus.messages import Ending, Notification

DONE: Final = "done"
"""The message of a success that has none of its own: PHP readers need a text."""

_MESSAGE: Final = 16 * 1024
"""Characters of a message that are passed on."""

_encode: Final[Callable[[object], bytes]] = msgspec.json.Encoder().encode


def ending_letter(job: Job, asker: Asker, data: bytes | None) -> Letter:
    """Return the answer to a request whose job has ended.

    Args:
        job: in a terminal state.
        asker: whose request it is.
        data: the result as JSON text, or a reference to it; only successes have one.

    Raises:
        CrossdockError: ``invalid`` if receivers could not read the data.
    """
    if job.state is State.SUCCEEDED:
        return _letter(asker, "success", job.message or DONE, data, encode_id(job.id))
    cancelled = job.state is State.CANCELLED
    code = job.code or ("cancelled" if cancelled else "failed")
    message = job.message or ("the job was cancelled" if cancelled else f"the job failed ({code})")
    return _failure(asker, message, code, encode_id(job.id))


def refusal_letter(refusal: Refusal, cause: str) -> Letter:
    """Return the answer to a request that nobody carries out; ``cause`` stands for this very request."""
    return _failure(refusal.asker, refusal.reason, refusal.code, cause)


def unreadable_letter(job: Job, asker: Asker, why: str) -> Letter:
    """Return the answer to a request whose result cannot be delivered."""
    return _failure(asker, f"the job succeeded, but its result cannot be delivered: {why}", "result", encode_id(job.id))


def _failure(asker: Asker, message: str, code: str, cause: str) -> Letter:
    return _letter(asker, "fail", message, _encode({"code": _sound(code)}), cause)


def _letter(asker: Asker, status: Ending, message: str, data: bytes | None, cause: str) -> Letter:
    exchange, key = asker.route
    notification = Notification(request_id=asker.request, status=status, message=_sound(message)[:_MESSAGE], data=data)
    return letter(notification, key, exchange=exchange, id=asker.message_id(cause))


def _sound(text: str) -> str:
    """Return a text that can be written as UTF-8: a half of a surrogate pair becomes a question mark."""
    return text.encode("utf-8", "replace").decode()
