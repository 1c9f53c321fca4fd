"""After the faults: let the server finish, read everything it says, and judge."""

import time

import httpx

from faults.history import ENDS, History
from faults.load import look

DRAIN_SECONDS = 60
OWED_SECONDS = 20
PAGE = 1000


def drained(client: httpx.Client) -> list[dict[str, object]]:
    """Wait until every job has ended; return the statuses of all jobs."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while True:
        jobs = listed(client)
        if all(job["status"] in ENDS for job in jobs) or time.monotonic() > deadline:
            return jobs
        time.sleep(0.2)


def listed(client: httpx.Client) -> list[dict[str, object]]:
    """Return the statuses of all jobs."""
    jobs: list[dict[str, object]] = []
    url: str | None = f"/jobs?limit={PAGE}"
    while url is not None:
        page = client.get(url).raise_for_status().json()
        jobs += page["jobs"]
        url = next((link["href"] for link in page.get("links", []) if link["rel"] == "next"), None)
    return jobs


def read_back(client: httpx.Client, history: History) -> None:
    """Fill in what the server says after a drain."""
    for status in drained(client):
        job = str(status["jobID"])
        entries = (
            client.get(f"/jobs/{job}/events", headers={"Accept": "text/event-stream"}).text
            if status["status"] in ENDS
            else ""
        )
        history.endings[job] = sum(entries.count(f"event: {end}\n") for end in ("succeeded", "failed", "cancelled"))
        end = look(client, job)
        history.final[job] = end[1:] if end is not None else (str(status["status"]), "")
    _keys(client, history)
    _told(history)


def _keys(client: httpx.Client, history: History) -> None:
    """Find out which key each job was made from: by asking again under that key, which must not make a new job."""
    for job, (state, result) in history.final.items():
        if state == "successful":
            history.keys[job] = httpx.Response(200, text=result).json()["result"]["key"]
    for key, jobs in history.accepted.items():
        for job in jobs:
            if history.final.get(job, ("", ""))[0] not in {"", "successful"}:
                history.keys.setdefault(job, key)


def _told(history: History) -> None:
    """Wait for the notifications that are still owed."""
    deadline = time.monotonic() + OWED_SECONDS
    while any(key not in history.told_of for key in history.keys.values()) and time.monotonic() < deadline:
        time.sleep(0.1)
    for job, key in history.keys.items():
        history.told[job] += history.told_of.get(key, [])
