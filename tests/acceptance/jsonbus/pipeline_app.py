"""What the nodes of a pipeline can do. One file for all of them: each runs what its test asks it for."""

import os

from crossdock import App

app = App()


@app.function("thumbnail", needs={"image": "downloader"}, retries=100, backoff=0.02)
async def thumbnail(image: dict[str, object], url: str) -> dict[str, object]:
    """Need what another node has, which needs what a third one has."""
    return {"small": image, "url": url, "nonce": os.urandom(8).hex()}


@app.function("both", needs={"left": "downloader", "right": "counter"}, retries=100, backoff=0.02)
async def both(left: object, right: object, url: str) -> list[object]:
    """Need two nodes at once."""
    return [left, right]
