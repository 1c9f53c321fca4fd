"""``crossdock doctor``: what could keep a server from running well on this machine, found before it does."""

import os
import shutil
import socket
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Final

from crossdock.app.exposure import check_listening
from crossdock.app.findings import Finding, Health
from crossdock.config import Config, Evaluation, Jsonbus, listen_address, store_path
from crossdock.core.errors import CrossdockError
from crossdock.core.extras import extra
from crossdock.runners.function.loading import load_app
from crossdock.stores.sqlite.lock import FileLock

_OLDEST_PYTHON: Final = (3, 11)
_OLDEST_SQLITE: Final = (3, 35)
_LITTLE_SPACE: Final = 2**30
_TOO_LITTLE_SPACE: Final = 64 * 2**20
_SLOW_FSYNC: Final = 0.02
_FSYNCS: Final = 20


def examine(config: Config, app: str | None) -> Iterator[Finding]:
    """Run every check, in an order in which the first failure explains the later ones."""
    checks: tuple[tuple[str, Callable[[], tuple[Health, str]]], ...] = (
        ("python", _python),
        ("sqlite", _sqlite),
        ("data directory", lambda: _directory(Path(config.data))),
        ("free space", lambda: _space(Path(config.data))),
        ("fsync", lambda: _fsync(Path(config.data))),
        ("store", lambda: _store(store_path(config))),
        ("port", lambda: _port(config.http.listen)),
        ("access", lambda: _access(config)),
    )
    for name, check in checks:
        yield Finding(name, *check())
    if config.evaluation is not None or config.recodex is not None:
        yield from _sandbox(config.evaluation or Evaluation())
    if config.jsonbus is not None:
        yield from _bus(config, config.jsonbus)
    if app is not None:
        yield Finding("app", *_app(app))


def _python() -> tuple[Health, str]:
    text = f"{sys.version.split()[0]} at {sys.executable}"
    if sys.version_info < _OLDEST_PYTHON:
        return Health.FAILED, f"{text}; 3.11 or newer is needed"
    return Health.OK, text


def _sqlite() -> tuple[Health, str]:
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        return Health.FAILED, f"{sqlite3.sqlite_version}; 3.35 or newer is needed"
    return Health.OK, sqlite3.sqlite_version


def _directory(path: Path) -> tuple[Health, str]:
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        return Health.FAILED, f"{path} cannot be written: {error.strerror}; give another with --data"
    return Health.OK, f"{path.resolve()} can be written"


def _space(path: Path) -> tuple[Health, str]:
    try:
        free = shutil.disk_usage(path).free
    except OSError as error:
        return Health.FAILED, f"{path}: {error.strerror}"
    text = f"{free / 2**30:.1f} GiB"
    if free < _TOO_LITTLE_SPACE:
        return Health.FAILED, f"{text}: jobs will soon be refused"
    return (Health.WARNING, f"{text}: little for results") if free < _LITTLE_SPACE else (Health.OK, text)


def _fsync(path: Path) -> tuple[Health, str]:
    try:
        median = statistics.median(_fsync_times(path))
    except OSError as error:
        return Health.FAILED, f"{path}: {error.strerror}"
    text = f"{median * 1000:.2f} ms (median of {_FSYNCS}): what one group of submits waits for"
    return (Health.WARNING, f"{text}; this disk is slow") if median > _SLOW_FSYNC else (Health.OK, text)


def _fsync_times(path: Path) -> Iterator[float]:
    with tempfile.TemporaryFile(dir=path) as file:
        for _ in range(_FSYNCS):
            file.write(b"x" * 4096)
            file.flush()
            started = time.perf_counter()
            os.fsync(file.fileno())
            yield time.perf_counter() - started


def _port(listen: str) -> tuple[Health, str]:
    host, port = listen_address(listen)
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
    except OSError as error:
        return (
            Health.FAILED,
            f"{listen}: {error.strerror or error}; is a server running there? Else choose another with --listen",
        )
    return Health.OK, f"{listen} is free"


def _access(config: Config) -> tuple[Health, str]:
    try:
        note = check_listening(config, ())
    except CrossdockError as error:
        return Health.FAILED, error.message
    return (Health.WARNING, note) if note else (Health.OK, f"{len(config.security.keys)} API keys")


def _sandbox(table: Evaluation) -> Iterator[Finding]:
    """Try every tier: the first that works is used, so what is wrong with a weaker one does not matter."""
    from crossdock.runners.program.sandbox.tiers import probe

    reports = probe()
    best = next((report.tier for report in reports if report.works), None)
    for report in reports:
        said = " ".join(report.guarantees) if report.tier == best else "works too"
        text = said if report.works else report.reason
        advice = f" ({report.advice})" if report.advice and (best is None or report.tier <= best) else ""
        needed = best is None or report.tier < best
        yield Finding(f"sandbox tier {report.tier}", Health.WARNING if needed else Health.OK, text + advice)
    if best is None or best > table.min_tier:
        found = "none works" if best is None else f"the best that works is {int(best)}"
        yield Finding("evaluations", Health.FAILED, f"they need sandbox tier {table.min_tier}, and {found}")
        return
    try:
        with extra("recodex", "evaluations need"):
            import_module("crossdock.app.evaluating")
    except CrossdockError as error:
        yield Finding("evaluations", Health.FAILED, error.message)
    else:
        yield Finding("evaluations", Health.OK, f"run in sandbox tier {int(best)}; at least {table.min_tier} is asked for")


def _bus(config: Config, table: Jsonbus) -> Iterator[Finding]:
    try:
        with extra("jsonbus", "[jsonbus] needs"):
            from crossdock.app.bus_diagnosis import bus_findings
    except CrossdockError as error:
        yield Finding("json-bus", Health.FAILED, error.message)
    else:
        yield from bus_findings(config, table)


def _app(reference: str) -> tuple[Health, str]:
    try:
        kinds = load_app(reference).kinds()
    except CrossdockError as error:
        return Health.FAILED, error.message
    return (
        (Health.OK, f"{reference}: {', '.join(kinds)}") if kinds else (Health.WARNING, f"{reference} registers no function")
    )


def _store(path: Path | None) -> tuple[Health, str]:
    if path is None:
        return Health.WARNING, "in memory: jobs are lost when the server ends"
    if not path.is_file():
        return Health.OK, f"{path} is not there yet"
    lock = FileLock(path.with_name(f"{path.name}.lock"))
    try:
        lock.acquire()
    except CrossdockError as error:
        return Health.WARNING, f"{error.message}, to have it checked"
    try:
        return _integrity(path)
    finally:
        lock.release()


def _integrity(path: Path) -> tuple[Health, str]:
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            found: list[str] = [row[0] for row in database.execute("PRAGMA integrity_check(3)")]
    except sqlite3.Error as error:
        return Health.FAILED, f"{path} cannot be read: {error}"
    if found != ["ok"]:
        return Health.FAILED, f"{path} is damaged: {found[0]}; restore a copy"
    return Health.OK, f"{path} is whole"
