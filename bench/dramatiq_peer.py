"""Dramatiq on RabbitMQ: enqueue with publisher confirms, an actor that does nothing, acknowledged."""

import asyncio
import multiprocessing
import os
import threading
import time
import uuid
from collections.abc import Iterator
from multiprocessing.sharedctypes import Synchronized
from typing import Final

from bench.child import Figures

URL: Final = os.environ.get("CROSSDOCK_BENCH_AMQP", "amqp://guest:guest@127.0.0.1:5672")
_PRODUCERS: Final = 16
"""More threads than this only make the interpreter slower."""


def available() -> bool:
    """Tell whether there is a RabbitMQ to talk to."""
    import pika

    try:
        pika.BlockingConnection(pika.URLParameters(URL)).close()
    except (pika.exceptions.AMQPError, OSError):
        return False
    return True


async def throughput(jobs: int, in_flight: int) -> Figures:
    """Run ``jobs`` messages through one producing and one consuming process; ``in_flight`` bounds the producers."""
    return await asyncio.to_thread(_throughput, jobs, in_flight)


def _throughput(jobs: int, in_flight: int) -> Figures:
    import dramatiq
    from dramatiq.brokers.rabbitmq import RabbitmqBroker

    queue = f"crossdock-bench-{uuid.uuid4().hex[:8]}"
    context = multiprocessing.get_context("spawn")
    ended = context.Value("L", 0)
    ready = context.Event()
    consumer = context.Process(target=_consume, args=(queue, ended, ready), daemon=True)
    consumer.start()
    broker = RabbitmqBroker(url=URL, confirm_delivery=True)
    broker.declare_queue(queue, ensure=True)
    actor = dramatiq.actor(_nothing, actor_name="nothing", queue_name=queue, broker=broker)
    ready.wait(30)
    numbers = iter(range(jobs))
    lock = threading.Lock()

    def produce(numbers: Iterator[int]) -> None:
        while True:
            with lock:
                if next(numbers, None) is None:
                    return
            actor.send("x" * 190)

    started = time.perf_counter()
    threads = [threading.Thread(target=produce, args=(numbers,)) for _ in range(min(in_flight, _PRODUCERS))]
    for thread in threads:
        thread.start()
    while ended.value < jobs:
        time.sleep(0.002)
    seconds = time.perf_counter() - started
    consumer.terminate()
    consumer.join()
    _delete(broker, queue)
    return {"jobs_per_s": jobs / seconds}


def _consume(queue: str, ended: "Synchronized[int]", ready: threading.Event) -> None:
    import dramatiq
    from dramatiq.brokers.rabbitmq import RabbitmqBroker

    class Counter(dramatiq.Middleware):
        def after_ack(self, *_: object) -> None:
            with ended.get_lock():
                ended.value += 1

    broker = RabbitmqBroker(url=URL, confirm_delivery=True)
    broker.add_middleware(Counter())
    dramatiq.actor(_nothing, actor_name="nothing", queue_name=queue, broker=broker)
    dramatiq.Worker(broker, worker_threads=8, worker_timeout=100).start()
    ready.set()
    threading.Event().wait()


def _nothing(text: str) -> None:
    del text


def _delete(broker: "object", queue: str) -> None:
    import pika

    connection = pika.BlockingConnection(pika.URLParameters(URL))
    channel = connection.channel()
    for name in (queue, f"{queue}.DQ", f"{queue}.XQ"):
        channel.queue_delete(name)
    connection.close()
    del broker
