"""What the server says on stderr: lines for people, or JSON for machines."""

import logging
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, TextIO, cast

import structlog

from crossdock.core.identifiers import encode_id


def configure_logs(level: str, form: str) -> None:
    """Set up structlog for the process, once, before anything is logged.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``.
        form: ``text`` or ``json``.
    """
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _public_job_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if form == "json":
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        # The plain formatter: the default one prints local variables, and with them payloads and keys.
        plain = structlog.dev.plain_traceback
        processors.append(structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain))
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Harmless(sys.stderr))),
    )


class _Harmless:
    """A stream whose failures stay its own: whoever logs must not break because the disk is full or the reader gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


def _public_job_id(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Write ``job`` as clients know it, so that what a log names can be looked up."""
    if isinstance(event.get("job"), int):
        event["job"] = encode_id(event["job"])
    return event
