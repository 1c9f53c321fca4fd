"""Kinds that run in the loop of the server that is measured."""

import time

from crossdock import App

app = App()


@app.function("empty", raw=True, public=True)
async def empty(payload: object) -> object:
    """Return the payload from the server's own loop."""
    return payload


@app.function("begun", raw=True, public=True)
async def begun(payload: object) -> float:
    """Return when this began."""
    del payload
    return time.time()
