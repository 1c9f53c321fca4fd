"""Celery on RabbitMQ as durable as it gets: persistent messages, publisher confirms on both ways, late acknowledgement.

Results go back to whoever asked by the backend ``rpc://``. This module is the application of its workers, and makes the
messages that its own client would send.
"""

import os
import sys
import uuid
from collections.abc import Sequence
from typing import Any, Final

import celery
import msgspec
from kombu.serialization import dumps

from bench.amqp import publication

app = celery.Celery("bench", broker=os.environ.get("CROSSDOCK_BENCH_AMQP", ""), backend="rpc://")
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=False,
    result_persistent=True,
    broker_transport_options={"confirm_publish": True},
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    worker_prefetch_multiplier=4,
    task_create_missing_queues=True,
)

QUEUES: Final = ("step0", "step1", "step2")
"""Where the tasks of a chain run; a single one runs at the first."""


class _Meta(msgspec.Struct):
    task_id: str
    status: str


_meta: Final = msgspec.json.Decoder(_Meta)


@app.task(name="bench.step")
def step(number: int) -> int:
    """Return the number."""
    return number


def command(queue: str, slots: int) -> list[str]:
    """Return what runs a worker with so many threads: for work that takes no time, twice as fast as its usual processes."""
    options = ["--queues", queue, "--concurrency", str(slots), "--pool", "threads", "--loglevel", "ERROR"]
    return [
        sys.executable,
        "-m",
        "celery",
        "--app",
        "bench.celery_peer",
        "worker",
        "-n",
        queue,
        "--without-gossip",
        *options,
    ]


def publications(count: int, reply: str, steps: int) -> dict[str, bytes]:
    """Return messages as Celery's client sends them, by the id that the answer will have."""
    return dict(_publication(number, reply, steps) for number in range(count))


def _publication(number: int, reply: str, steps: int) -> tuple[str, bytes]:
    names = [str(uuid.uuid4()) for _ in range(steps)]
    # Celery has the next task of a chain last.
    chain = [_signature(names, place, reply) for place in reversed(range(1, steps))]
    task = app.amqp.as_task_v2(
        names[0], "bench.step", (number,), {}, reply_to=reply, chain=chain or None, ignore_result=steps > 1
    )
    content_type, encoding, body = dumps(task.body, serializer="json")
    headers: dict[str, Any] = {key: value for key, value in task.headers.items() if value is not None}
    sent = publication(
        "",
        QUEUES[0],
        body.encode() if isinstance(body, str) else body,
        headers=headers,
        content_type=content_type,
        content_encoding=encoding,
        correlation_id=names[0],
        reply_to=reply,
    )
    return names[-1], sent


def _signature(names: Sequence[str], place: int, reply: str) -> dict[str, Any]:
    last = place == len(names) - 1
    options = {"queue": QUEUES[place], "task_id": names[place], "root_id": names[0], "reply_to": reply}
    return dict(step.signature(options={**options, "ignore_result": not last}))


def answered(body: bytes) -> str:
    """Return the id of what a message answers.

    Raises:
        RuntimeError: the task failed.
    """
    meta = _meta.decode(body)
    if meta.status != "SUCCESS":
        raise RuntimeError(f"a task ended so: {body!r}")
    return meta.task_id
