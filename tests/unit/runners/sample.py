"""The app that the tests run: every way a function can behave, well and badly."""

import asyncio
import ctypes
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from crossdock import App, Context, Failed, Retry

app = App()
leaked: list[bytes] = []


@app.function("add")
def add(a: int, b: int = 2) -> int:
    """Add two numbers."""
    return a + b


@app.function("echo", raw=True, backoff=0.01)
def echo(payload: object) -> object:
    return payload


@app.function("whoami")
def whoami(ctx: Context) -> dict[str, Any]:
    return {"pid": os.getpid(), "job": ctx.job_id, "attempt": ctx.attempt, "inputs": ctx.inputs}


@app.function("tell")
def tell(ctx: Context, steps: int = 3) -> str:
    for step in range(steps):
        ctx.progress(step, steps, f"step {step}")
        ctx.log(f"line {step}")
    ctx.progress(steps, steps, "all")
    return "told"


@app.function("chatter")
def chatter(ctx: Context, times: int) -> None:
    for step in range(times):
        ctx.progress(step, times)
    ctx.progress(times, times)
    wait_for_cancel(ctx)


@app.function("print")
def shout() -> str:
    print("\x00\x00\x00\x05 not a frame")
    os.write(1, b"to the descriptor\n")
    os.write(2, b"and to the other\n")
    return "printed"


@app.function("vandalise")
def vandalise() -> None:
    for descriptor in range(3, 64):
        with suppress(OSError):
            os.write(descriptor, b"what is this good for?")
    threading.Event().wait()


@app.function("wrong")
def wrong() -> None:
    raise ValueError("seven is no colour")


@app.function("failed")
def failed(code: int = 422) -> None:
    raise Failed("there is no such street", code=code)


@app.function("again")
def again() -> None:
    raise Retry(after=7)


@app.function("fatal", non_retryable=[LookupError, "OSError"])
def fatal() -> None:
    raise KeyError("gone")


@app.function("unwritable")
def unwritable() -> object:
    return {"socket": object()}


@app.function("segfault", backoff=0.01)
def segfault() -> None:
    ctypes.string_at(0)


@app.function("exit")
def leave(status: int, hard: bool = False) -> None:
    if hard:
        os._exit(status)
    sys.exit(status)


@app.function("hog", memory="150MB")
def hog(size: int) -> int:
    return len(bytearray(size))


@app.function("hog_below", memory="150MB")
def hog_below(ctx: Context) -> None:
    """Let a program use the memory that the function may not: the limit counts for all of them together."""
    program = "import sys; held = [bytes([1]) * 10**8 for _ in '12']; print(len(held), flush=True); sys.stdin.read()"
    processes = []
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", program.replace("'12'", "'1'")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        processes.append(process)
        assert process.stdout is not None
        process.stdout.readline()
    ctx.log("held")
    for process in processes:
        process.wait()


@app.function("leak")
def leak(size: int) -> int:
    leaked.append(b"x" * size)
    return os.getpid()


@app.function("hold_the_lock", timeout=60, lease=1)
def hold_the_lock(ctx: Context, seconds: float) -> int:
    """Stay in C code, without ever letting another thread run."""
    ctx.log("begun")
    ends = time.monotonic() + seconds
    rounds = 0
    while time.monotonic() < ends:
        # One match takes some hundred milliseconds.
        re.match(r"(a+)+$", "a" * 23 + "b")
        rounds += 1
    return rounds


@app.function("stuck")
def stuck(ctx: Context) -> None:
    """Never look at ``cancelled``, and have a grandchild that does not either."""
    process = subprocess.Popen(["sleep", "600"])
    stray = subprocess.Popen(["sleep", "600"], start_new_session=True)
    ctx.log(f"{process.pid} {stray.pid}")
    process.wait()


@app.function("patient", grace=3600)
def patient(ctx: Context) -> str:
    ctx.log("begun")
    wait_for_cancel(ctx)
    return "half a result"


@app.function("await_cancel", raw=True)
def await_cancel(ctx: Context, payload: str) -> None:
    ctx.log(str(len(payload)))
    wait_for_cancel(ctx)


def wait_for_cancel(ctx: Context) -> None:
    pause = threading.Event()
    while not ctx.cancelled:
        pause.wait(0.005)


@app.function("big")
def big(size: int) -> str:
    return "x" * size


@app.function("store")
def store(ctx: Context, how: str, size: int = 3_000_000) -> dict[str, Any]:
    match how:
        case "bytes":
            return ctx.artifact(b"a" * size)
        case "pieces":
            return ctx.artifact((b"a" * 1000 for _ in range(size // 1000)), media_type="text/plain")
        case "path":
            path = Path(f"/tmp/crossdock-test-{os.getpid()}")
            path.write_bytes(b"a" * size)
            try:
                return ctx.artifact(path)
            finally:
                path.unlink()
        case _:
            return ctx.artifact("text")  # pyright: ignore[reportArgumentType]


@app.function("member", backoff=0.01)
def member(ctx: Context, index: int, bad: int = -1, how: str = "") -> Any:
    if index == bad or how == "slow":
        match how:
            case "segfault":
                ctypes.string_at(0)
            case "sleep":
                ctx.log("stuck")
                threading.Event().wait()
            case "slow":
                threading.Event().wait(0.4)
            case "cancel":
                ctx.log("begun")
                wait_for_cancel(ctx)
            case _:
                raise ValueError(how)
    return f"{ctx.job_id}"


@app.function("async_add")
async def async_add(a: int, b: int = 2) -> int:
    return a + b


@app.function("async_tell")
async def async_tell(ctx: Context, steps: int = 3) -> str:
    return tell(ctx, steps)


@app.function("async_patient")
async def async_patient(ctx: Context) -> str:
    ctx.log("begun")
    while not ctx.cancelled:  # noqa: ASYNC110 - users have no event to wait for
        await asyncio.sleep(0.005)
    return "half a result"


@app.function("async_stuck")
async def async_stuck(ctx: Context) -> None:
    ctx.log("begun")
    try:
        await asyncio.Event().wait()
    finally:
        ctx.log("cleaned up")


@app.function("async_wrong")
async def async_wrong() -> None:
    raise ValueError("seven is no colour")


@app.function("async_exit")
async def async_exit() -> None:
    sys.exit(3)


@app.function("async_store")
async def async_store(ctx: Context) -> dict[str, Any]:
    return await ctx.artifact(pieces())


def pieces() -> Iterator[bytes]:
    yield b"ab"
    yield b"c"


@app.function("async_member")
async def async_member(ctx: Context, index: int) -> str:
    return ctx.job_id


@app.function("async_echo", raw=True)
async def async_echo(payload: object) -> object:
    return payload
