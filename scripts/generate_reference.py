"""Writes docs/reference from the code: the command line, the configuration, error codes, the life of a job.

Usage: generate_reference.py [--check]

With --check nothing is written, and the exit code is 1 if a page is not what the code says.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec
import typer.main

from crossdock.cli.failures import ExitCode
from crossdock.cli.main import cli
from crossdock.config.build import fields, type_name
from crossdock.config.schema import LATER, Config
from crossdock.config.section import Section
from crossdock.core.errors import Code
from crossdock.core.jobs import OutcomeKind
from crossdock.core.lifecycle import FENCED, TRANSITIONS, Event, State, mermaid
from crossdock.http.problems import STATUS

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"
MEBIBYTE = 2**20
NOTICE = "<!-- Written by scripts/generate_reference.py from the code: change it there. -->\n"

CODES = {
    Code.INVALID: "The request cannot be understood, or its values cannot be used. Sending it again will not help.",
    Code.NOT_FOUND: "There is no such job, kind, batch, worker or artifact, or it is not yours, or it was deleted.",
    Code.CONFLICT: "The job is not in a state in which this is possible.",
    Code.STALE_LEASE: "The report is about an attempt that is no longer the job's newest. It changed nothing.",
    Code.UNAUTHORIZED: "No API key, an unknown one (401), or one without the scope that is needed (403).",
    Code.TOO_LARGE: "The body, header or number of members is above its limit.",
    Code.UNAVAILABLE: "Not now: the server is stopping, the disk is full, or the caller is too fast or too slow. Try later.",
    Code.INTERNAL: "A fault in the server; its log says more.",
}
EXIT_CODES = {
    ExitCode.SUCCESS: "Success; with `--wait`: the job succeeded.",
    ExitCode.FAILED: "The job failed or was cancelled, the server refused, or `doctor` found something that does not work.",
    ExitCode.USAGE: "The command line or the configuration is wrong.",
    ExitCode.UNREACHABLE: "The server does not answer.",
    ExitCode.BROKEN: "`serve`: a write to the disk failed in a way that needs a restart, by the service manager.",
    ExitCode.INTERRUPTED: "Interrupted with Ctrl-C.",
}
OUTCOMES = {
    OutcomeKind.SUCCEEDED: "It gave a result.",
    OutcomeKind.FAILED: "The job's own fault (`crossdock.Failed`): not retried.",
    OutcomeKind.ERRORED: "Any other exception, or the machine's fault: retried.",
    OutcomeKind.LOST: "No heartbeat came: retried.",
    OutcomeKind.TIMED_OUT: "The attempt took longer than its kind allows: retried.",
    OutcomeKind.CANCELLED: "It was asked to stop and did, or was stopped.",
    OutcomeKind.RELEASED: "Handed back by a worker that stops at once; does not count as an attempt.",
}


def configuration() -> Iterator[str]:
    """Yield the lines of the page of the configuration."""
    yield "# Configuration\n"
    yield "Every key has a default, so a file is needed only for what differs. Later sources win over earlier ones:\n"
    yield "1. the TOML file: `--config FILE`, else `CROSSDOCK_CONFIG`, else `./crossdock.toml` if it is there;"
    yield "2. the environment: `CROSSDOCK_SECTION__KEY`, like `CROSSDOCK_HTTP__LISTEN=0.0.0.0:80` (and `CROSSDOCK_DATA`);"
    yield "3. options: `--set SECTION.KEY=VALUE`, like `--set worker.slots=8`, and the short `--data` and `--listen`.\n"
    yield "In the environment and in options a list is separated by commas or written as TOML, a table is written as TOML."
    yield 'Bytes and seconds are plain numbers, or texts like `"32 MiB"` and `"10 min"`.'
    yield "Keys that do not exist are errors. `crossdock doctor` reads the configuration without starting anything.\n"
    yield from _section(Config, "")
    later = [f"`[{name}]`" for name in LATER]
    yield f"Tables of later releases, refused by this one: {', '.join(later)}."


def _section(section: type[Section], path: str) -> Iterator[str]:
    known = fields(section)
    keys = {name: (kind, meta) for name, (kind, meta) in known.items() if meta is not None}
    if path:
        yield f"## [{path}]\n\n{section.__doc__}\n"
    if keys:
        yield "| key | type | default | |"
        yield "|---|---|---|---|"
        defaults = {f.name: f for f in msgspec.structs.fields(section)}
        for name, (kind, meta) in keys.items():
            unit = (meta.extra or {}).get("unit")
            what = f"{type_name(kind)}, {unit}" if unit else type_name(kind)
            yield f"| `{name}` | {what} | {_default(defaults[name], unit)} | {_cell(meta.description or '')} |"
        yield ""
    for name, (kind, _) in known.items():
        if inner := _inner(kind):
            yield from _section(inner, _path(path, name, kind))


def _inner(kind: Any) -> type[Section] | None:
    for each in (kind, *get_args(kind)):
        if isinstance(each, type) and issubclass(each, Section):
            return each
    return None


def _path(path: str, name: str, kind: Any) -> str:
    inner = f"{path}.{name}" if path else name
    if get_origin(kind) is dict:
        return f"{inner}.NAME"
    return f"[{inner}]" if get_origin(kind) is tuple else inner


def _default(field: msgspec.structs.FieldInfo, unit: str | None) -> str:
    if field.required:
        return "needed"
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    if isinstance(value, Section) or value in ((), {}):
        return "none"
    if unit == "bytes" and value and value % MEBIBYTE == 0:
        return f'`"{value // MEBIBYTE} MiB"`'
    return f"`{msgspec.json.encode(value).decode()}`"


def command_line() -> Iterator[str]:
    """Yield the lines of the page of the command line."""
    yield "# Command line\n"
    root: Any = typer.main.get_command(cli)
    yield f"{root.help}\n"
    yield "Clients find the server through `--server` or `CROSSDOCK_SERVER`, and show the API key in `CROSSDOCK_API_KEY`."
    yield "With `--json` a command prints one JSON object a line. Errors are a line on stderr.\n"
    yield "| exit code | |"
    yield "|---|---|"
    yield from (f"| {code.value} | {EXIT_CODES[code]} |" for code in ExitCode)
    yield ""
    for name, command in root.commands.items():
        yield from _command(f"crossdock {name}", command)


def _command(name: str, command: Any) -> Iterator[str]:
    yield f"## {name}\n\n{command.help or ''}\n"
    if inner := getattr(command, "commands", None):
        for sub, each in inner.items():
            yield from _command(f"{name} {sub}", each)
        return
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    yield f"```\n{' '.join([name, *(_usage(p) for p in arguments)])} [OPTIONS]\n```\n"
    yield "| | |"
    yield "|---|---|"
    for parameter in command.params:
        if parameter.name != "help":
            yield f"| {_cell(_parameter(parameter))} | {_cell(parameter.help or '')}{_environment(parameter)} |"
    yield ""


def _usage(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    if not argument.required and not name.startswith("["):
        name = f"[{name}]"
    return f"{name}..." if argument.nargs == -1 else name


def _parameter(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{_usage(parameter)}`"
    names = ", ".join(parameter.opts)
    return f"`{names}`" if parameter.is_flag else f"`{names} {parameter.metavar or parameter.name.upper()}`"


def _environment(parameter: Any) -> str:
    variable = getattr(parameter, "envvar", None)
    shown = [f"environment: `{variable}`"] if variable else []
    if parameter.default not in (None, False, "", ()) and not callable(parameter.default):
        shown.append(f"default: `{parameter.default}`")
    return f" ({'; '.join(shown)})" if shown else ""


def errors() -> Iterator[str]:
    """Yield the lines of the page of error codes."""
    yield "# Error codes\n"
    yield "Errors of the HTTP API are problem documents (`application/problem+json`) whose member `code` is one of these.\n"
    yield "| code | HTTP status | |"
    yield "|---|---|---|"
    yield from (f"| `{code}` | {STATUS[code]} | {CODES[code]} |" for code in Code)


def states() -> Iterator[str]:
    """Yield the lines of the page of the life of a job."""
    yield "# States and events of a job\n"
    yield f"```mermaid\n{mermaid()}```\n"
    yield "What is not in the table cannot happen. Events in *italics* count only with the token of the newest lease.\n"
    yield f"| in state | {' | '.join(State)} |"
    yield f"|---|{'---|' * len(State)}"
    for event in Event:
        name = f"*{event}*" if event in FENCED else str(event)
        yield f"| {name} | {' | '.join(str(TRANSITIONS[state].get(event, '')) for state in State)} |"
    yield "\n## How an attempt ends\n"
    yield "| outcome | |"
    yield "|---|---|"
    yield from (f"| `{kind}` | {OUTCOMES[kind]} |" for kind in OutcomeKind)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


PAGES = {"configuration.md": configuration, "cli.md": command_line, "errors.md": errors, "states.md": states}


def main() -> int:
    """Write or check every page; return the exit code."""
    check = "--check" in sys.argv[1:]
    drifted = []
    for name, lines in PAGES.items():
        path = REFERENCE / name
        text = NOTICE + "\n".join(lines()).rstrip() + "\n"
        if check and (not path.is_file() or path.read_text(encoding="utf-8") != text):
            drifted.append(name)
        elif not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if drifted:
        print(
            f"docs/reference: {', '.join(drifted)} differ from the code; run scripts/generate_reference.py", file=sys.stderr
        )
    return 1 if drifted else 0


if __name__ == "__main__":
    sys.exit(main())
