"""Brings a database to the schema of this program, one numbered migration after the other; see decision 5."""

import sqlite3
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Final

from crossdock.core.errors import Code, CrossdockError


def _load() -> tuple[str, ...]:
    scripts = sorted(
        (f for f in (files("crossdock.stores.sqlite") / "migrations").iterdir() if f.name.endswith(".sql")),
        key=lambda f: f.name,
    )
    return tuple(script.read_text(encoding="utf-8") for script in scripts)


MIGRATIONS: Final = _load()
"""Script ``i`` leads from version ``i`` to version ``i + 1``. A released script never changes."""


def migrate(db: sqlite3.Connection, path: Path, migrations: Sequence[str] = MIGRATIONS) -> None:
    """Run the migrations a database lacks, each in its own transaction together with the new version number.

    Raises:
        CrossdockError: ``unavailable`` if the database is newer than this program, or not one of Crossdock.
        sqlite3.Error: a migration failed; the database is as that one found it.
    """
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > len(migrations):
        raise CrossdockError(
            Code.UNAVAILABLE,
            f"{path} has schema {version}, written by a newer Crossdock; this one knows up to {len(migrations)}: upgrade it",
        )
    if version == 0 and db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
        raise CrossdockError(Code.UNAVAILABLE, f"{path} is a database of another program")
    for number, script in enumerate(migrations[version:], start=version + 1):
        _run(db, script, number)


def _run(db: sqlite3.Connection, script: str, number: int) -> None:
    try:
        db.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
    except sqlite3.Error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
