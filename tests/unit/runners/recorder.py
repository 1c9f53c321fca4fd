"""Leases of the sample app, an attempt that remembers what it was told, and when a process is gone."""

import asyncio
import select
from collections.abc import Callable
from os import close, pidfd_open
from pathlib import Path
from typing import Any

import msgspec

from crossdock.core.identifiers import IdSource
from crossdock.core.jobs import Lease, MemberOutcome, Members
from crossdock.core.requests import Note

SAMPLE = f"{Path(__file__).parent / 'sample.py'}:app"


class Recorder:
    """An attempt whose words can be waited for."""

    def __init__(self) -> None:
        self.notes: list[Note] = []
        self.members: list[MemberOutcome] = []
        self.calls: list[Callable[[bool], None]] = []
        self._asked = asyncio.Event()
        self._news = asyncio.Event()

    @property
    def cancelled(self) -> bool:
        return self._asked.is_set()

    async def wait_cancelled(self) -> None:
        await self._asked.wait()

    def cancel(self) -> None:
        self._asked.set()

    def note(self, note: Note) -> None:
        self.notes.append(note)
        self._news.set()

    async def member(self, outcome: MemberOutcome) -> None:
        self.members.append(outcome)
        self._news.set()

    def when_reported(self, call: Callable[[bool], None]) -> None:
        self.calls.append(call)

    @property
    def logs(self) -> list[str]:
        return [note.log for note in self.notes if note.log is not None]

    async def until(self, fact: Callable[[], Any]) -> None:
        """Wait until something holds that depends on what was said."""
        async with asyncio.timeout(60):
            while not fact():
                self._news.clear()
                await self._news.wait()


def lease(kind: str, payload: object = None, **options: Any) -> Lease:
    text = msgspec.json.encode({} if payload is None else payload)
    values: dict[str, Any] = {"job": IdSource().next(1.0), "token": 1, "attempt": 1, "length": 30.0, "grace": 0.3}
    return Lease(**{**values, "kind": kind, "payload": text, **options})


def chunk(kind: str, count: int, template: object = None, **options: Any) -> Lease:
    indexes = tuple(range(10, 10 + count))
    members = Members(indexes=indexes, parameters=tuple({"index": index} for index in indexes))
    return lease(kind, template, members=members, **options)


async def gone(*pids: int, within: float = 20) -> None:
    """Wait until processes have ended, each within some seconds."""
    for pid in pids:
        try:
            descriptor = pidfd_open(pid)
        except ProcessLookupError:
            continue
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        ended = await asyncio.to_thread(poll.poll, within * 1000)
        close(descriptor)
        assert ended, f"process {pid} lives on"
