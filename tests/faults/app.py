"""The jobs of the fault tests. Results carry a nonce, so that two runs of a job never give the same one."""

import os
import time

from crossdock import App, Context

app = App()


@app.function("work", retries=10_000, backoff=0.02, lease=2, timeout=30)
def work(ctx: Context, key: str, ms: int) -> dict[str, str]:
    """Sleep in a child process."""
    ctx.progress(0, 1, key)
    time.sleep(ms / 1000)
    return {"key": key, "nonce": os.urandom(8).hex()}


@app.function("swift", retries=10_000, backoff=0.02, lease=2)
async def swift(ctx: Context, key: str, ms: int) -> dict[str, str]:
    """Answer at once, in the loop."""
    return {"key": key, "nonce": os.urandom(8).hex()}
