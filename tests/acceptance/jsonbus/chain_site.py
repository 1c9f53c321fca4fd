"""Nodes that ask each other, each a `crossdock serve` of its own."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from servers import Server

from acceptance.jsonbus.worker_site import eventually
from rabbit import Vhost

APPS = Path(__file__).with_name("chain_app.py")


def node(vhost: Vhost, folder: Path, name: str, *settings: str) -> Server:
    """Return the node with the app of that name, which takes requests under NAME_request."""
    options = [f"jsonbus.url={vhost.url}", f"jsonbus.node={name}", f"jsonbus.request_key={name}_request", *settings]
    return Server(f"{APPS}:{name}", folder / name / "data", settings=options)


@contextmanager
def nodes(vhost: Vhost, folder: Path, *names: str, settings: tuple[str, ...] = ()) -> Iterator[list[Server]]:
    """Have nodes run for the length of a block; each takes requests, and hears answers if it asks."""
    servers = [node(vhost, folder, name, *settings) for name in names]
    with ExitStack() as stack:
        for server in servers:
            stack.callback(lambda server=server: server._process and server.stop())
            server.start()
        wanted = {f"svc.{name}.requests" for name in names}
        eventually(
            lambda: wanted <= {queue for queue, (count,) in vhost.queues("consumers").items() if count == "1"}, "doors"
        )
        yield servers
