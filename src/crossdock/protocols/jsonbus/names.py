"""The names that queues have, and which client ids may become one."""

import re
from typing import Final

from crossdock.core.errors import Code, CrossdockError

_CLIENT: Final = re.compile(r"[A-Za-z0-9._:-]{1,200}")


def requests_queue(node: str) -> str:
    """Return the queue of ours that takes a node's requests in."""
    return f"svc.{node}.requests"


def jobs_queue(name: str) -> str:
    """Return the queue of ours with jobs for our own workers."""
    return f"svc.{name}.jobs"


def results_queue(name: str) -> str:
    """Return the queue of ours that takes results in."""
    return f"svc.{name}.results"


def answers_queue(node: str) -> str:
    """Return the queue of ours that takes other nodes' notifications in."""
    return f"svc.{node}.answers"


def request_key(node: str) -> str:
    """Return the routing key of requests to another node, if nothing else is configured."""
    return f"{node}_request"


def jobs_key(name: str) -> str:
    """Return the routing key of jobs, which is also the name of the PHP library's queue."""
    return f"{name}_jobs"


def results_key(name: str) -> str:
    """Return the routing key of results."""
    return f"{name}_results"


def notify_key(client: str) -> str:
    """Return the routing key of a client's notifications, which is also the name of its queue.

    Raises:
        CrossdockError: ``invalid`` if the id cannot be part of a name.
    """
    if _CLIENT.fullmatch(client) is None:
        raise CrossdockError(
            Code.INVALID,
            "a clientId has 1 to 200 characters out of letters, digits and . _ : -, as a queue is named after it",
        )
    return f"{client}_notify"
