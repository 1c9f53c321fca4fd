"""What the json-bus nodes of the measurements can do: nothing, in several ways."""

from crossdock import App

node = App()
"""One node, or a worker, with a function in its loop and one in a child process."""
top = App()
middle = App()
bottom = App()
"""Three nodes, each of which needs the next."""


@node.function("empty", raw=True)
async def empty(payload: object) -> object:
    """Return the payload."""
    return payload


@node.function("empty_child", raw=True)
def empty_child(payload: object) -> object:
    """Return the payload from a child process."""
    return payload


@top.function("top", needs={"found": "middle"})
async def top_step(n: int, found: object) -> object:
    """Return what the next node found."""
    del n
    return found


@middle.function("middle", needs={"found": "bottom"})
async def middle_step(n: int, found: object) -> object:
    """Return what the next node found."""
    del n
    return found


@bottom.function("bottom")
async def bottom_step(n: int) -> int:
    """Return what was asked."""
    return n
