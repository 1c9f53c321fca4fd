"""Clients under faults: they submit, look and are notified, go on through every refusal, and write down what they saw."""

import http.server
import itertools
import random
import threading
from collections.abc import Callable

import httpx

from faults.history import ENDS, History

JOBS_WATCHED = 40


class Receiver:
    """An HTTP server that is told of the ends of jobs."""

    def __init__(self, history: History) -> None:
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                    self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.note(self.path)
                self.close_connection = True
                self.send_response(204)
                self.end_headers()

            def log_message(self, *args):
                pass

        self._history = history
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def note(self, path: str) -> None:
        """Write down what was told; the path says which of the two addresses it was, and the key of the job."""
        _, state, key = path.split("/")
        self._history.told_of[key].append(state)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Load:
    """Threads that use a server until they are stopped."""

    def __init__(self, url: str, history: History, receiver: Receiver, *, longest_ms: int = 30) -> None:
        self._url = url
        self._history = history
        self._receiver = receiver
        self._longest = longest_ms
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, submitters: int = 2, watchers: int = 1) -> None:
        bodies: list[Callable[[], None]] = [lambda n=n: self._submit(n) for n in range(submitters)]
        bodies += [lambda n=n: self._watch(n) for n in range(watchers)]
        self._threads = [threading.Thread(target=body, daemon=True) for body in bodies]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _submit(self, number: int) -> None:
        """Submit jobs with keys; a job that was not acknowledged is sent again under the same key, as a client would."""
        draw = random.Random(number)
        with httpx.Client(base_url=self._url, timeout=5) as client:
            for count in itertools.count():
                key = f"{number}-{count}"
                kind = draw.choice(["work", "swift", "swift"])
                inputs = {"key": key, "ms": draw.choice([0, 1, 5, self._longest])}
                self._history.attempted.add(key)
                while not self._stop.is_set() and not self._accepted(client, kind, key, inputs):
                    self._stop.wait(0.02)
                if self._stop.wait(0.01):
                    return

    def _accepted(self, client: httpx.Client, kind: str, key: str, inputs: dict[str, object]) -> bool:
        where = self._receiver.url
        body = {
            "inputs": inputs,
            "subscriber": {"successUri": f"{where}/successful/{key}", "failedUri": f"{where}/failed/{key}"},
        }
        headers = {"Prefer": "respond-async", "Idempotency-Key": key}
        try:
            reply = client.post(f"/processes/{kind}/execution", json=body, headers=headers)
        except httpx.HTTPError:
            return False
        if reply.status_code not in {200, 201}:
            assert reply.status_code == 503, reply.text
            return False
        self._history.accepted[key].add(reply.json()["jobID"])
        return True

    def _watch(self, number: int) -> None:
        """Look at jobs that were acknowledged and write down every end that is shown."""
        draw = random.Random(1000 + number)
        with httpx.Client(base_url=self._url, timeout=5) as client:
            while not self._stop.wait(0.005):
                jobs = [job for ids in list(self._history.accepted.values())[-JOBS_WATCHED:] for job in list(ids)]
                if jobs and (end := look(client, draw.choice(jobs))) is not None:
                    self._history.seen[end[0]].add(end[1:])


def look(client: httpx.Client, job: str) -> tuple[str, str, str] | None:
    """Return the end of a job as (job, state, result), None while it has none or the server does not answer."""
    try:
        status = client.get(f"/jobs/{job}")
        if status.status_code != 200 or (state := status.json()["status"]) not in ENDS:
            return None
        if state != "successful":
            return job, state, ""
        results = client.get(f"/jobs/{job}/results")
        return (job, state, results.text) if results.status_code == 200 else None
    except httpx.HTTPError:
        return None
