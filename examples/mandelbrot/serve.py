"""Serves the page and the worker.js of the installed quick-server package. Crossdock itself serves no files."""

import argparse
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

FILES = {
    "/": ("text/html; charset=utf-8", Path(__file__).parent / "index.html"),
    "/worker.js": ("text/javascript; charset=utf-8", files("quick_server") / "worker.js"),
}


class Pages(SimpleHTTPRequestHandler):
    """Two files, nothing else."""

    def do_GET(self) -> None:
        """Answer with one of the files."""
        found = FILES.get(urlsplit(self.path).path)
        if found is None:
            self.send_error(404)
            return
        kind, file = found
        content = file.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing about single requests."""


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--server", default="http://127.0.0.1:8080", help="the Crossdock server")
    options = parser.parse_args()
    pages = ThreadingHTTPServer(("127.0.0.1", options.port), Pages)
    print(f"http://127.0.0.1:{pages.server_port}/?server={options.server}", flush=True)
    try:
        pages.serve_forever()
    except KeyboardInterrupt:
        pages.server_close()


if __name__ == "__main__":
    main()
