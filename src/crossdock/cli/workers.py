"""``crossdock workers``: who works."""

from crossdock.cli.connection import connected
from crossdock.cli.options import DEFAULT_SERVER, JsonOption, ServerOption
from crossdock.cli.output import print_lines


def workers(server: ServerOption = DEFAULT_SERVER, json: JsonOption = False) -> None:
    """List the attached workers: what they run, and how many jobs they have."""
    with connected(server) as client:
        found = client.workers()
    if json:
        print_lines(found)
        return
    from crossdock.cli.views import print_workers

    print_workers(found)
