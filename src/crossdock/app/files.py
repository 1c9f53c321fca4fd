"""The file server, from the configuration."""

from crossdock.config import Files
from crossdock.core.broker import Broker
from crossdock.protocols.recodex.files import FileServer, FilesOptions
from crossdock.runners.program.settings import FileManager


def file_server(table: Files, broker: Broker, base_url: str) -> FileServer:
    """Return the file server. ``base_url`` is empty until it is known; nothing can be published before."""
    options = FilesOptions(
        username=table.username,
        password=table.password,
        max_size=table.max_size,
        keep=table.keep,
        keep_exercises=table.keep_exercises,
        layout=table.layout,
    )
    return FileServer(options, broker.records, broker.artifacts, broker.clock, base_url)


def own_manager(table: Files, files: FileServer) -> FileManager:
    """Return how others of this process reach the file server, whose address is known."""
    return FileManager(files.base_url, table.username, table.password)
