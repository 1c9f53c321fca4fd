"""What the nodes of the acceptance tests can do. Results carry a nonce, so that two runs never give the same one."""

import asyncio
import os

from crossdock import App, Failed

app = App()


@app.function("double", retries=100, backoff=0.02)
async def double(n: int) -> dict[str, object]:
    """Compute a little."""
    return {"twice": 2 * n, "nonce": os.urandom(8).hex()}


@app.function("slow", retries=100, backoff=0.02)
async def slow(n: int, seconds: float) -> dict[str, object]:
    """Take some time."""
    await asyncio.sleep(seconds)
    return {"twice": 2 * n, "nonce": os.urandom(8).hex()}


@app.function("total")
async def total(numbers: list[int]) -> int:
    """Take a list, which PHP sends as an object."""
    return sum(numbers)


@app.function("text")
async def text(length: int) -> str:
    """Return much."""
    return "x" * length


@app.function("refuse")
async def refuse() -> None:
    """Fail, and not by accident."""
    raise Failed("there is no such picture", code="no_picture")
