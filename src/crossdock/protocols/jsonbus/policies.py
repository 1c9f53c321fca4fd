"""The policies that an operator should set on RabbitMQ for a node, as commands.

Policies are the operator's: RabbitMQ does not compare them when the PHP library or we declare a queue, so they can be put on
queues that have to be declared exactly as they are.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from crossdock.protocols.jsonbus.names import answers_queue, jobs_queue, notify_key, requests_queue, results_queue
from crossdock.protocols.jsonbus.options import BackendOptions, NodeOptions

_DAY: Final = 86_400_000
"""Milliseconds."""
_MOST: Final = 1_000_000
"""Messages that wait in one of our queues before whoever publishes is told that it is full."""
_MOST_DEAD: Final = 100_000
_HOLDING: Final = (
    "# A worker may hold a job for 30 minutes, then RabbitMQ gives it to another one. `crossdock worker` acknowledges after"
    " 15 (ack_after). For workers that hold longer: consumer_timeout = MILLISECONDS in rabbitmq.conf; RabbitMQ 3.12 and"
    " later also know a policy consumer-timeout."
)


def policies(options: NodeOptions, backends: Sequence[BackendOptions] = (), *, vhost: str = "/") -> list[str]:
    """Return the commands, each after a line that says why.

    Args:
        options: the node.
        backends: who works for it.
        vhost: where all of this is.
    """
    node = options.node
    copies = _either(options.request_key, notify_key(node), *(one.results_key for one in backends if one.foreign))
    queues = [requests_queue(node), answers_queue(node), *(results_queue(one.name) for one in backends)]
    queues += [jobs_queue(one.name) for one in backends if not one.foreign]
    own, dead = _either(*queues), _either(*(f"{queue}.dead" for queue in queues))
    own_rules = {"max-length": _MOST, "overflow": "reject-publish", "dead-letter-strategy": "at-least-once"}
    return [
        "# Peers in PHP declare queues for what they publish to us, which nobody reads: nothing may pile up in them.",
        _policy(vhost, f"{node}-php-copies", copies, {"message-ttl": 0, "max-length": 0, "expires": _DAY}),
        "# A full queue refuses new messages, which publishers notice, and loses no dead letter on its way.",
        _policy(vhost, f"{node}-own", own, own_rules),
        "# Dead letters are kept for 30 days, and never fill the disk.",
        _policy(vhost, f"{node}-dead", dead, {"message-ttl": 30 * _DAY, "max-length": _MOST_DEAD, "overflow": "drop-head"}),
        _HOLDING,
        "# Set no alternate-exchange on jsonbus: RabbitMQ would not tell us any more that a client's queue is gone.",
    ]


def _either(*names: str) -> str:
    return f"^({'|'.join(re.escape(name) for name in names)})$"


def _policy(vhost: str, name: str, pattern: str, rules: Mapping[str, int | str]) -> str:
    words = ["rabbitmqctl", "set_policy", "-p", vhost, "--apply-to", "queues", name, pattern]
    return shlex.join([*words, msgspec.json.encode(rules).decode()])
