"""What the nodes and workers under faults can do. Results carry a nonce, so that two runs never give the same one."""

import asyncio
import os

from crossdock import App

node = App()
worker = App()


def answer(n: int) -> dict[str, object]:
    """Return what only this run returns."""
    return {"twice": 2 * n, "nonce": os.urandom(8).hex()}


@node.function("local", retries=100, backoff=0.02)
async def local(n: int, seconds: float) -> dict[str, object]:
    """Do a little in the server's own hands."""
    await asyncio.sleep(seconds)
    return answer(n)


@node.function("asks", needs={"of": "elsewhere"})
async def asks(n: int, of: dict[str, int], **rest: object) -> dict[str, object]:
    """Do something with the data of another node."""
    assert of == {"n": n}
    return answer(n)


@worker.function("own")
async def own(n: int, seconds: float) -> dict[str, object]:
    """Do a little in a `crossdock worker`."""
    await asyncio.sleep(seconds)
    return answer(n)
