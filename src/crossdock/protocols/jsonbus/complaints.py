"""Turns what RabbitMQ and the AMQP library say into errors that tell people what to do."""

import re
import ssl
from collections.abc import Sequence
from typing import Final

from aiormq import exceptions as amqp
from msgspec import Struct
from yarl import URL

from crossdock.core.errors import Code, CrossdockError
from crossdock.protocols.jsonbus.declaring import NotDeclared
from crossdock.protocols.jsonbus.names import requests_queue
from crossdock.protocols.jsonbus.topology import Binding, Exchange, Part, Queue

FAILURES: Final = (amqp.AMQPError, RuntimeError, OSError, CrossdockError)
"""What the library raises over a connection that fails, and we; a TimeoutError is an OSError."""

_INEQUIVALENT: Final = re.compile(
    r"inequivalent arg '(?P<what>[^']*)' for (?P<kind>queue|exchange) '(?P<name>.*)' in vhost .*?: (?P<differs>.*)$",
    re.DOTALL,
)
_REFUSED: Final = re.compile(r"access to (?P<kind>\w+) '(?P<name>.*)' in vhost")
_TOO_LARGE: Final = re.compile(r"message size \d+ is larger than configured max size (?P<most>\d+)")

_REQUESTS: Final = requests_queue("").removeprefix("svc.")


class Broker(Struct, frozen=True):
    """The broker that an error is about, as it may be shown: without the password."""

    address: str
    user: str
    vhost: str
    secure: bool


class Complaint(Exception):
    """An error for people, and whether it stays until somebody mends it."""

    def __init__(self, error: CrossdockError, *, lasting: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.lasting = lasting


def broker(url: URL) -> Broker:
    """Return what may be shown of an URL."""
    vhost = url.path.removeprefix("/").replace("%2F", "/") or "/"
    return Broker(f"{url.host}:{url.port}", url.user or "guest", vhost, url.scheme == "amqps")


def explain(error: BaseException, at: Broker, parts: Sequence[Part], closing: str) -> Complaint:
    """Return what an error means for whoever runs us.

    Args:
        error: what was raised while connecting and declaring.
        at: the broker.
        parts: everything that is declared, for the permissions that this needs.
        closing: RabbitMQ's own words about why it hung up, if it said any.
    """
    if isinstance(error, NotDeclared):
        return _not_declared(error, at, parts)
    if isinstance(error, amqp.ChannelAccessRefused):
        return _permission(str(error), at, parts, "")
    if isinstance(error, amqp.ProbableAuthenticationError | amqp.AuthenticationError):
        return _lasting(
            Code.UNAUTHORIZED,
            f"RabbitMQ at {at.address} does not let {at.user!r} in: wrong user or password. Correct them in the URL, or set"
            f" the password: rabbitmqctl change_password {at.user} PASSWORD. (guest may only come from the same machine.)",
        )
    if closing:
        return _hung_up(closing, at)
    return _unreachable(error, at)


def too_large(text: str) -> int | None:
    """Return the bytes that RabbitMQ takes at most, if that is what it complained about."""
    found = _TOO_LARGE.search(text)
    return int(found["most"]) if found else None


def permissions(user: str, vhost: str, parts: Sequence[Part]) -> str:
    """Return the command that gives a user all it needs for some parts; it replaces what the user had."""
    names: set[str] = set()
    for part in parts:
        found = (part.exchange, part.queue) if isinstance(part, Binding) else (part.name,)
        names |= {r"svc\..*" if name.startswith("svc.") else re.escape(name) for name in found}
    pattern, answers = "|".join(sorted(names)), ""
    if any(isinstance(part, Queue) and part.name.endswith(_REQUESTS) for part in parts):
        answers = r"amq\.default|"  # where answers go to whatever queue a request's reply_to names
    return f"rabbitmqctl set_permissions -p {vhost} {user} '^({pattern})$' '^({answers}{pattern})$' '^({pattern})$'"


def _lasting(code: Code, text: str) -> Complaint:
    return Complaint(CrossdockError(code, text), lasting=True)


def _not_declared(error: NotDeclared, at: Broker, parts: Sequence[Part]) -> Complaint:
    part, cause = error.part, error.__cause__
    text = str(cause)
    if isinstance(cause, amqp.ChannelAccessRefused):
        return _permission(text, at, parts, _needs(part))
    if isinstance(cause, amqp.ChannelPreconditionFailed | amqp.ChannelLockedResource):
        return _incompatible(text, part, at)
    if isinstance(cause, amqp.ChannelNotFoundEntity):
        return _lasting(Code.NOT_FOUND, f"RabbitMQ at {at.address}: {text}. Whoever it belongs to has to declare it first")
    return Complaint(
        CrossdockError(Code.UNAVAILABLE, f"RabbitMQ at {at.address}, about {_called(part)}: {text}"), lasting=False
    )


def _needs(part: Part) -> str:
    if isinstance(part, Binding):
        return f"To bind it needs write on the queue {part.queue} and read on the exchange {part.exchange}."
    if isinstance(part, Exchange):
        return f"To declare it needs configure on the exchange {part.name}."
    dead = part.arguments.get("x-dead-letter-exchange")
    further = f", and with its dead letters read on the queue and write on the exchange {dead}" if dead else ""
    return f"To declare it needs configure on the queue {part.name}{further}."


def _permission(text: str, at: Broker, parts: Sequence[Part], needs: str) -> Complaint:
    found = _REFUSED.search(text)
    on = f"the {found['kind']} {found['name']}" if found else text
    return _lasting(
        Code.UNAUTHORIZED,
        f"the user {at.user!r} lacks a permission on {on} in the virtual host {at.vhost!r} of RabbitMQ at {at.address}."
        f" {needs} All it needs, in place of what it has: {permissions(at.user, at.vhost, parts)}",
    )


def _incompatible(text: str, part: Part, at: Broker) -> Complaint:
    found = _INEQUIVALENT.search(text)
    differs = f"its {found['what']} differs, {found['differs']} (received: ours)" if found else text
    if isinstance(part, Exchange):
        mend = f"Delete it once nobody uses it: rabbitmqadmin --vhost={at.vhost} delete exchange name={part.name}"
    elif isinstance(part, Binding):
        mend = "Look at who declared it"
    else:
        mend = (
            f"Delete it, with the messages in it: rabbitmqctl -p {at.vhost} delete_queue {part.name}, or give the node (or"
            f" the client or backend that it is named after) another name"
        )
    return _lasting(
        Code.CONFLICT,
        f"{_called(part)} in the virtual host {at.vhost!r} of RabbitMQ at {at.address} is there already and does not fit:"
        f" {differs}. {mend}",
    )


def _called(part: Part) -> str:
    if isinstance(part, Binding):
        return f"the binding of {part.queue} to {part.exchange}"
    return f"the exchange {part.name}" if isinstance(part, Exchange) else f"the queue {part.name}"


def _hung_up(closing: str, at: Broker) -> Complaint:
    if "vhost" in closing and "not found" in closing:
        return _lasting(
            Code.NOT_FOUND,
            f"RabbitMQ at {at.address} has no virtual host {at.vhost!r}. Correct the URL (a / in it is written %2F), or make"
            f" it: rabbitmqctl add_vhost {at.vhost}",
        )
    if "refused for user" in closing:
        return _lasting(
            Code.UNAUTHORIZED,
            f"the user {at.user!r} has no permissions in the virtual host {at.vhost!r} of RabbitMQ at {at.address}:"
            f" rabbitmqctl set_permissions -p {at.vhost} {at.user} '.*' '.*' '.*'",
        )
    return Complaint(CrossdockError(Code.UNAVAILABLE, f"RabbitMQ at {at.address} hung up: {closing}"), lasting=False)


def _unreachable(error: BaseException, at: Broker) -> Complaint:
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _lasting(
            Code.UNAVAILABLE,
            f"the certificate of RabbitMQ at {at.address} is not trusted: {cause.verify_message}. Name the file of who"
            f" signed it (ca), or use the host name that it is for",
        )
    if isinstance(cause, ssl.SSLError):
        return _lasting(
            Code.UNAVAILABLE,
            f"no TLS with RabbitMQ at {at.address}: {cause.reason or cause}. Is this its port for TLS (5671 as a rule)?"
            f" Without TLS the URL begins with amqp://",
        )
    if isinstance(cause, FileNotFoundError | PermissionError):
        return _lasting(Code.INVALID, f"a file for TLS with RabbitMQ at {at.address} cannot be read: {cause.strerror}")
    if isinstance(cause, ConnectionRefusedError):
        text = f"nothing listens at {at.address}. Start RabbitMQ there, or correct the URL"
    elif isinstance(error, TimeoutError):
        text = f"RabbitMQ at {at.address} does not answer in time"
    else:
        hint = "" if at.secure else " (if this is its port for TLS, the URL has to begin with amqps://)"
        text = f"no connection to RabbitMQ at {at.address}: {_short(error)}{hint}"
    return Complaint(CrossdockError(Code.UNAVAILABLE, text), lasting=False)


def _short(error: BaseException) -> str:
    return " ".join(str(argument) for argument in error.args) or type(error).__name__
