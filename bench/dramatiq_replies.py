"""Dramatiq on RabbitMQ with publisher confirms, and results that go back to whoever asked.

Of itself it keeps results in Redis or memcached, or not at all. Here a middleware publishes each to the queue that the
message names, waiting for the confirm, before the message is acknowledged. This module is the application of its workers.
"""

import json
import os
import sys
from typing import Any, Final

import dramatiq
import msgspec
import pika
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from bench.amqp import publication

QUEUES: Final = ("step0", "step1", "step2")
"""Where the messages of a pipeline run; a single one runs at the first."""

_persistent: Final = pika.BasicProperties(delivery_mode=2, content_type="application/json")


class Replies(dramatiq.Middleware):
    """Sends results to the queue in the option ``reply``."""

    @property
    def actor_options(self) -> set[str]:
        """Return the options that this knows."""
        return {"reply"}

    def after_process_message(
        self, broker: Any, message: Any, *, result: object = None, exception: BaseException | None = None
    ) -> None:
        """Publish a result, if it is to go anywhere, and wait for the confirm."""
        reply = message.options.get("reply")
        if reply is None:
            return
        answer = {"id": message.message_id, "good": exception is None, "result": result}
        body = json.dumps(answer).encode()
        broker.channel.basic_publish("", reply, body, _persistent, mandatory=True)


class _Answer(msgspec.Struct):
    id: str
    good: bool


_answer: Final = msgspec.json.Decoder(_Answer)

_broker = RabbitmqBroker(url=os.environ.get("CROSSDOCK_BENCH_AMQP", "amqp://"), confirm_delivery=True)
_broker.add_middleware(Replies())
dramatiq.set_broker(_broker)


def _step(number: int, found: int | None = None) -> int:
    """Return the number, or what was found before."""
    return number if found is None else found


actors = [dramatiq.actor(_step, actor_name=queue, queue_name=queue) for queue in QUEUES]


def command(queue: str, slots: int) -> list[str]:
    """Return what runs a worker with so many threads in one process; more processes were not faster here."""
    return [sys.executable, "-m", "dramatiq", "bench.dramatiq_replies", "-p", "1", "-t", str(slots), "-Q", queue]


def publications(count: int, reply: str, steps: int) -> dict[str, bytes]:
    """Return messages as Dramatiq's client sends them, by the id that the answer will have."""
    return dict(_publication(number, reply, steps) for number in range(count))


def _publication(number: int, reply: str, steps: int) -> tuple[str, bytes]:
    message = actors[steps - 1].message_with_options(args=(number,), reply=reply)
    name = message.message_id
    for actor in reversed(actors[: steps - 1]):
        message = actor.message_with_options(args=(number,), pipe_target=message.asdict())
    return name, publication("", QUEUES[0], message.encode())


def answered(body: bytes) -> str:
    """Return the id of what a message answers.

    Raises:
        RuntimeError: the message failed.
    """
    answer = _answer.decode(body)
    if not answer.good:
        raise RuntimeError(f"a message ended so: {body!r}")
    return answer.id
