"""What a box costs, and how exactly it measures, on every tier that this machine has."""

import asyncio
import math
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench.child import Figures
from crossdock.core.errors import CrossdockError
from crossdock.runners.program.sandbox.boxes import Boxes
from crossdock.runners.program.sandbox.spec import Limits, Program, Tier

_PROGRAM: Final = "/bin/true"
_BURNER: Final = r"""
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
int main(void) {
    struct rusage used;
    long size = 50 << 20;
    volatile char *block = malloc(size);
    for (long place = 0; place < size; place += 512) block[place] = 1;
    free((void *)block); /* or its end would cost time that it cannot measure itself */
    do getrusage(RUSAGE_SELF, &used);
    while (used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6 < 0.3);
    printf("%f %ld\n", used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6,
           used.ru_maxrss);
}
"""
"""Uses 50 MB and 0.3 s, and says what it used."""


async def bare(count: int) -> Figures:
    """Start a program without a box and wait for it, ``count`` times."""
    return _times([_timed(lambda: subprocess.run([_PROGRAM], check=True)) for _ in range(count)])


async def boxed(count: int, tier: int) -> Figures:
    """Run a program that does nothing in a box of a tier, ``count`` times; no figures if there are no such boxes here."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crossdock-bench-")))
        boxes = Boxes(folder / "state", minimum=Tier(tier), best=Tier(tier))
        try:
            await boxes.start()
        except CrossdockError:
            return {}
        try:
            return await _measured(boxes, folder, count)
        finally:
            await boxes.stop()


async def _measured(boxes: Boxes, folder: Path, count: int) -> Figures:
    job = folder / "job"
    job.mkdir()
    nothing = Program(arguments=(_PROGRAM,), directory=job, limits=Limits(memory=64 * 2**20))
    for _ in range(10):
        await boxes.run(nothing)
    times: list[float] = []
    for _ in range(count):
        started = time.perf_counter()
        await boxes.run(nothing)
        times.append(time.perf_counter() - started)
    return {**_times(times), **(await _precision(boxes, job, max(5, count // 20)))}


async def _precision(boxes: Boxes, job: Path, count: int) -> Figures:
    """Return by how much measured CPU and memory are wrong, at worst."""
    if (compiler := shutil.which("cc")) is None:
        return {}
    (job / "burner.c").write_text(_BURNER)
    await asyncio.to_thread(subprocess.run, [compiler, "-O1", "-o", job / "burner", job / "burner.c"], check=True)
    burner = Program(
        arguments=("/box/burner",), directory=job, stdout="said", limits=Limits(cpu=5.0, wall=60.0, memory=128 * 2**20)
    )
    cpu, memory = 0.0, 0.0
    for _ in range(count):
        verdict = await boxes.run(burner)
        used, size = (float(word) for word in (job / "said").read_text().split())
        cpu = max(cpu, abs(verdict.cpu - used))
        memory = max(memory, abs(verdict.max_rss - size * 1024), abs(verdict.memory - size * 1024))
    return {"cpu_error_ms": cpu * 1000, "memory_error_mb": memory / 2**20}


def _timed(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def _times(seconds: list[float]) -> Figures:
    ordered = sorted(seconds)
    return {
        "p50_ms": ordered[len(ordered) // 2] * 1000,
        "p95_ms": ordered[math.ceil(len(ordered) * 0.95) - 1] * 1000,
        "boxes_per_s": len(ordered) / sum(ordered),
    }
