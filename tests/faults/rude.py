"""A worker that claims jobs, gives no sign of life until its leases are long over, and then reports successes.

Before it does, it looks as a client what has become of the jobs.
"""

import asyncio
import contextlib
import json
import os
import threading
from itertools import count

import httpx

from crossdock.core.errors import CrossdockError
from crossdock.core.identifiers import encode_id
from crossdock.core.jobs import Lease, Outcome, OutcomeKind
from crossdock.core.requests import Capabilities, WorkerInfo
from crossdock.protocols.ogc.worker import HttpDispatch, Link
from faults.history import History
from faults.load import look

SILENT_SECONDS = 3.5
"""Longer than the leases of the app, and time enough for others to do the jobs."""


class RudeWorker:
    """Runs in a thread until it is stopped."""

    def __init__(self, url: str, history: History) -> None:
        self.reported = 0
        self._url = url
        self._history = history
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work()), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)

    async def _work(self) -> None:
        async with Link(self._url) as link:
            dispatch = HttpDispatch(link)
            for number in count():
                if self._stop.is_set():
                    return
                with contextlib.suppress(CrossdockError):
                    await self._once(dispatch, f"rude-{os.getpid()}-{number}")
                await asyncio.sleep(0.1)

    async def _once(self, dispatch: HttpDispatch, name: str) -> None:
        await dispatch.attach(WorkerInfo(id=name, slots=4, capabilities=Capabilities(values={"kind": ("work", "swift")})))
        leases = await dispatch.claim(name, 4, 1.0)
        await asyncio.sleep(SILENT_SECONDS)
        with httpx.Client(base_url=self._url, timeout=5) as client:
            for lease in leases:
                if (end := look(client, encode_id(lease.job))) is not None:
                    self._history.seen[end[0]].add(end[1:])
        for lease in leases:
            await dispatch.report(lease.token, Outcome(kind=OutcomeKind.SUCCEEDED, result=made_up(lease)))
            self.reported += 1


def made_up(lease: Lease) -> bytes:
    """Return a result that differs from every other attempt's."""
    assert isinstance(lease.payload, bytes)
    return json.dumps({"key": json.loads(lease.payload)["key"], "nonce": os.urandom(8).hex()}).encode()
