"""A kind that runs in a child process of the server that is measured."""

from crossdock import App

app = App()


@app.function("empty_child", raw=True, public=True)
def empty_child(payload: object) -> object:
    """Return the payload from a child process."""
    return payload
