"""From execute requests to submits of the core. No input, output or clock."""

from collections.abc import Iterator, Mapping
from typing import Final, TypeVar, cast
from urllib.parse import urlsplit

import msgspec
from msgspec import Raw

from crossdock.core.errors import Code, CrossdockError
from crossdock.core.identifiers import decode_id
from crossdock.core.jobs import ArraySpec, Subscriber
from crossdock.core.kinds import Kind
from crossdock.core.requests import Submit
from crossdock.http.problems import INVALID_PARAMETER, ProblemError
from crossdock.protocols.ogc.messages import ArrayRequest, Execute, SubscriberRequest
from crossdock.protocols.ogc.times import parse_instant

CHANNEL: Final = "ogc-callback"
"""The outbox channel of subscriber callbacks."""

OUTPUT: Final = "result"
"""The one output that every process has."""

MAX_KEY: Final = 255
_QUALIFIERS: Final = frozenset({"value", "mediaType", "encoding", "schema", "format"})

Message = TypeVar("Message")


def decode(body: bytes, message: type[Message]) -> Message:
    """Return a request body as a message.

    Raises:
        ProblemError: ``invalid``, naming the member that is wrong.
    """
    try:
        return msgspec.json.decode(body, type=message)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(f"the body does not fit: {error}") from None


def submit_of(execute: Execute, kind: Kind, *, tenant: str, key: str | None) -> Submit:
    """Return the submit that an execute request asks for.

    Args:
        execute: the request.
        kind: the process.
        tenant: who submits.
        key: the idempotency key.

    Raises:
        CrossdockError: ``invalid`` or ``not_found``, naming the member that is wrong.
    """
    options = execute.crossdock
    if unknown := set(execute.outputs or ()) - {OUTPUT}:
        raise invalid(f"the process {kind.name!r} has no output {min(unknown)[:40]!r}; its only one is {OUTPUT!r}")
    return Submit(
        kind=kind.name,
        payload=_payload(execute.inputs, kind),
        requirements=tuple(_requirements(options.requires)),
        priority=options.priority,
        tenant=tenant,
        not_before=_not_before(options.not_before),
        delay=options.delay,
        after=tuple(_job(text) for text in options.after),
        key=_key(key),
        array=None if options.array is None else _array(options.array),
        notify=() if execute.subscriber is None else _subscribers(execute.subscriber),
    )


def invalid(message: str) -> ProblemError:
    """Return the error for a value that cannot be used."""
    return ProblemError(Code.INVALID, message, type=INVALID_PARAMETER)


def _payload(inputs: Raw, kind: Kind) -> bytes:
    text = bytes(inputs)
    if not text.startswith(b"{"):
        raise invalid("inputs must be an object")
    if kind.raw:
        members = msgspec.json.decode(text, type=dict[str, Raw])
        if set(members) != {"payload"}:
            raise invalid(f"inputs of the process {kind.name!r} must have one member, payload")
        return bytes(members["payload"])
    if b'"value"' not in text:
        return text
    return _unqualified(text, kind)


def _unqualified(text: bytes, kind: Kind) -> bytes:
    """Replace values that are wrapped as the standard asks for objects (``{"value": …}``) by what they wrap."""
    members = msgspec.json.decode(text, type=dict[str, Raw])
    schemas = cast("Mapping[str, Mapping[str, object]]", kind.inputs.get("properties", {}))
    return msgspec.json.encode({name: _unwrap(value, schemas.get(name, {})) for name, value in members.items()})


def _unwrap(value: Raw, schema: Mapping[str, object]) -> Raw:
    text = bytes(value)
    if not text.startswith(b"{"):
        return value
    members = msgspec.json.decode(text, type=dict[str, Raw])
    if "value" not in members or not members.keys() <= _QUALIFIERS:
        return value
    # For an input that is an object itself, {"value": 3} is more likely that object than a wrapped 3.
    if schema.get("type") == "object" and not bytes(members["value"]).startswith(b"{"):
        return value
    return members["value"]


def _array(request: ArrayRequest) -> ArraySpec:
    table = bytes(request.table)
    if (request.stop is None) == (not table):
        raise invalid("crossdock.array needs either stop (with start, step, as) or table")
    if table:
        return ArraySpec(count=_rows(table), table=table)
    if request.step == 0:
        raise invalid("crossdock.array.step must not be 0")
    members = range(request.start, request.stop or 0, request.step)
    if not members:
        raise invalid("crossdock.array has no members: stop must lie beyond start")
    count = (members[-1] - members[0]) // request.step + 1
    return ArraySpec(count=count, name=request.name, start=request.start, step=request.step)


def _rows(table: bytes) -> int:
    try:
        rows = msgspec.json.decode(table, type=list[dict[str, Raw]])
    except msgspec.ValidationError as error:
        raise invalid(f"crossdock.array.table must be a list of objects: {error}") from None
    if not rows:
        raise invalid("crossdock.array.table has no rows")
    return len(rows)


def _requirements(requires: Mapping[str, str | list[str]]) -> Iterator[tuple[str, str]]:
    for name, values in sorted(requires.items()):
        for value in [values] if isinstance(values, str) else values:
            yield name, value


def _not_before(value: str | float | None) -> float | None:
    if isinstance(value, str):
        return parse_instant(value, "crossdock.not_before")
    return value


def _job(text: str) -> int:
    try:
        return decode_id(text)
    except CrossdockError:
        raise invalid(f"crossdock.after: there is no job {text[:40]!r}") from None


def _key(key: str | None) -> str | None:
    if key is None:
        return None
    if not 1 <= len(key) <= MAX_KEY or not key.isprintable():
        raise invalid(f"an idempotency key must have 1 to {MAX_KEY} printable characters")
    return key


def _subscribers(request: SubscriberRequest) -> tuple[Subscriber, ...]:
    wanted = (
        ("successUri", request.success_uri, ("succeeded",)),
        ("inProgressUri", request.in_progress_uri, ("leased",)),
        ("failedUri", request.failed_uri, ("failed", "cancelled")),
    )
    return tuple(Subscriber(CHANNEL, _url(name, url), on) for name, url, on in wanted if url is not None)


def _url(name: str, url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
        _ = parts.port
    except ValueError:
        usable = False
    if not usable or not url.isascii() or not url.isprintable() or " " in url:
        raise invalid(f"subscriber.{name} must be an http or https URL without credentials")
    return url
