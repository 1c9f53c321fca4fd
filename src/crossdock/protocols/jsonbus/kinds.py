"""Kinds of jobs whose work is done elsewhere on the bus: by other nodes, or by workers behind a jobs queue."""

from typing import Final

import msgspec

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.kinds import Kind
from crossdock.core.policy import Policy
from crossdock.protocols.jsonbus.json_text import read_members

RUNNER: Final = "jsonbus"
"""The name of the runner that these kinds give."""


def backend_kind(name: str, description: str = "", *, attempts: int = 3) -> Kind:
    """Return a kind that workers behind a jobs queue run; ``attempts`` is how often a job is pushed in all."""
    return _kind(name, description, Policy(attempts=attempts))


def node_kind(name: str, *, wait: float = 3600.0) -> Kind:
    """Return a kind that another node answers for, which is asked once more if it took longer than ``wait`` seconds."""
    return _kind(name, f"Asks the json-bus node {name}", Policy(attempts=2, timeout=wait))


def _kind(name: str, description: str, policy: Policy) -> Kind:
    return Kind(name=name, runner=RUNNER, policy=policy, description=description, check=check_payload, resumes=True)


def check_payload(payload: bytes) -> None:
    """Refuse a payload that cannot be the params of a message. Raises ``invalid``."""
    try:
        read_members(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = "the payload has to be a JSON object: it becomes the params of a message"
        raise CrossdockError(Code.INVALID, text) from None
