"""Functions that need what others make."""

from typing import Any

from crossdock import App, Context

app = App()


@app.function("loader", retries=0)
def load(url: str) -> dict[str, str]:
    """Load something, in a child process."""
    if url == "gone":
        raise LookupError("nothing is there")
    return {"content": url.upper()}


@app.function("size")
async def size(url: str) -> int:
    return len(url)


@app.function("thumbnail", needs={"image": "loader"})
def thumbnail(image: dict[str, str], url: str, width: int = 1) -> str:
    return f"{image['content']}@{width} of {url}"


@app.function("report", needs={"small": "thumbnail", "length": "size"})
async def report(ctx: Context, small: str, length: int, **rest: Any) -> list[Any]:
    return [small, length, sorted(rest), ctx.inputs]


@app.function("picky", needs={"number": "loader"})
async def picky(number: int, url: str) -> int:
    return number
