"""What the workers of the acceptance tests can do; each job says in a file which process has it."""

import os
import time
from pathlib import Path

from crossdock import App, Context, Failed

app = App()


@app.function("total")
def total(numbers: list[int]) -> int:
    """Add numbers up."""
    return sum(numbers)


@app.function("hold")
def hold(ctx: Context, name: str, folder: str) -> dict[str, object]:
    """Run until a file says that it is enough."""
    place = Path(folder)
    with (place / f"{name}.runs").open("a") as log:
        log.write(f"{os.getppid()}\n")
    while not (place / f"{name}.enough").exists():
        time.sleep(0.02)
    return {"name": name, "attempt": ctx.attempt}


@app.function("echo")
async def echo(words: object = None, data: object = None) -> object:
    """Return what it was given."""
    return {"words": words, "data": data}


@app.function("refuse")
async def refuse() -> None:
    """Fail, and not by accident."""
    raise Failed("there is no such picture", code="no_picture")


@app.function("brief", timeout=0.2, retries=0)
async def brief() -> None:
    """Take longer than it may."""
    import asyncio

    await asyncio.sleep(60)
