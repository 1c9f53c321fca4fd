"""The node in the middle of a pipeline."""

from crossdock import App

app = App()


@app.function("downloader", needs={"page": "fetcher"}, retries=100, backoff=0.02)
async def downloader(page: dict[str, object], url: str) -> dict[str, object]:
    """Make something of what a node made like the PHP library's has."""
    return {"pixels": page["text"], "of": url}
