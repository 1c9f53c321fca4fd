"""Logs of a program that has set up none: what goes wrong, on stderr. Its stdout is its own."""

import logging
import sys

import structlog


def keep_quiet() -> None:
    """Have structlog say warnings only, unless the program has said what it wants to hear."""
    if not structlog.is_configured():
        structlog.configure(
            wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        )
