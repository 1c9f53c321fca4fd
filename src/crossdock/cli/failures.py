"""How a command ends when it does not succeed: one line that says what to do, and an exit code that scripts rely on."""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from enum import IntEnum

import typer


class ExitCode(IntEnum):
    """What the exit codes mean."""

    SUCCESS = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    BROKEN = 70
    INTERRUPTED = 130


class CommandError(Exception):
    """A command cannot go on: ``message`` is for people, ``exit_code`` for scripts."""

    def __init__(self, message: str, exit_code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code


@contextmanager
def reported() -> Generator[None, None, None]:
    """Turn expected errors into a line on stderr and an exit code; others stay what they are, with their traceback."""
    from crossdock.config.sources import ConfigError
    from crossdock.core.errors import Code, CrossdockError

    try:
        yield
    except CommandError as error:
        _end(error.message, error.exit_code)
    except ConfigError as error:
        _end(str(error), ExitCode.USAGE)
    except CrossdockError as error:
        _end(error.message, ExitCode.USAGE if error.code is Code.INVALID else ExitCode.FAILED)
    except KeyboardInterrupt:
        _end("interrupted", ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output (head, a pager) has seen enough.
        sys.stderr.close()
        raise typer.Exit(ExitCode.SUCCESS) from None


def _end(message: str, code: ExitCode) -> None:
    for line in message.splitlines():
        typer.echo(f"crossdock: {line}", err=True)
    raise typer.Exit(code) from None
