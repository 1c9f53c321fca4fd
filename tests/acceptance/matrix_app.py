"""What is run in the matrix of doors and workers. Each process has a working directory that is named after its place."""

from pathlib import Path

from crossdock import App, Failed

PLACE = Path.cwd().name

main = App()
"""The kinds that the server's own App has. Who runs one is a matter of what it requires."""
far = App()
"""The kinds that the server gives away, for those who run them."""


def work(task: str, value: object = None) -> dict[str, object]:
    """Return what came in and where that was, or fail."""
    if task == "fail":
        raise Failed(f"{value} cannot be done", code=422)
    return {"place": PLACE, "value": value}


for kind, group in (("here", "server"), ("over_http", "http"), ("over_recodex", "recodex")):
    main.function(kind, requires={"hwgroup": group})(work)
for kind in ("endpoint", "queue", "node"):
    far.function(kind)(work)
