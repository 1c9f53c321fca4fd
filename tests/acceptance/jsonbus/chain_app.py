"""Apps of nodes that need each other's data: a chain of three, two that are needed at once, and two in a circle."""

import asyncio
import os
from pathlib import Path

from crossdock import App, Failed

pages = App()
thumbs = App()
downloads = App()
both = App()
alpha = App()
beta = App()
left = App()
right = App()

MEETING = 30.0
"""Seconds that one of two which are needed at once waits for the other."""


@pages.function("page", needs={"image": "thumbs"})
async def page(n: int, image: dict[str, object], **rest: object) -> dict[str, object]:
    """The first of the chain."""
    return {"twice": 2 * n, "image": image, "nonce": os.urandom(8).hex()}


@thumbs.function("thumbs", needs={"raw": "downloads"})
async def thumb(n: int, raw: dict[str, object], **rest: object) -> dict[str, object]:
    """The second of the chain."""
    return {"small": n, "raw": raw}


@downloads.function("downloads", retries=100, backoff=0.02)
async def download(n: int, seconds: float = 0.0, folder: str = "", url: str = "") -> dict[str, object]:
    """The last of the chain; with a folder it is held until that has a file ``enough``."""
    await asyncio.sleep(seconds)
    if url == "gone":
        raise Failed("there is nothing at that address", code="gone")
    if folder:
        (Path(folder) / "begun").touch()
        await _file(Path(folder) / "enough", 120.0)
    return {"bytes": 3 * n}


@both.function("both", needs={"a": "alpha", "b": "beta"})
async def join(folder: str, a: str, b: str) -> list[str]:
    """Needs two at once."""
    return [a, b]


@alpha.function("alpha")
async def first(folder: str) -> str:
    """Ends only if the other one has begun."""
    return await _meet(Path(folder), "alpha", "beta")


@beta.function("beta")
async def second(folder: str) -> str:
    """Ends only if the other one has begun."""
    return await _meet(Path(folder), "beta", "alpha")


@left.function("left", needs={"data": "right"})
async def go_right(data: object) -> object:
    """Needs who needs it."""
    return data


@right.function("right", needs={"data": "left"})
async def go_left(data: object) -> object:
    """Needs who needs it."""
    return data


async def _meet(folder: Path, name: str, other: str) -> str:
    (folder / name).touch()
    await _file(folder / other, MEETING)
    return name


async def _file(path: Path, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not path.exists():  # noqa: ASYNC110, ASYNC240 - other processes make it
            await asyncio.sleep(0.02)
