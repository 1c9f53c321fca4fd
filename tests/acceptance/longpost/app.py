"""The kinds that the acceptance tests of LONGPOST run."""

import asyncio
import time

from crossdock import App, Context, Failed

app = App()


@app.function("echo", raw=True)
async def echo(ctx: Context, payload: object) -> object:
    """Return the payload."""
    return payload


@app.function("slow")
def slow(ctx: Context, seconds: float) -> float:
    """Take a while, in a child process."""
    time.sleep(seconds)
    return seconds


@app.function("patient")
async def patient(ctx: Context, seconds: float) -> float:
    """Take a while, in the loop."""
    await asyncio.sleep(seconds)
    return seconds


@app.function("big")
def big(ctx: Context, text: str, times: int) -> str:
    """Return much."""
    return text * times


@app.function("fail")
def fail(ctx: Context, code: int, message: str) -> None:
    """Fail on purpose."""
    raise Failed(message, code=code)


@app.function("boom", retries=0)
def boom(ctx: Context) -> None:
    """Fail by accident."""
    raise ValueError("secret of the implementation")
