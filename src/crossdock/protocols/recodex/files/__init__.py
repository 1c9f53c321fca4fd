"""The file server, where ReCodEx workers get their submissions from and put their results to."""

from crossdock.protocols.recodex.files.server import FileServer, FilesOptions

__all__ = ["FileServer", "FilesOptions"]
